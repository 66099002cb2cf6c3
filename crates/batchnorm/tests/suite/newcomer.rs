//! What a newcomer reads holds together: the code needs no crate but those that are named, and links lead to recipes.

const README: &str = include_str!("../../../../README.md");
const RECIPES: &str = include_str!("../../../../docs/recipes.md");
const FACADE: &str = include_str!("../../src/lib.rs");
/// Every public function of these files is a method of the layer.
const METHODS: [&str; 8] = [
    include_str!("../../../bn-core/src/layer/mod.rs"),
    include_str!("../../../bn-core/src/layer/arrays.rs"),
    include_str!("../../../bn-core/src/layer/double.rs"),
    include_str!("../../../bn-core/src/layer/fold.rs"),
    include_str!("../../../bn-core/src/layer/optimize.rs"),
    include_str!("../../../bn-core/src/layer/slices.rs"),
    include_str!("../../../bn-core/src/layer/state.rs"),
    include_str!("../../../bn-core/src/layer/state_dict.rs"),
];

/// What the code may begin a path with: the facade, and what a recipe tells its reader to add.
const CRATES: [&str; 5] = ["batchnorm", "ndarray", "postcard", "rayon", "std"];

/// The lines of the Rust blocks.
fn code(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(kind) => inside = kind == "rust",
            None if inside => lines.push(line),
            None => {}
        }
    }
    lines
}

/// The public functions of a source file, each with the comment above it.
fn methods(source: &str) -> Vec<(String, String)> {
    let (mut found, mut docs) = (Vec::new(), String::new());
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("pub fn ") {
            Some(rest) => {
                let name = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.push((name, std::mem::take(&mut docs)));
            }
            None if line.starts_with("///") => docs.push_str(line),
            None if line.starts_with("#[") => {}
            None => docs.clear(),
        }
    }
    found
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn code_uses_the_facade_and_the_crates_that_are_named() {
    for (text, blocks) in [(README, 1), (RECIPES, 10)] {
        let code = code(text);
        let used: Vec<&str> = code
            .iter()
            .filter_map(|line| line.strip_prefix("use "))
            .filter_map(|path| path.split([':', ';']).next())
            .collect();
        assert!(used.len() >= blocks, "expected at least {blocks} lines with `use`, got {used:?}");
        for name in used {
            assert!(CRATES.contains(&name), "expected one of {CRATES:?}, got {name}");
        }
        for line in code {
            assert!(!line.contains("bn_"), "expected the facade's names only, got {line:?}");
        }
    }
}

/// The alias shows none of the struct's methods by itself.
#[test]
fn the_aliass_page_has_every_method_and_every_method_an_example() {
    let methods: Vec<_> = METHODS.into_iter().flat_map(methods).collect();
    assert!(methods.len() >= 20, "expected the layer's methods, got {methods:?}");
    for (name, docs) in methods {
        let link = format!("[`{name}`](BatchNorm::{name})");
        assert!(FACADE.contains(&link), "expected {link} in the docs of the alias");
        assert!(docs.contains("```"), "expected an example in the docs of {name}, got {docs}");
    }
}

#[test]
fn the_alias_and_the_struct_are_one() {
    let mut bn: batchnorm::backend::BatchNorm<f32, _> = batchnorm::BatchNorm::<f32>::new(2).unwrap();
    // Both fields at once, which a wrapper that derefs would not give.
    let (weight, bias) = (&mut bn.weight, &mut bn.bias);
    std::mem::swap(weight, bias);
    assert_eq!((bn.weight[0], bn.bias[0]), (0.0, 1.0));
}

#[test]
fn links_to_recipes_lead_to_one() {
    let recipes: Vec<String> =
        RECIPES.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let links: Vec<&str> =
        README.split("(docs/recipes.md#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() >= recipes.len(), "expected a link to each of {recipes:?}, got {links:?}");
    for link in &links {
        assert!(recipes.iter().any(|recipe| recipe == link), "expected one of {recipes:?}, got {link}");
    }
    for recipe in &recipes {
        assert!(links.contains(&recipe.as_str()), "expected a link to {recipe}, got {links:?}");
    }
}

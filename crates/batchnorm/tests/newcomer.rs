//! What a newcomer reads holds together: the code needs no crate but those that are named, and links lead to recipes.

const README: &str = include_str!("../../../README.md");
const RECIPES: &str = include_str!("../../../docs/recipes.md");

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

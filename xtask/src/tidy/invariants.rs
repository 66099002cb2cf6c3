//! The invariants of docs/architecture.md, each with the test that enforces it.

use super::source::{self, Token};
use std::path::Path;

const DOCUMENT: &str = "docs/architecture.md";
const SECTION: &str = "## Architecture invariants";

/// Every bullet of the section names its tests, `(test: NAME)`, and every one of them exists. NAME is a function, or a
/// path that ends in one; several are separated by commas, and `NAME in FILE` says where they stand.
pub(super) fn named_tests(root: &Path) -> Vec<String> {
    match check(root) {
        Ok(faults) => faults,
        Err(error) => vec![error],
    }
}

fn check(root: &Path) -> Result<Vec<String>, String> {
    let text = source::text(root, &root.join(DOCUMENT))?;
    let bullets = bullets(&text);
    if bullets.is_empty() {
        return Err(format!("{DOCUMENT}: expected a section {SECTION:?} with bullets, found none"));
    }
    let tests = tests(root)?;
    let mut faults = Vec::new();
    for bullet in bullets {
        let named = names(&bullet);
        if named.is_empty() {
            faults.push(format!("{DOCUMENT}: expected (test: NAME) in {bullet:?}"));
        }
        for (name, file) in named {
            if !tests.iter().any(|test| test.is(&name, file.as_deref())) {
                let place = file.map(|f| format!(" in {f}")).unwrap_or_default();
                faults.push(format!(
                    "{DOCUMENT}: expected a test {name:?}{place}, found none; it stands in {bullet:?}"
                ));
            }
        }
    }
    Ok(faults)
}

/// The section's bullets, each as one line; none where there is no such section.
fn bullets(text: &str) -> Vec<String> {
    let section = text.lines().skip_while(|line| line.trim_end() != SECTION).skip(1);
    let mut bullets: Vec<String> = Vec::new();
    for line in section.take_while(|line| !line.starts_with("# ") && !line.starts_with("## ")) {
        match (line.strip_prefix("- "), bullets.last_mut()) {
            (Some(start), _) => bullets.push(start.trim().into()),
            (None, Some(bullet)) if line.starts_with(' ') => *bullet += &format!(" {}", line.trim()),
            _ => {}
        }
    }
    bullets
}

/// The tests that a bullet names, and the file that they are said to be in.
fn names(bullet: &str) -> Vec<(String, Option<String>)> {
    let mut names = Vec::new();
    for part in bullet.split("(test:").skip(1).filter_map(|rest| rest.split(')').next()) {
        let part = part.replace('`', "");
        let (list, file) = match part.split_once(" in ") {
            Some((list, file)) => (list, Some(file.trim().to_string())),
            None => (part.as_str(), None),
        };
        let list = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.extend(list.map(|name| (name.to_string(), file.clone())));
    }
    names
}

/// A test function: its name, its file, and what a path to it can go through: crate, folders, file and the file's modules.
struct Test {
    name: String,
    file: String,
    places: Vec<String>,
}

impl Test {
    fn is(&self, path: &str, file: Option<&str>) -> bool {
        let mut segments = path.rsplit("::");
        segments.next() == Some(self.name.as_str())
            && segments.all(|segment| self.places.iter().any(|place| place == segment))
            && file.is_none_or(|file| file == self.file)
    }
}

/// Every test function of the workspace.
fn tests(root: &Path) -> Result<Vec<Test>, String> {
    let mut tests = Vec::new();
    for path in source::files(root, "")? {
        let (tokens, file) = (source::tokens(root, &path)?, source::relative(root, &path));
        let stem = file.trim_end_matches(".rs").replace('-', "_");
        let modules = tokens.windows(2).filter(|t| t[0].text == "mod").map(|t| t[1].text.clone());
        let places: Vec<String> = stem.split('/').map(String::from).chain(modules).collect();
        for i in (1..tokens.len()).filter(|&i| tokens[i - 1].text == "fn" && has_test(&tokens[..i - 1])) {
            tests.push(Test { name: tokens[i].text.clone(), file: file.clone(), places: places.clone() });
        }
    }
    Ok(tests)
}

/// Whether the attributes right before a function say that it is a test.
fn has_test(before: &[Token]) -> bool {
    let ends = |t: &Token| matches!(t.text.as_str(), ";" | "{" | "}");
    let start = before.iter().rposition(ends).map_or(0, |i| i + 1);
    before[start..].windows(2).any(|t| matches!(t[0].text.as_str(), "[" | ":") && t[1].text == "test")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    const SOURCE: &str = "pub fn helper() {}\n// #[test] fn commented() {}\n#[cfg(test)]\nmod tests {\n\
                          #[test]\n#[should_panic(expected = \"x\")]\nfn holds() {}\nfn no_test() {}\n\
                          proptest! { #![config(C { n: 1 })]\n#[test]\nfn swept(n in 0..9) {} }\n}";

    fn faults(document: &str) -> Vec<String> {
        let root = planted(&[("docs/architecture.md", document), ("crates/bn-core/src/plan.rs", SOURCE)]);
        named_tests(root.path())
    }

    fn of_bullets(bullets: &str) -> Vec<String> {
        faults(&format!(
            "# A\n- no bullet of ours\n\n## Architecture invariants\n\nWords.\n\n{bullets}\n\n## B\n- none"
        ))
    }

    #[test]
    fn tests_that_exist_are_found() {
        let good = "- One (test: `holds`)\n- Two,\n  long (test: bn_core::plan::tests::swept)\n\
                    - Three (test: `holds`, `swept` in `crates/bn-core/src/plan.rs`)";
        assert_eq!(of_bullets(good), Vec::<String>::new());
    }

    #[test]
    fn an_invariant_whose_test_is_not_there_is_found() {
        for name in
            ["gone", "helper", "no_test", "commented", "bn_scalar::holds", "`holds`, `gone`", "holds in x.rs"]
        {
            let faults = of_bullets(&format!("- Fine (test: holds)\n- One (test: {name})"));
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
            assert!(faults[0].contains("expected a test"), "{faults:?}");
        }
    }

    #[test]
    fn an_invariant_without_a_test_is_found() {
        assert!(
            of_bullets("- One (tested by hand)")[0]
                .contains("expected (test: NAME) in \"One (tested by hand)\"")
        );
        assert!(of_bullets("- One (test: )")[0].contains("expected (test: NAME)"));
    }

    #[test]
    fn a_missing_document_or_section_is_a_fault() {
        assert!(named_tests(planted(&[]).path())[0].starts_with("docs/architecture.md: "));
        for faults in [faults("# A"), of_bullets("")] {
            assert!(faults[0].contains("expected a section"), "{faults:?}");
        }
    }
}

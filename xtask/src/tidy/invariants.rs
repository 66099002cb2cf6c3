//! The invariants of docs/architecture.md, each with the test that enforces it.

use super::source::{self, Token};
use std::path::Path;

const DOCUMENT: &str = "docs/architecture.md";
const SECTION: &str = "## Architecture invariants";

/// Every row of the section's table names its tests in its last cell, and every one of them exists. A test is a function, or a path
/// that ends in one; several are separated by commas, and `NAME in FILE` says where they stand.
pub(super) fn named_tests(root: &Path) -> Vec<String> {
    match check(root) {
        Ok(faults) => faults,
        Err(error) => vec![error],
    }
}

fn check(root: &Path) -> Result<Vec<String>, String> {
    let text = source::text(root, &root.join(DOCUMENT))?;
    let rows = rows(&text);
    if rows.is_empty() {
        return Err(format!("{DOCUMENT}: expected a section {SECTION:?} with a table, found none"));
    }
    let tests = tests(root)?;
    let mut faults = Vec::new();
    for row in rows {
        let named = names(&row);
        if named.is_empty() {
            faults.push(format!("{DOCUMENT}: expected tests in the last cell of {row:?}"));
        }
        for (name, file) in named {
            if !tests.iter().any(|test| test.is(&name, file.as_deref())) {
                let place = file.map(|f| format!(" in {f}")).unwrap_or_default();
                faults.push(format!(
                    "{DOCUMENT}: expected a test {name:?}{place}, found none; it stands in {row:?}"
                ));
            }
        }
    }
    Ok(faults)
}

/// The rows of the section's table, without its head; none where there is no such section.
fn rows(text: &str) -> Vec<String> {
    let section = text.lines().skip_while(|line| line.trim_end() != SECTION).skip(1);
    let section = section.take_while(|line| !line.starts_with("# ") && !line.starts_with("## "));
    section.filter(|line| line.starts_with('|')).skip(2).map(String::from).collect()
}

/// The tests that a row names, and the file that they are said to be in.
fn names(row: &str) -> Vec<(String, Option<String>)> {
    let cells: Vec<&str> = row.trim().trim_matches('|').split('|').collect();
    let last = cells.last().filter(|_| cells.len() > 1).map_or(String::new(), |cell| cell.replace('`', ""));
    let (list, file) = match last.split_once(" in ") {
        Some((list, file)) => (list, Some(file.trim().to_string())),
        None => (last.as_str(), None),
    };
    let list = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    list.map(|name| (name.to_string(), file.clone())).collect()
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

    fn of_rows(rows: &str) -> Vec<String> {
        faults(&format!(
            "# A\n| no | row of ours |\n\n## Architecture invariants\n\nWords.\n\n\
             | what | tests |\n| --- | --- |\n{rows}\n\n## B\n| none | either |"
        ))
    }

    #[test]
    fn tests_that_exist_are_found() {
        let good = "| One | `holds` |\n| Two | bn_core::plan::tests::swept |\n\
                    | Three | `holds`, `swept` in `crates/bn-core/src/plan.rs` |";
        assert_eq!(of_rows(good), Vec::<String>::new());
    }

    #[test]
    fn an_invariant_whose_test_is_not_there_is_found() {
        for name in
            ["gone", "helper", "no_test", "commented", "bn_scalar::holds", "`holds`, `gone`", "holds in x.rs"]
        {
            let faults = of_rows(&format!("| Fine | holds |\n| One | {name} |"));
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
            assert!(faults[0].contains("expected a test"), "{faults:?}");
        }
    }

    #[test]
    fn an_invariant_without_a_test_is_found() {
        assert!(of_rows("| One | |")[0].contains("expected tests in the last cell of \"| One | |\""));
        assert!(of_rows("| One |")[0].contains("expected tests"));
    }

    #[test]
    fn a_missing_document_or_section_is_a_fault() {
        assert!(named_tests(planted(&[]).path())[0].starts_with("docs/architecture.md: "));
        for faults in [faults("# A"), of_rows("")] {
            assert!(faults[0].contains("expected a section"), "{faults:?}");
        }
    }
}

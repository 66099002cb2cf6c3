//! Case files that were copied into the repository.

use super::source::relative;
use std::path::{Path, PathBuf};

/// Where the originals lie, beside the workspace, if they do: they are not the repository's.
const ORIGINALS: &str = "../shared/cases";
const COPIES: &str = "crates/bn-conformance/cases";

/// A copy has its original's bytes. Without originals there is nothing to compare.
pub(super) fn unchanged(root: &Path) -> Vec<String> {
    let folder = root.join(ORIGINALS);
    if !folder.exists() {
        return Vec::new();
    }
    match compare(root, &folder) {
        Ok(faults) => faults,
        Err(error) => vec![error],
    }
}

fn compare(root: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let cannot = |path: &Path| {
        let path = PathBuf::from(path);
        move |error| format!("{}: {error}", path.display())
    };
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot(folder))? {
        let original = entry.map_err(cannot(folder))?.path();
        let copy = root.join(COPIES).join(original.file_name().unwrap_or_default());
        if !original.is_file() || !copy.exists() {
            continue;
        }
        let (want, got) = (
            std::fs::read(&original).map_err(cannot(&original))?,
            std::fs::read(&copy).map_err(cannot(&copy))?,
        );
        if let Some(i) = want.iter().zip(&got).position(|(a, b)| a != b) {
            faults.push(format!("{}: byte {i} is not the original's", relative(root, &copy)));
        } else if want.len() != got.len() {
            let (want, got) = (want.len(), got.len());
            faults.push(format!("{}: expected {want} bytes, got {got}", relative(root, &copy)));
        }
    }
    faults.sort();
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    #[test]
    fn a_changed_copy_is_found() {
        let folder = planted(&[
            ("shared/cases/same", "abc"),
            ("shared/cases/changed", "abc"),
            ("shared/cases/shorter", "abc"),
            ("shared/cases/not-copied", "abc"),
            ("own/crates/bn-conformance/cases/same", "abc"),
            ("own/crates/bn-conformance/cases/changed", "abd"),
            ("own/crates/bn-conformance/cases/shorter", "ab"),
            ("own/crates/bn-conformance/cases/of-our-own", "x"),
        ]);
        assert_eq!(
            unchanged(&folder.path().join("own")),
            [
                "crates/bn-conformance/cases/changed: byte 2 is not the original's",
                "crates/bn-conformance/cases/shorter: expected 3 bytes, got 2",
            ]
        );
    }

    #[test]
    fn without_originals_nothing_is_compared() {
        let folder = planted(&[("own/crates/bn-conformance/cases/a", "x")]);
        assert_eq!(unchanged(&folder.path().join("own")), Vec::<String>::new());
    }
}

//! Features that build only together, and lints of crates by themselves. `cargo hack --each-feature` would do the same, and takes
//! longer to install than this takes to run.

use super::crates::packages;
use crate::tools;
use std::path::Path;
use xshell::{Shell, cmd};

/// Builds every crate without features, and with each of its features alone.
pub(super) fn build_alone(root: &Path) -> Vec<String> {
    let found = packages(root).and_then(|packages| Ok((packages, Shell::new().map_err(|e| e.to_string())?)));
    let (packages, shell) = match found {
        Ok(found) => found,
        Err(error) => return vec![error],
    };
    shell.change_dir(root);
    let cargo = tools::cargo_program();
    let mut faults = Vec::new();
    let has_mpi = tools::has_mpi();
    for package in packages {
        if package.needs_mpi() && !has_mpi {
            eprintln!("{} is left out: {}", package.name, tools::NO_MPI);
            continue;
        }
        let alone = package.features.iter().filter(|f| *f != "default").map(String::as_str);
        for feature in std::iter::once("").chain(alone) {
            let name = &package.name;
            let check = cmd!(
                shell,
                "{cargo} clippy -p {name} --no-default-features --features {feature} -- -D warnings"
            );
            if check.run().is_err() {
                faults.push(format!(
                    "{name} with the feature {feature:?} alone: cargo says above what is wrong"
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    #[test]
    fn a_feature_that_needs_another_is_found() {
        let root = planted(&[
            (
                "Cargo.toml",
                "[package]\nname = \"planted\"\nedition = \"2024\"\n[features]\ndefault = [\"a\", \"b\"]\na = []\nb = []\n[workspace]\n",
            ),
            (
                "src/lib.rs",
                "#[cfg(feature = \"a\")]\npub fn f() {}\n#[cfg(feature = \"b\")]\npub fn g() { f() }\n",
            ),
        ]);
        let faults = build_alone(root.path());
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("planted with the feature \"b\" alone:"), "{faults:?}");
    }
}

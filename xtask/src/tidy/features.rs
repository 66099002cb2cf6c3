//! Features that build only together.

use super::crates::packages;
use crate::tools;
use std::path::Path;

/// Builds every crate without features, and with each of its features alone.
pub(super) fn build_alone(root: &Path) -> Vec<String> {
    let packages = match packages(root) {
        Ok(packages) => packages,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    for package in packages {
        let alone = package.features.iter().filter(|f| *f != "default").map(|f| Some(f.as_str()));
        for feature in std::iter::once(None).chain(alone) {
            faults.extend(build(root, &package.name, feature).err());
        }
    }
    faults
}

fn build(root: &Path, package: &str, feature: Option<&str>) -> Result<(), String> {
    let mut command = tools::cargo();
    command.current_dir(root).args(["check", "--quiet", "-p", package, "--no-default-features"]);
    command.args(feature.into_iter().flat_map(|f| ["--features", f]));
    let output = command.output().map_err(|error| format!("cannot run cargo check: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{package} with {}:\n{}",
        feature.map_or("no feature".into(), |f| format!("{f:?}")),
        said.trim()
    ))
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
        assert!(faults[0].starts_with("planted with \"b\":"), "{faults:?}");
    }
}

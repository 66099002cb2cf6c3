//! Which crate may depend on which.

use crate::tools;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use xshell::{Shell, cmd};

/// The crate that the others stand on.
const CORE: &str = "bn-core";

/// Crates of kernels, executors and communicators: they depend on [`CORE`] and at most one crate from outside.
const PARTS: &[&str] = &["bn-scalar", "bn-wide", "bn-dispatch", "bn-rayon", "bn-mpi"];

/// A crate of the workspace.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) features: Vec<String>,
    /// What it is built with; its tests may use more. True: of this workspace.
    dependencies: Vec<(String, bool)>,
}

/// The workspace's crates, from `cargo metadata`.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let (cargo, manifest) = (tools::cargo_program(), root.join("Cargo.toml"));
    let read = Shell::new().and_then(|shell| {
        cmd!(shell, "{cargo} metadata --no-deps --offline --format-version=1 --manifest-path {manifest}")
            .quiet()
            .read()
    });
    let json = read.map_err(|error| format!("cargo metadata: {error}"))?;
    let json: Value = serde_json::from_str(&json).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = json["packages"].as_array().ok_or("cargo metadata: expected a list of packages")?;
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_string();
    let read = packages.iter().map(|package| Package {
        name: name(package),
        features: package["features"].as_object().map(|f| f.keys().cloned().collect()).unwrap_or_default(),
        dependencies: package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| (name(dependency), dependency["path"].is_string()))
            .collect(),
    });
    Ok(read.collect())
}

impl Package {
    /// Whether it builds against an MPI.
    pub(super) fn needs_mpi(&self) -> bool {
        self.dependencies.iter().any(|(name, _)| name == "mpi")
    }
}

pub(super) fn dependencies(root: &Path) -> Vec<String> {
    let packages = match packages(root) {
        Ok(packages) => packages,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    if !packages.iter().any(|p| p.name == CORE) {
        faults.push(format!("expected a crate {CORE}, found none"));
    }
    for Package { name, dependencies, .. } in &packages {
        let part = PARTS.contains(&name.as_str());
        if name != CORE && !part {
            continue;
        }
        // One that is listed for several targets is still one.
        let names = |ours: bool| -> BTreeSet<&str> {
            dependencies.iter().filter(|d| d.1 == ours).map(|d| d.0.as_str()).collect()
        };
        let (own, others) = (names(true), names(false));
        let expected = BTreeSet::from_iter(part.then_some(CORE));
        if own != expected {
            faults.push(format!("{name}: expected the crates {expected:?} of this workspace, got {own:?}"));
        }
        if part && others.len() > 1 {
            faults.push(format!("{name}: expected at most one crate from outside, got {others:?}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    /// A workspace of empty crates, each with its dependencies as lines of Cargo.toml.
    fn workspace(crates: &[(&str, &str)]) -> tempfile::TempDir {
        let mut files = vec![("Cargo.toml".to_string(), "[workspace]\nmembers = [\"crates/*\"]".to_string())];
        for (name, dependencies) in crates {
            files.push((
                format!("crates/{name}/Cargo.toml"),
                format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n{dependencies}"),
            ));
            files.push((format!("crates/{name}/src/lib.rs"), String::new()));
        }
        planted(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
    }

    const ON_CORE: &str = "[dependencies]\nbn-core = { path = \"../bn-core\" }\n";

    fn faults(crates: &[(&str, &str)]) -> Vec<String> {
        dependencies(workspace(crates).path())
    }

    #[test]
    fn what_the_architecture_allows_passes() {
        let wide =
            format!("{ON_CORE}wide = \"1\"\n[dev-dependencies]\nbn-scalar = {{ path = \"../bn-scalar\" }}\n");
        let facade = format!("{ON_CORE}bn-scalar = {{ path = \"../bn-scalar\" }}\nx = \"1\"\ny = \"1\"\n");
        let fine = [
            ("bn-core", "[dependencies]\nndarray = \"1\"\nthiserror = \"1\"\n"),
            ("bn-scalar", ON_CORE),
            ("bn-wide", &wide),
            ("batchnorm", &facade),
        ];
        assert_eq!(faults(&fine), Vec::<String>::new());
    }

    #[test]
    fn the_core_depends_on_no_crate_of_ours() {
        let on_scalar = "[dependencies]\nbn-scalar = { path = \"../bn-scalar\" }\n";
        let faults = faults(&[("bn-core", on_scalar), ("bn-scalar", "")]);
        assert_eq!(faults[0], "bn-core: expected the crates {} of this workspace, got {\"bn-scalar\"}");
        assert_eq!(faults[1], "bn-scalar: expected the crates {\"bn-core\"} of this workspace, got {}");
    }

    #[test]
    fn kernels_depend_on_the_core_and_one_more() {
        let two = format!("{ON_CORE}a = \"1\"\n[target.'cfg(unix)'.build-dependencies]\nb = \"1\"\n");
        let each_other = format!("{ON_CORE}bn-wide = {{ path = \"../bn-wide\", optional = true }}\n");
        let faults = faults(&[("bn-core", ""), ("bn-wide", &two), ("bn-dispatch", &each_other)]);
        assert_eq!(
            faults,
            [
                "bn-dispatch: expected the crates {\"bn-core\"} of this workspace, got {\"bn-core\", \"bn-wide\"}",
                "bn-wide: expected at most one crate from outside, got {\"a\", \"b\"}",
            ]
        );
    }

    #[test]
    fn a_workspace_without_a_core_is_a_fault() {
        assert_eq!(faults(&[("other", "")]), ["expected a crate bn-core, found none"]);
        assert!(dependencies(planted(&[]).path())[0].starts_with("cargo metadata: "));
    }
}

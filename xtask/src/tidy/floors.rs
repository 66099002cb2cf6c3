//! The floors of bn-core: which folder may import which; and circles of files, of which there are none.

use super::source::{self, Token, relative};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The crate that has floors.
const CORE: &str = "crates/bn-core/src";

/// A folder, the folders that it may import, and of some of those the only names.
type Floor = (&'static str, &'static [(&'static str, &'static [&'static str])]);

/// Any name.
const ALL: &[&str] = &[];

/// From the ground up, as docs/architecture.md has it.
const FLOORS: &[Floor] = &[
    ("num", &[]),
    ("mem", &[]),
    ("tensor", &[("mem", ALL)]),
    ("kernel", &[("num", ALL), ("tensor", ALL), ("mem", ALL)]),
    ("walk", &[("kernel", ALL), ("tensor", ALL), ("mem", ALL), ("num", ALL)]),
    ("maths", &[("num", ALL)]),
    ("driver", &[("num", ALL), ("mem", ALL), ("tensor", ALL), ("kernel", ALL), ("maths", ALL)]),
    (
        "layer",
        &[
            ("driver", ALL),
            ("maths", ALL),
            ("kernel", &["Backend", "Executor", "Out"]),
            ("tensor", ALL),
            ("num", ALL),
            ("mem", ALL),
        ],
    ),
];

/// What imports what, per file.
struct Imports {
    file: String,
    /// Each path that is imported or named from `crate`, `self` or `super` on, and its line.
    paths: Vec<(Vec<String>, usize)>,
    /// The paths that a folder's own file imports from its modules.
    children: Vec<Vec<String>>,
}

/// Where names lead.
struct Names<'f> {
    files: BTreeSet<&'f str>,
    /// What a folder's own file has from its modules, by the folder and the name.
    exports: BTreeMap<(String, &'f str), String>,
}

impl<'f> Names<'f> {
    fn of(all: &'f [Imports]) -> Self {
        let mut exports = BTreeMap::new();
        for Imports { file, children, .. } in all {
            let folder = folder_of(file);
            for path in children.iter().filter(|path| path.len() > 1) {
                let module = path[..path.len() - 1].join("/");
                exports
                    .insert((folder.clone(), path[path.len() - 1].as_str()), format!("{folder}/{module}.rs"));
            }
        }
        Self { files: all.iter().map(|imports| imports.file.as_str()).collect(), exports }
    }

    /// The file that a module or a name of a folder stands in.
    fn file(&self, folder: &str, name: &str) -> Option<&'f str> {
        let own = format!("{folder}/{name}.rs");
        let export = || self.exports.get(&(folder.to_string(), name)).map(String::as_str);
        self.files.get(own.as_str()).or_else(|| self.files.get(export()?)).copied()
    }
}

/// The folder that the modules of a file lie in.
fn folder_of(file: &str) -> String {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let own = ["/mod", "/lib", "/main"].iter().find_map(|own| stem.strip_suffix(own));
    own.unwrap_or(stem).to_string()
}

/// Every import of bn-core goes down, to a floor that its own may import.
pub(super) fn imports(root: &Path) -> Vec<String> {
    let files = match read(root, CORE) {
        Ok(files) => files,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    for Imports { file, paths, .. } in &files {
        let inside = file.strip_prefix(CORE).unwrap_or(file).trim_start_matches('/');
        let Some((own, _)) = inside.split_once('/') else {
            if inside != "lib.rs" {
                faults.push(format!("{file}: expected files of {CORE} in the folders of its floors"));
            }
            continue;
        };
        let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == own) else {
            faults.push(format!("{file}: expected a folder of the list FLOORS, got {own:?}"));
            continue;
        };
        for (path, line) in paths.iter().filter(|(path, _)| path[0] == "crate" && path.len() > 1) {
            let to = path[1].as_str();
            if to == own {
                continue;
            }
            let names = allowed.iter().find(|(floor, _)| *floor == to).map(|(_, names)| *names);
            let name = path.get(2).map_or("", String::as_str);
            if names.is_none_or(|names| !names.is_empty() && !names.contains(&name)) {
                faults.push(format!("{file}:{line}: {own} may not import {}", path.join("::")));
            }
        }
    }
    faults
}

/// No file imports one that imports it, be it by way of others.
pub(super) fn circles(root: &Path) -> Vec<String> {
    let files = match read(root, "") {
        Ok(files) => files,
        Err(error) => return vec![error],
    };
    let names = Names::of(&files);
    let graph: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|Imports { file, paths, .. }| {
            let to = paths.iter().filter_map(|(path, _)| target(file, path, &names));
            (file.as_str(), to.filter(|to| to != file).collect())
        })
        .collect();
    let mut faults = BTreeSet::new();
    for file in graph.keys() {
        if let Some(circle) = way_back(&graph, file) {
            // Once for all files of it.
            if circle.iter().all(|other| file <= other) {
                faults.insert(format!("circle: {} -> {file}", circle.join(" -> ")));
            }
        }
    }
    faults.into_iter().collect()
}

/// A way from a file back to itself, the shortest.
fn way_back<'f>(graph: &BTreeMap<&'f str, BTreeSet<&'f str>>, from: &'f str) -> Option<Vec<&'f str>> {
    let (mut ways, mut seen) = (vec![vec![from]], BTreeSet::new());
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for &next in graph.get(way.last()?)? {
                if next == from {
                    return Some(way);
                }
                if seen.insert(next) {
                    longer.push([way.as_slice(), &[next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// The file that a path from `file` leads to: the deepest module that it names, or where the name that follows comes from.
/// A folder's own file is never it.
fn target<'f>(file: &str, path: &[String], names: &Names<'f>) -> Option<&'f str> {
    let folder = folder_of(file);
    let mut place: Vec<&str> = folder.split('/').collect();
    let mut rest = &path[1..];
    if path[0] == "crate" {
        let roots = ["src", "tests", "examples", "benches"];
        let root = place.iter().rposition(|part| roots.contains(part))?;
        place.truncate(root + 1);
    } else if path[0] == "super" {
        place.pop();
        while let Some((_, further)) = rest.split_first().filter(|(first, _)| *first == "super") {
            place.pop();
            rest = further;
        }
    }
    let mut found = None;
    for part in rest {
        found = names.file(&place.join("/"), part).or(found);
        place.push(part);
    }
    found
}

/// The imports of every file below a folder; tests are no part of the structure.
fn read(root: &Path, folder: &str) -> Result<Vec<Imports>, String> {
    let files = source::files(root, folder)?;
    let mut all = Vec::new();
    for path in files {
        let file = relative(root, &path);
        if file.split('/').any(|part| ["tests", "tests.rs"].contains(&part)) {
            continue;
        }
        let tokens = source::tokens(root, &path)?;
        let (paths, children) = (paths(&tokens), children(&tokens));
        all.push(Imports { file, paths, children });
    }
    Ok(all)
}

/// The paths that begin with `crate`, `self` or `super`, those of a `use` spread out, up to the file's tests.
fn paths(tokens: &[Token]) -> Vec<(Vec<String>, usize)> {
    let mut paths = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        if token.text == "test" && tokens.get(i + 1).is_some_and(|next| next.text == ")") {
            // `#[cfg(test)] mod tests` ends a file.
            break;
        }
        let starts = ["crate", "self", "super"].contains(&token.text.as_str())
            && tokens.get(i + 1).is_some_and(|next| next.text == ":")
            && (i == 0 || tokens[i - 1].text != ":");
        if starts {
            i = spread(tokens, i, &[], &mut paths);
        } else {
            i += 1;
        }
    }
    paths
}

/// The paths of a `use` that begin with another word: a module of this file, or another crate.
fn children(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (i, _) in tokens.iter().enumerate().filter(|(_, token)| token.text == "use") {
        spread(tokens, i + 1, &[], &mut paths);
    }
    paths.into_iter().map(|(path, _)| path).collect()
}

/// Reads the path at `i`, with what a group makes of it, and says where it ends.
fn spread(tokens: &[Token], mut i: usize, before: &[String], paths: &mut Vec<(Vec<String>, usize)>) -> usize {
    let (mut path, line) = (before.to_vec(), tokens.get(i).map_or(0, |token| token.line));
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    loop {
        if text(i) == "{" {
            i += 1;
            while i < tokens.len() && text(i) != "}" {
                i = if text(i) == "," { i + 1 } else { spread(tokens, i, &path, paths) };
            }
            return i + 1;
        }
        path.push(text(i).to_string());
        i += 1;
        if text(i) == ":" && text(i + 1) == ":" && text(i + 2) != "<" {
            i += 2;
        } else {
            break;
        }
    }
    paths.push((path, line));
    // `as NAME`
    if text(i) == "as" { i + 2 } else { i }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    #[test]
    fn an_import_that_goes_up_is_found() {
        let root = planted(&[
            ("crates/bn-core/src/lib.rs", "mod num; use crate::layer::X;"),
            ("crates/bn-core/src/num/mod.rs", "// use crate::layer::X;\nuse crate::num::eft;"),
            ("crates/bn-core/src/num/eft.rs", "use crate::{mem::LINE, tensor};"),
            (
                "crates/bn-core/src/driver/mod.rs",
                "use crate::kernel::Sum;\nfn f() { crate::walk::g::<u8>() }",
            ),
            (
                "crates/bn-core/src/layer/a.rs",
                "use crate::kernel::{Backend, Sum as S};\n#[cfg(test)]\nmod t { use crate::walk::X; }",
            ),
            ("crates/bn-core/src/other/a.rs", ""),
            ("crates/bn-core/src/flat.rs", ""),
        ]);
        assert_eq!(
            imports(root.path()),
            [
                "crates/bn-core/src/driver/mod.rs:2: driver may not import crate::walk::g",
                "crates/bn-core/src/flat.rs: expected files of crates/bn-core/src in the folders of its floors",
                "crates/bn-core/src/layer/a.rs:1: layer may not import crate::kernel::Sum",
                "crates/bn-core/src/num/eft.rs:1: num may not import crate::mem::LINE",
                "crates/bn-core/src/num/eft.rs:1: num may not import crate::tensor",
                "crates/bn-core/src/other/a.rs: expected a folder of the list FLOORS, got \"other\"",
            ]
        );
    }

    #[test]
    fn circles_are_found_whichever_way_they_are_written() {
        let root = planted(&[
            ("a/src/lib.rs", "mod x; mod y; mod z; pub use x::X;"),
            ("a/src/x.rs", "use crate::y::Y;"),
            ("a/src/y/mod.rs", "mod deep; pub(crate) use deep::{Y, W};"),
            ("a/src/y/deep.rs", "use super::super::z;"),
            ("a/src/z.rs", "fn f() { crate::X::g() }"),
            ("a/src/one.rs", "use crate::x::{self, X};"),
            ("b/src/main.rs", "mod p;"),
            ("b/src/p/mod.rs", "mod q; mod r;"),
            ("b/src/p/q.rs", "use super::r::{R, S};"),
            ("b/src/p/r.rs", "use crate::p::q::Q;"),
            ("b/src/p/s.rs", "use super::q;"),
        ]);
        assert_eq!(
            circles(root.path()),
            [
                "circle: a/src/x.rs -> a/src/y/deep.rs -> a/src/z.rs -> a/src/x.rs",
                "circle: b/src/p/q.rs -> b/src/p/r.rs -> b/src/p/q.rs",
            ]
        );
    }
}

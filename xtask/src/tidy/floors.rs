//! The floors of bn-core: which folder may import which; and circles of files, of which there are none.

use super::source::{self, Token, relative};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The crate that has floors.
const CORE: &str = "crates/bn-core/src";

/// From the ground up, as docs/architecture.md has it: a folder, and the folders or names that it may import.
const FLOORS: [(&str, &[&str]); 8] = [
    ("num", &[]),
    ("mem", &[]),
    ("tensor", &["mem"]),
    ("kernel", &["num", "tensor", "mem"]),
    ("walk", &["kernel", "tensor", "mem", "num"]),
    ("maths", &["num"]),
    ("driver", &["num", "mem", "tensor", "kernel", "maths"]),
    (
        "layer",
        &["driver", "maths", "kernel::Backend", "kernel::Executor", "kernel::Out", "tensor", "num", "mem"],
    ),
];

/// What a file imports.
struct Imports {
    file: String,
    /// Where its modules lie.
    folder: String,
    /// Each path that is imported or named from `crate`, `self` or `super` on, and its line.
    paths: Vec<(Vec<String>, usize)>,
    /// The paths that it imports from its modules.
    children: Vec<Vec<String>>,
}

/// The imports of every file below a folder; tests are no part of the structure.
fn read(root: &Path, folder: &str) -> Result<Vec<Imports>, String> {
    let mut all = Vec::new();
    for path in source::files(root, folder)? {
        let file = relative(root, &path);
        if file.split('/').any(|part| ["tests", "tests.rs"].contains(&part)) {
            continue;
        }
        let tokens = source::tokens(root, &path)?;
        let stem = file.trim_end_matches(".rs");
        let folder = ["/mod", "/lib", "/main"].iter().find_map(|own| stem.strip_suffix(own)).unwrap_or(stem);
        let (paths, children) = (paths(&tokens), children(&tokens));
        all.push(Imports { folder: folder.into(), file, paths, children });
    }
    Ok(all)
}

/// Every import of bn-core goes down, to a floor that its own may import.
pub(super) fn imports(root: &Path) -> Vec<String> {
    let files = match read(root, CORE) {
        Ok(files) => files,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    for Imports { file, paths, .. } in &files {
        let inside = file.trim_start_matches(CORE).trim_start_matches('/');
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
            let (to, name) = (&path[1], path[1..].iter().take(2).cloned().collect::<Vec<_>>().join("::"));
            if to != own && !allowed.iter().any(|allowed| allowed == to || *allowed == name) {
                faults.push(format!("{file}:{line}: {own} may not import {}", path.join("::")));
            }
        }
    }
    faults
}

/// No file imports one that imports it, be it by way of others.
pub(super) fn circles(root: &Path) -> Vec<String> {
    let all = match read(root, "") {
        Ok(all) => all,
        Err(error) => return vec![error],
    };
    let graph: BTreeMap<&str, BTreeSet<&str>> = all
        .iter()
        .map(|one| {
            let to = one.paths.iter().filter_map(|(path, _)| target(one, path, &all));
            (one.file.as_str(), to.filter(|to| *to != one.file).collect())
        })
        .collect();
    let circles = graph.keys().filter_map(|file| {
        // Once for all files of it.
        let circle = way_back(&graph, file).filter(|circle| circle.iter().all(|other| file <= other))?;
        Some(format!("circle: {} -> {file}", circle.join(" -> ")))
    });
    circles.collect()
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

/// The file that a path leads to: the deepest module that it names, or where the name that follows comes from.
/// A folder's own file is never it.
fn target<'f>(from: &Imports, path: &[String], all: &'f [Imports]) -> Option<&'f str> {
    let mut place: Vec<&str> = from.folder.split('/').collect();
    let mut rest = &path[1..];
    if path[0] == "crate" {
        let roots = ["src", "tests", "examples", "benches"];
        let root = place.iter().rposition(|part| roots.contains(part))?;
        place.truncate(root + 1);
    } else if path[0] == "super" {
        place.pop();
        while rest.first().is_some_and(|first| first == "super") {
            place.pop();
            rest = &rest[1..];
        }
    }
    let mut found = None;
    for part in rest {
        found = module(&place.join("/"), part, all).or(found);
        place.push(part);
    }
    found
}

/// The file that a module or a name of a folder stands in.
fn module<'f>(folder: &str, name: &str, all: &'f [Imports]) -> Option<&'f str> {
    let file = |path: &str| all.iter().map(|one| one.file.as_str()).find(|file| *file == path);
    file(&format!("{folder}/{name}.rs")).or_else(|| {
        let children = all.iter().filter(|one| one.folder == folder).flat_map(|one| &one.children);
        let path = children.into_iter().rfind(|path| path.len() > 1 && path[path.len() - 1] == name)?;
        file(&format!("{folder}/{}.rs", path[..path.len() - 1].join("/")))
    })
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

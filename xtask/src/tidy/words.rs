//! Rules about the words of source files.

use super::source::{Token, each_file, files, relative, text};
use std::path::Path;

/// The most lines of a file.
const LINES: usize = 400;

/// The files that may contain `unsafe`: streaming stores, prefetch, huge pages, dispatch, conversions of half types, and the tests that count allocations.
const UNSAFE: &[&str] = &[
    "benches/src/pages.rs",
    "benches/src/stream.rs",
    "crates/batchnorm/tests/no_allocation.rs",
    "crates/batchnorm/tests/suite/uninitialized.rs",
    "crates/bn-core/src/mem/output.rs",
    "crates/bn-core/src/mem/prefetch.rs",
    "crates/bn-core/src/mem/stores.rs",
    "crates/bn-core/src/walk/fill/tests.rs",
    "crates/bn-core/src/walk/fill/tests/guarded.rs",
    "crates/bn-dispatch/src/entry.rs",
    "crates/bn-dispatch/src/f16c.rs",
    "crates/bn-dispatch/src/shifts.rs",
    "crates/bn-dispatch/src/sse2.rs",
];

/// Where kernels are, in which the order of operations is the numeric contract.
const KERNELS: &[&str] =
    &["bn-scalar/src", "bn-wide/src", "bn-dispatch/src", "bn-core/src/walk", "bn-core/src/num"];

/// The files that may fuse a multiplication and an addition, and how often: where the product is exact, and only there.
const EXACT: &[(&str, usize)] =
    &[("crates/bn-core/src/walk/terms.rs", 1), ("crates/bn-wide/src/vector.rs", 1)];

pub(super) fn lengths(root: &Path) -> Vec<String> {
    let files = match files(root, "") {
        Ok(files) => files,
        Err(error) => return vec![error],
    };
    let faults = files.iter().filter_map(|path| match text(root, path) {
        Ok(text) => {
            let lines = text.lines().count();
            let path = relative(root, path);
            (lines > LINES).then(|| format!("{path}: expected at most {LINES} lines, got {lines}"))
        }
        Err(error) => Some(error),
    });
    faults.collect()
}

pub(super) fn unsafe_files(root: &Path) -> Vec<String> {
    unsafe_but_in(root, UNSAFE)
}

fn unsafe_but_in(root: &Path, allowed: &[&str]) -> Vec<String> {
    let mut without: Vec<&str> = allowed.to_vec();
    let mut faults = each_file(root, "", |path, tokens| {
        let Some(first) = tokens.iter().find(|t| t.text == "unsafe") else {
            return Vec::new();
        };
        without.retain(|listed| *listed != path);
        match allowed.contains(&path) {
            true => Vec::new(),
            false => {
                vec![format!("{path}:{}: expected `unsafe` only in the files of the list UNSAFE", first.line)]
            }
        }
    });
    faults
        .extend(without.iter().map(|path| format!("{path}: is on the list UNSAFE, but has none or is gone")));
    faults
}

/// No horizontal sum of a library and no fused multiply-add: their order and rounding follow the machine.
pub(super) fn order(root: &Path) -> Vec<String> {
    order_but(root, EXACT)
}

fn order_but(root: &Path, exact: &[(&str, usize)]) -> Vec<String> {
    let mut faults = Vec::new();
    let there = |name: &&&str| root.join("crates").join(name).exists();
    for name in KERNELS.iter().filter(there) {
        faults.extend(each_file(root, &format!("crates/{name}"), |path, tokens| {
            let allowed = exact.iter().find(|(file, _)| *file == path).map_or(0, |(_, count)| *count);
            let fused = tokens.iter().filter(|t| t.text == "mul_add").count();
            let mut found = forbidden(path, tokens, fused == allowed);
            if fused < allowed {
                found.push(format!("{path}: is on the list EXACT with {allowed} mul_add, but has {fused}"));
            }
            found
        }));
    }
    if KERNELS.iter().filter(there).count() == 0 {
        faults.push(format!("crates/: expected one of the folders of kernels {KERNELS:?}, found none"));
    }
    faults
}

fn forbidden(path: &str, tokens: &[Token], fused: bool) -> Vec<String> {
    let at = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let word = |i: usize| {
        let word = at(i);
        let lower = word.to_lowercase();
        let anywhere = ["mul_add", "reduce_", "horizontal_", "fmadd", "fmsub", "fnmadd", "fnmsub"];
        // `sum` is a name like others, the kernels' verb among them; `.sum()`, `.sum::<T>()` and `Iterator::sum` are the
        // library's.
        let bare = at(i + 1) == ":" || (at(i + 1), at(i + 2)) == ("(", ")");
        let method = ["sum", "product"].contains(&word)
            && ((i > 0 && at(i - 1) == "." && bare) || (i > 2 && at(i - 3) == "Iterator"));
        (anywhere.iter().any(|part| lower.contains(part)) && !(fused && word == "mul_add")) || method
    };
    let found = (0..tokens.len()).filter(|&i| word(i));
    found
        .map(|i| {
            let (word, line) = (at(i), tokens[i].line);
            format!("{path}:{line}: expected sums and products in an order of our own, got `{word}`")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    #[test]
    fn a_file_of_401_lines_is_too_long() {
        let (fits, long) = ("//\n".repeat(400), "//\n".repeat(401));
        let root = planted(&[
            ("a/fits.rs", &fits),
            ("a/b/long.rs", &long),
            ("target/x.rs", &long),
            ("c.txt", &long),
        ]);
        assert_eq!(lengths(root.path()), ["a/b/long.rs: expected at most 400 lines, got 401"]);
    }

    #[test]
    fn unsafe_is_found_in_code_and_nowhere_else() {
        let root = planted(&[
            ("a.rs", "// unsafe\n/* unsafe */ fn f() -> &'static str { \"unsafe\" }\n#![deny(unsafe_code)]"),
            ("b.rs", "fn f() {\n    macro!(unsafe { g() })\n}"),
            ("c.rs", "unsafe fn f() {}"),
        ]);
        let root = root.path();
        assert_eq!(unsafe_but_in(root, &["c.rs"]).len(), 1);
        assert!(unsafe_but_in(root, &["c.rs"])[0].starts_with("b.rs:2: expected `unsafe` only"));
        let stale = unsafe_but_in(root, &["a.rs", "b.rs", "c.rs", "gone.rs"]);
        assert_eq!(stale.len(), 2, "{stale:?}");
        assert!(stale[0].starts_with("a.rs: is on the list"), "{stale:?}");
    }

    #[test]
    fn library_sums_and_fused_operations_are_found_in_kernels() {
        let kernel = "mod sum;\nuse crate::sum::sum;\n// x.sum() mul_add\nfn f(x: &[f32]) -> f32 {\n\
                      sum(x) + k.sum(x) + (0..sum.rows())\n+ x.iter().sum::<f32>()\n+ x[0].mul_add(x[1], 2.0)\n+ v.reduce_add()\n\
                      + Iterator::sum(x)\n+ _mm256_fmadd_ps(a, b, c)\n}";
        let root = planted(&[
            ("crates/bn-scalar/src/lib.rs", kernel),
            ("crates/bn-core/src/lib.rs", "fn f() { x.sum() }"),
        ]);
        let faults = order(root.path());
        let lines: Vec<&str> = faults.iter().filter_map(|f| f.split(':').nth(1)).collect();
        assert_eq!(lines, ["6", "7", "8", "9", "10"], "{faults:?}");
        let listed = |count| order_but(root.path(), &[("crates/bn-scalar/src/lib.rs", count)]).len();
        assert_eq!((listed(0), listed(1), listed(2)), (5, 4, 6), "one fused operation is there");
        assert_eq!(order(planted(&[("crates/x.rs", "")]).path()).len(), 1);
    }

    #[test]
    fn what_cannot_be_read_as_rust_is_a_fault() {
        let root = planted(&[("a.rs", "fn f( {")]);
        assert!(unsafe_but_in(root.path(), &[])[0].starts_with("a.rs: expected Rust"));
    }
}

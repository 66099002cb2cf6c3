//! Rules about the words of source files.

use super::source::{Token, each_file, files, relative, text};
use std::path::Path;

/// The most lines of a file.
const LINES: usize = 400;

/// The files that may contain `unsafe`: streaming stores, prefetch, huge pages, dispatch, conversions of half types, outputs of adapters, and the tests that count allocations.
const UNSAFE: &[&str] = &[
    "adapters/burn/src/pool.rs",
    "benches/mem/src/pages.rs",
    "benches/mem/src/stream.rs",
    "crates/batchnorm/tests/no_allocation.rs",
    "crates/batchnorm/tests/suite/uninitialized.rs",
    "crates/bn-adapter/src/fresh.rs",
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

/// Parts of names: horizontal sums of a library's and fused multiply-adds, whose order and rounding follow the machine.
/// What has a path of its own, `Iterator::sum` and `mul_add`, clippy.toml forbids.
const FORBIDDEN: &[&str] = &["reduce_", "horizontal_", "fmadd", "fmsub", "fnmadd", "fnmsub"];

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

/// No intrinsic in kernels that sums or fuses in its own way.
pub(super) fn order(root: &Path) -> Vec<String> {
    let there: Vec<&&str> = KERNELS.iter().filter(|name| root.join("crates").join(name).exists()).collect();
    if there.is_empty() {
        return vec![format!("crates/: expected one of the folders of kernels {KERNELS:?}, found none")];
    }
    let faults = there.iter().flat_map(|name| {
        each_file(root, &format!("crates/{name}"), |path, tokens| {
            let bad = |t: &&Token| FORBIDDEN.iter().any(|part| t.text.to_lowercase().contains(part));
            let told = |t: &Token| {
                format!(
                    "{path}:{}: expected sums and products in an order of our own, got `{}`",
                    t.line, t.text
                )
            };
            tokens.iter().filter(bad).map(told).collect()
        })
    });
    faults.collect()
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
    fn intrinsics_that_sum_and_fuse_are_found_in_kernels() {
        let kernel = "// reduce_add\nfn f(x: f32x8) {\n\"_mm_fmadd_ps\";\nx.reduce_add();\n_mm256_fmadd_ps(a, b, c)\n}";
        let root = planted(&[
            ("crates/bn-scalar/src/lib.rs", kernel),
            ("crates/bn-core/src/lib.rs", "fn f() { x.reduce_add() }"),
        ]);
        let faults = order(root.path());
        let lines: Vec<&str> = faults.iter().filter_map(|f| f.split(':').nth(1)).collect();
        assert_eq!(lines, ["4", "5"], "{faults:?}");
        assert_eq!(order(planted(&[("crates/x.rs", "")]).path()).len(), 1);
    }

    #[test]
    fn what_cannot_be_read_as_rust_is_a_fault() {
        let root = planted(&[("a.rs", "fn f( {")]);
        assert!(unsafe_but_in(root.path(), &[])[0].starts_with("a.rs: expected Rust"));
    }
}

//! `cargo xtask` as its caller sees it: exit codes, stderr.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn xtask() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/bn-conformance/cases")
}

fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn every_backend_gives_the_same_bits() {
    let (cases, more) = (cases(), ["--digest", "--backend", "all"]);
    let (code, out, err) = ended(xtask().arg("replay").arg(cases).args(more));
    assert_eq!((code, err.as_str()), (Some(0), "replay: case files on backends\n"), "{out}");
    let (mut backends, mut bits) = (BTreeSet::new(), BTreeMap::new());
    for line in out.lines().filter(|l| l.contains(" bits=")) {
        let words: Vec<&str> = line.split(' ').collect();
        backends.insert(words[1]);
        let first = bits.entry((words[0], words[2])).or_insert(words[6]);
        assert_eq!(*first, words[6], "{line}");
    }
    for name in ["scalar", "dispatch", "rayon+scalar", "rayon+dispatch"] {
        assert!(backends.contains(name), "{name} in {backends:?}");
    }
    assert!(bits.len() > 130, "{} tensors", bits.len());
}

#[test]
fn what_is_unknown_has_its_exit_code() {
    let on = |backend| ended(xtask().arg("replay").arg(cases()).args(["--backend", backend]));
    assert_eq!(on("scalar").0, Some(0));
    let (code, _, err) = on("abacus");
    assert!(code == Some(2) && err.contains("abacus") && err.contains("scalar"), "{err}");
    assert_eq!(ended(xtask().args(["replay", "no/such/file"])).0, Some(2));
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let mut command = xtask();
    command.arg("replay").arg(cases()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.lines().count()), (Some(141), 1), "{err}");
}

#[test]
fn a_level_that_is_none_is_refused() {
    for verb in [&["replay", "no/such/file"][..], &["conformance"], &["count"], &["bits"], &["bench"]] {
        let (code, out, err) = ended(xtask().args(verb).env("BATCHNORM_LEVEL", "avx3"));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{verb:?}: {err}");
        assert_eq!(err, "BATCHNORM_LEVEL: expected a level of baseline, avx2, avx512, got \"avx3\"\n");
    }
}

//! `cargo xtask tidy`: what the compiler does not check.
//!
//! A rule is a function from the workspace's folder to what is wrong there, so that its test can plant the fault in
//! a folder of its own and see it found.

mod crates;
mod features;
mod floors;
mod invariants;
mod source;
mod words;

use crate::out::{self, Done};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// What the compiler does not check: lengths, words, dependencies, invariants.
///
/// Exit code 1 where a rule is broken.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Instead of the rules: build every crate without features and with each feature alone.
    #[arg(long)]
    features: bool,
}

/// What is wrong with the workspace in a folder; nothing, as it should be.
type Check = fn(&Path) -> Vec<String>;

/// Each rule, and what it says.
const RULES: &[(&str, Check)] = &[
    ("no source file is longer than 400 lines", words::lengths),
    ("unsafe stands in the files that may have it", words::unsafe_files),
    ("kernels use no intrinsic that sums or fuses in its own way", words::order),
    ("crates depend on each other as the architecture says", crates::dependencies),
    ("imports within bn-core go down, from floor to floor", floors::imports),
    ("no file imports one that imports it", floors::circles),
    ("every invariant names a test that exists", invariants::named_tests),
];

pub(crate) fn run(args: &Args) -> Done {
    let root = out::root();
    let rules: &[(&str, Check)] =
        if args.features { &[("every feature builds alone", features::build_alone)] } else { RULES };
    let mut stdout = io::stdout().lock();
    let mut broken = 0;
    for (name, check) in rules {
        let faults = check(&root);
        writeln!(stdout, "{:4}  {name}", if faults.is_empty() { "ok" } else { "FAIL" })?;
        for fault in &faults {
            writeln!(stdout, "      {fault}")?;
        }
        broken += usize::from(!faults.is_empty());
    }
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes files below a new folder, for a test to plant a fault.
#[cfg(test)]
fn planted(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

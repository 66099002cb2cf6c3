//! `cargo xtask count`: the instructions of a step, held to the committed ones.

mod compare;

use crate::out::{self, Done};
use crate::tools;
use bn_dispatch::Level;
use compare::{Counts, File};
use rayon::prelude::*;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use xshell::{Shell, cmd};

/// Counts the instructions of forward and backward steps under valgrind and holds them to benches/counts.json.
///
/// Instructions, not time: the figure is the same on a busy machine. Exit code 1: a step takes more than 5 % more than
/// the file says, or the file does not fit. Skipped, and said so, without valgrind or with another rustc than the file's.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write benches/counts.json anew.
    #[arg(long)]
    write: bool,
}

const COMMITTED: &str = "benches/counts.json";

/// Layout, dimensions and element type.
const CASES: &[[&str; 3]] = &[
    ["NC", "128x1024", "f32"],
    ["NCHW", "8x16x28x28", "f32"],
    ["NCHW", "8x64x7x7", "f32"],
    // Strips that are left over from stacks of eight and of four.
    ["NCHW", "7x64x7x7", "f32"],
    ["NHWC", "4x14x14x64", "f32"],
    ["NCHW", "8x16x28x28", "f64"],
    ["NCHW", "8x16x28x28", "f16"],
    ["NCHW", "8x64x7x7", "f16"],
    ["NCHW", "8x16x28x28", "bf16"],
    ["NCHW", "8x64x7x7", "bf16"],
];

/// Valgrind has no AVX-512.
const LEVELS: &[Level] = &[Level::Baseline, Level::Avx2];

/// Steps of a run beyond the one that makes the buffers.
const STEPS: u64 = 4;

pub(crate) fn run(args: &Args) -> Done {
    match counted(args.write) {
        Ok((text, good)) => {
            io::stdout().lock().write_all(text.as_bytes())?;
            Ok(out::code(good))
        }
        Err(error) => out::failure(&error),
    }
}

/// What there is to say, and whether all is well.
fn counted(write: bool) -> Result<(String, bool), String> {
    let path = out::root().join(COMMITTED);
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok((format!("{}{COMMITTED} holds counts of x86-64 Linux\n", out::SKIPPED), true));
    }
    let shell = tools::shell().map_err(told)?;
    if cmd!(shell, "valgrind --version").ignore_stderr().quiet().read().is_err() {
        return Ok((format!("{}valgrind is not installed: apt-get install valgrind\n", out::SKIPPED), true));
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let rustc = cmd!(shell, "{rustc} -V").quiet().read().map_err(told)?;
    if write {
        let file = File { counts: measure(&shell)?, rustc };
        file.write(&path)?;
        return Ok((format!("{} counts written to {COMMITTED}\n", file.counts.len()), true));
    }
    let committed = File::read(&path)?;
    if rustc != committed.rustc {
        let was = committed.rustc;
        let why = format!(
            "{COMMITTED} was written with {was}, this is {rustc}: --write with rust-toolchain.toml's"
        );
        return Ok((format!("{}{why}\n", out::SKIPPED), true));
    }
    let committed = committed.only(LEVELS.iter().filter(|level| level.is_available()).map(|l| l.name()));
    let missing = LEVELS.iter().filter(|level| !level.is_available());
    let missing: String =
        missing.map(|level| format!("Not run: {level}, which this machine has not.\n")).collect();
    let compared = compare::compare(&committed, &measure(&shell)?);
    Ok((missing + &compared.text, compared.faults == 0))
}

fn told(error: xshell::Error) -> String {
    error.to_string()
}

/// Builds the program that steps, as a plain build would, and counts every case.
fn measure(shell: &Shell) -> Result<Counts, String> {
    let cargo = tools::cargo_program();
    // Without a package named, so that the examples are built from the same crates. Flags of the caller's would make another program.
    cmd!(shell, "{cargo} build --release --bin count --target-dir target")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .run()
        .map_err(told)?;
    let program = out::root().join("target/release/count");
    let levels = || LEVELS.iter().copied().filter(|level| level.is_available());
    let jobs: Vec<([&str; 3], Level)> =
        CASES.iter().flat_map(|case| levels().map(move |level| (*case, level))).collect();
    let count = |(case, level): &([&str; 3], Level)| -> Result<[(String, u64); 2], String> {
        let of = |forwards, backwards| callgrind(&program, case, *level, [forwards, backwards]);
        let still = of(0, 0)?;
        let step = |pass, moved: u64| {
            (format!("{} {pass} {level}", case.join(" ")), moved.saturating_sub(still) / STEPS)
        };
        Ok([step("forward", of(STEPS, 0)?), step("backward", of(0, STEPS)?)])
    };
    let done = AtomicUsize::new(0);
    let counts: Result<Vec<_>, String> = out::with_bar(|progress| {
        let counted = jobs.par_iter().map(|job| {
            let counts = count(job);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
            counts
        });
        counted.collect()
    });
    Ok(counts?.into_iter().flatten().collect())
}

/// The instructions of a whole run.
fn callgrind(program: &Path, case: &[&str; 3], level: Level, steps: [u64; 2]) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(case);
    valgrind.args(steps.map(|n| n.to_string())).env("BATCHNORM_LEVEL", level.name());
    // The same on every machine: the first guess follows its caches.
    valgrind.env("BATCHNORM_SCHEDULE", "0");
    let Output { status, stderr, .. } =
        valgrind.output().map_err(|error| format!("cannot run valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&stderr);
    let found = collected(&said).filter(|_| status.success());
    found
        .ok_or_else(|| format!("{} at {level}: expected a count of valgrind's, got:\n{said}", case.join(" ")))
}

/// The number behind callgrind's `Collected :`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_count_is_read() {
        let said = "==1== Events    : Ir\n==1== Collected : 7038369\n==1==\n";
        assert_eq!((collected(said), collected("==1== Killed")), (Some(7_038_369), None));
    }

    #[test]
    fn the_committed_counts_are_of_these_cases() {
        let file = File::read(&out::root().join(COMMITTED)).unwrap();
        assert_eq!(file.counts.len(), CASES.len() * LEVELS.len() * 2);
        assert!(file.rustc.starts_with("rustc 1."), "{}", file.rustc);
        for key in CASES.iter().map(|case| format!("{} forward avx2", case.join(" "))) {
            assert!(file.counts.get(&key).is_some_and(|&count| count > 10_000), "{key}");
        }
    }
}

//! `cargo xtask count`: the instructions of a step, held to the committed ones.

mod compare;

use crate::out::{self, Done};
use crate::tools;
use bn_dispatch::Level;
use compare::{Counts, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

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
    let mut stdout = io::stdout().lock();
    let root = out::root();
    let result = match skip(&root, args.write) {
        Err(error) => Err(error),
        Ok(Some(why)) => {
            writeln!(stdout, "{}{why}", out::SKIPPED)?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(None) => measure(&root),
    };
    let file = match result {
        Ok(file) => file,
        Err(error) => return out::failure(&error),
    };
    if args.write {
        if let Err(error) = file.write(&root.join(COMMITTED)) {
            return out::failure(&error);
        }
        writeln!(stdout, "{} counts written to {COMMITTED}", file.counts.len())?;
        return Ok(ExitCode::SUCCESS);
    }
    let committed = match File::read(&root.join(COMMITTED)) {
        Ok(committed) => committed.only(LEVELS.iter().filter(|l| l.is_available()).map(|l| l.name())),
        Err(error) => return out::failure(&error),
    };
    for level in LEVELS.iter().filter(|level| !level.is_available()) {
        writeln!(stdout, "Not run: {level}, which this machine has not.")?;
    }
    let compared = compare::compare(&committed.counts, &file.counts);
    stdout.write_all(compared.text.as_bytes())?;
    Ok(if compared.faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why nothing can be counted here, or be held to the file.
fn skip(root: &Path, write: bool) -> Result<Option<String>, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Some(format!("{COMMITTED} holds counts of x86-64 Linux")));
    }
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|found| found.status.success()) {
        return Ok(Some("valgrind is not installed: apt-get install valgrind".into()));
    }
    let (own, file) = (rustc(root)?, root.join(COMMITTED));
    if write {
        return Ok(None);
    }
    let committed = File::read(&file)?.rustc;
    Ok((own != committed).then(|| {
        format!("{COMMITTED} was written with {committed}, this is {own}: --write with it as rust-toolchain.toml has it")
    }))
}

fn rustc(root: &Path) -> Result<String, String> {
    let mut rustc = tools::rustc();
    Ok(output(rustc.arg("-V").current_dir(root))?.trim().into())
}

/// Builds the program that steps, as a plain build would, and counts every case.
fn measure(root: &Path) -> Result<File, String> {
    let folder = root.join("target/code");
    let mut cargo = tools::cargo();
    cargo
        .args(["build", "--quiet", "--release", "-p", "benches", "--bin", "count", "--target-dir"])
        .arg(&folder);
    output(cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(root))?;
    let program = folder.join("release/count");
    let levels = || LEVELS.iter().copied().filter(|level| level.is_available());
    let jobs: Vec<([&str; 3], Level)> =
        CASES.iter().flat_map(|case| levels().map(move |level| (*case, level))).collect();
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut counts = Counts::new();
        while let Some((case, level)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let of = |forwards, backwards| callgrind(&program, case, *level, [forwards, backwards]);
            let still = of(0, 0)?;
            for (pass, moved) in [("forward", of(STEPS, 0)?), ("backward", of(0, STEPS)?)] {
                counts.insert(
                    format!("{} {pass} {level}", case.join(" ")),
                    moved.saturating_sub(still) / STEPS,
                );
            }
        }
        Ok(counts)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let parts: Vec<Result<Counts, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let ended = |w: std::thread::ScopedJoinHandle<'_, _>| {
            w.join().unwrap_or(Err("a count was broken off".into()))
        };
        workers.into_iter().map(ended).collect()
    });
    let mut counts = Counts::new();
    for part in parts {
        counts.extend(part?);
    }
    Ok(File { rustc: rustc(root)?, counts })
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

/// What a command prints, where it succeeds.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|e| format!("cannot run {name}: {e}"))?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        false => Err(format!("{name}: {status}\n{}", String::from_utf8_lossy(&stderr))),
    }
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

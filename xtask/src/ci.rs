//! `cargo xtask ci`: the gates of a change.

use crate::out::{self, Done};
use crate::tools;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Everything that gates a change, cheapest first.
///
/// Exit code 1 where a gate fails; the others still run, and what the failed ones said comes at the end.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only show the gates.
    #[arg(long)]
    list: bool,
    /// Only what fits five minutes, the build of this program included: style, lints, docs, and every backend on every case.
    #[arg(long)]
    quick: bool,
}

/// What a gate runs.
#[derive(Clone, Copy)]
enum Step {
    /// cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// This program with these arguments.
    Xtask(&'static [&'static str]),
    /// The nightly toolchain's cargo with these arguments; skipped, and said so, where there is none.
    Nightly(&'static [&'static str]),
    /// cargo with these arguments, its tests under valgrind; skipped, and said so, where there is none.
    Valgrind(&'static [&'static str]),
    /// cargo with these arguments, which build against an MPI; skipped, and said so, where there is none.
    Mpi(&'static [&'static str]),
    /// Python with these arguments; skipped, and said so, where it has no NumPy.
    Python(&'static [&'static str]),
    /// The test command that README.md tells its readers.
    Readme,
}

/// How a gate ended that did not fail.
#[derive(Debug, PartialEq)]
enum Passed {
    Ok,
    Skipped(String),
}

/// A gate: what reports call it, variables of its environment, and what it runs.
struct Gate(&'static str, &'static [(&'static str, &'static str)], Step);

/// Cheapest first.
const GATES: &[Gate] = &[
    Gate("fmt", &[], Step::Cargo(&["fmt", "--all", "--check"])),
    Gate("tidy", &[], Step::Xtask(&["tidy"])),
    Gate("replay", &[], Step::Xtask(&["replay", "crates/bn-conformance/cases"])),
    Gate(
        "clippy",
        &[],
        // The peers and the adapters come with `features`: by themselves, which saves building their frameworks twice.
        Step::Cargo(&["clippy", "--all-targets", "--all-features", "--", "-D", "warnings"]),
    ),
    // Of one build with optimizations: the kernels' instructions, and how many a step takes.
    Gate("code", &[], Step::Xtask(&["code"])),
    Gate("count", &[], Step::Xtask(&["count"])),
    Gate("docs", &[("RUSTDOCFLAGS", "-D warnings")], Step::Cargo(&["doc", "--no-deps"])),
    Gate("features", &[], Step::Xtask(&["tidy", "--features"])),
    Gate("test", &[], Step::Readme),
    // Their frameworks take minutes to build: once, for the tests and the examples.
    Gate("adapters", &[], Step::Cargo(&["test", "-p", "bn-candle", "-p", "bn-burn"])),
    // The memory that burn hands back. AddressSanitizer would have burn built once more.
    Gate("adapters-memory", VALGRIND, Step::Valgrind(&["test", "-p", "bn-burn", "--lib"])),
    Gate(
        "adapters-docs",
        &[("RUSTDOCFLAGS", "-D warnings")],
        Step::Cargo(&["doc", "--no-deps", "-p", "bn-candle", "-p", "bn-burn"]),
    ),
    Gate("mpi", &[], Step::Mpi(&["test", "-p", "bn-mpi"])),
    Gate("mpi-docs", &[("RUSTDOCFLAGS", "-D warnings")], Step::Mpi(&["doc", "--no-deps", "-p", "bn-mpi"])),
    // Of the peers, those that need no build of minutes; NumPy's must be there, the others may be missing.
    Gate("peers-python", &[("PEERS_NEEDED", "numpy")], Step::Python(&["benches/peers/test_peers.py"])),
    Gate("conformance", &[], Step::Xtask(&["conformance"])),
    // The same climbs each time, as many as a minute holds.
    Gate("search", &[], Step::Xtask(&["search", "--minutes", "1"])),
    Gate("bits", &[], Step::Xtask(&["bits", "--write", BITS])),
    // The same bits from other instructions: what the compiler makes of the kernels for newer machines.
    Gate("bits-v3", &as_released("-C target-cpu=x86-64-v3"), Step::Cargo(BITS_LIKE)),
    Gate("bits-native", &as_released("-C target-cpu=native"), Step::Cargo(BITS_LIKE)),
    Gate("asan", &[("RUSTFLAGS", "-Zsanitizer=address")], Step::Nightly(ASAN)),
    Gate("digits", &[], Step::Cargo(&["run", "--release", "--example", "digits", "--", "--quick"])),
    Gate(
        "weight_scale",
        &[],
        Step::Cargo(&["run", "--release", "--example", "weight_scale", "--", "--quick"]),
    ),
    Gate("conv", &[], Step::Cargo(&["run", "--release", "--example", "conv", "--", "--quick"])),
];

/// Those of a quick run.
const QUICK: [&str; 6] = ["fmt", "tidy", "replay", "clippy", "docs", "conformance"];

/// The digests of the whole table, from one build level to the others.
const BITS: &str = "target/bits.txt";

/// The environment of a build with these flags and without the checks that a user's has not either: it takes three quarters of the time.
const fn as_released(flags: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("RUSTFLAGS", flags),
        ("CARGO_PROFILE_TEST_DEBUG", "0"),
        ("CARGO_PROFILE_TEST_DEBUG_ASSERTIONS", "false"),
        ("CARGO_PROFILE_TEST_OVERFLOW_CHECKS", "false"),
    ]
}

/// A part of the table on every backend and on several threads, in a build for other machines, held to the bits of this one. It names its
/// target, so that build scripts and macros are built once for all levels.
const BITS_LIKE: &[&str] = &[
    "run",
    "--quiet",
    "--profile",
    "test",
    "--target",
    HOST,
    "--target-dir",
    "target/levels",
    "-p",
    "xtask",
    "--",
    "bits",
    "--like",
    BITS,
    "--one-in",
    "4",
];

/// What makes cargo run tests under valgrind.
const VALGRIND: &[(&str, &str)] =
    &[("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "valgrind -q --error-exitcode=9")];

/// The machines that have build levels, and AddressSanitizer.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// The files that may hold `unsafe`, under AddressSanitizer. It wants a target that is named, so that build scripts
/// are left alone.
const ASAN: &[&str] = &[
    "test",
    "--target",
    HOST,
    "--target-dir",
    "target/asan",
    "-p",
    "bn-core",
    "-p",
    "bn-dispatch",
    "-p",
    "bn-adapter",
    "-p",
    "bench-mem",
    "--lib",
    "--test",
    "streaming",
];

pub(crate) fn run(args: &Args) -> Done {
    let root = out::root();
    let mut stdout = io::stdout().lock();
    let gates: Vec<&Gate> = GATES.iter().filter(|gate| !args.quick || QUICK.contains(&gate.0)).collect();
    let width = gates.iter().map(|gate| gate.0.len()).max().unwrap_or(0);
    if args.list {
        for gate in gates {
            writeln!(stdout, "{:width$}  {}", gate.0, shown(gate, &root))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Now: a gate may put another build of this program in its place.
    let own = std::env::current_exe()?;
    let (mut failures, mut skipped) = (Vec::new(), 0);
    for &gate in &gates {
        write!(stdout, "{:width$}  ", gate.0)?;
        stdout.flush()?;
        let start = Instant::now();
        let result = pass(gate, &root, &own);
        let state = match &result {
            Ok(Passed::Ok) => "ok",
            Ok(Passed::Skipped(_)) => "skip",
            Err(_) => "FAIL",
        };
        write!(stdout, "{state:4}  {:7.1} s", start.elapsed().as_secs_f64())?;
        match result {
            Ok(Passed::Ok) => {}
            Ok(Passed::Skipped(why)) => {
                skipped += 1;
                write!(stdout, "  {why}")?;
            }
            Err(said) => failures.push((gate, said)),
        }
        writeln!(stdout)?;
    }
    for (gate, said) in &failures {
        writeln!(stdout, "\n==== {} failed: {}\n{}", gate.0, shown(gate, &root), said.trim_end())?;
    }
    let failed = failures.len();
    let passed = gates.len() - failed - skipped;
    writeln!(stdout, "\ngates: {passed} passed, {failed} failed, {skipped} skipped")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command line of a gate.
fn shown(gate: &Gate, root: &Path) -> String {
    let Gate(_, env, step) = gate;
    let env: String = env.iter().map(|(key, value)| format!("{key}={value:?} ")).collect();
    match words(*step, root) {
        Ok(words) => env + &words.join(" "),
        Err(error) => error,
    }
}

fn words(step: Step, root: &Path) -> Result<Vec<String>, String> {
    let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
    match step {
        Step::Cargo(args) | Step::Valgrind(args) | Step::Mpi(args) => Ok(owned(&[&["cargo"], args].concat())),
        Step::Xtask(args) => Ok(owned(&[&["cargo", "xtask"], args].concat())),
        Step::Nightly(args) => Ok(owned(&[&["rustup", "run", "nightly", "cargo"], args].concat())),
        Step::Python(args) => Ok(owned(&[&["python3"], args].concat())),
        Step::Readme => {
            let path = root.join("README.md");
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            test_command(&text)
        }
    }
}

/// The first `cargo test …` in a fenced block. README and gate cannot drift apart, since there is only one.
fn test_command(readme: &str) -> Result<Vec<String>, String> {
    let mut fenced = false;
    for line in readme.lines().map(str::trim) {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let command = line.strip_prefix("$ ").unwrap_or(line).split('#').next().unwrap_or_default();
        let words: Vec<String> = command.split_whitespace().map(String::from).collect();
        if fenced && words.starts_with(&["cargo".into(), "test".into()]) {
            return match words.iter().find(|w| w.contains(['|', '&', ';', '"', '\'', '$', '<', '>', '\\'])) {
                None => Ok(words),
                Some(word) => Err(format!("README.md: expected a `cargo test` of plain words, got {word:?}")),
            };
        }
    }
    Err("README.md: expected a fenced block with a line `cargo test …`, found none".into())
}

/// What a gate needs that is not there.
fn missing(step: Step) -> Option<&'static str> {
    let (probe, missing): (&[&str], _) = match step {
        Step::Nightly(_) => (&["rustup", "run", "nightly", "cargo", "--version"], "no nightly toolchain"),
        Step::Python(_) => (&["python3", "-c", "import numpy"], "no Python with NumPy: pip install numpy"),
        Step::Valgrind(_) => {
            (&["valgrind", "--version"], "valgrind is not installed: apt-get install valgrind")
        }
        Step::Mpi(_) => (&["mpirun", "--version"], tools::NO_MPI),
        Step::Cargo(_) | Step::Xtask(_) | Step::Readme => return None,
    };
    let found = Command::new(probe[0]).args(&probe[1..]).output();
    (!found.is_ok_and(|found| found.status.success())).then_some(missing)
}

/// Runs a gate; an error is what it said.
fn pass(gate: &Gate, root: &Path, own: &Path) -> Result<Passed, String> {
    let Gate(_, env, step) = gate;
    let words = words(*step, root)?;
    if let Some(missing) = missing(*step) {
        return Ok(Passed::Skipped(missing.into()));
    }
    let mut command = match step {
        // Not by way of cargo, which would build this program over itself.
        Step::Xtask(args) => {
            let mut command = Command::new(own);
            command.args(*args);
            command
        }
        Step::Nightly(_) | Step::Python(_) => {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        }
        Step::Cargo(_) | Step::Valgrind(_) | Step::Mpi(_) | Step::Readme => {
            let mut command = tools::cargo();
            command.args(&words[1..]);
            command
        }
    };
    command.current_dir(root).envs(env.iter().copied());
    let output = command.output().map_err(|e| format!("cannot run {}: {e}", words.join(" ")))?;
    if output.status.success() {
        return Ok(skipped(*step, &output.stdout).map_or(Passed::Ok, Passed::Skipped));
    }
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(format!("{}{}{}", said[0], said[1], output.status))
}

/// Why a verb of this program did not do its work, where it says so.
fn skipped(step: Step, stdout: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stdout);
    let why = text.lines().next().and_then(|line| line.strip_prefix(out::SKIPPED));
    why.filter(|_| matches!(step, Step::Xtask(_))).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_command_is_the_readmes() {
        let readme = "cargo test --not-this\n\n```sh\ncargo build\n$ cargo test --workspace  # all\n```\n";
        assert_eq!(test_command(readme).unwrap(), ["cargo", "test", "--workspace"]);
        let none = test_command("cargo test\n```\ncargo build\n```\ncargo test").unwrap_err();
        assert!(none.contains("expected a fenced block"), "{none}");
        let piped = test_command("```\ncargo test | tail\n```").unwrap_err();
        assert!(piped.contains("plain words"), "{piped}");
    }

    #[test]
    fn a_quick_run_has_gates_that_there_are() {
        for name in QUICK {
            assert!(GATES.iter().any(|gate| gate.0 == name), "{name}");
        }
    }

    #[test]
    fn a_verb_that_could_not_work_is_skipped() {
        let said = |step, text: &str| skipped(step, text.as_bytes());
        assert_eq!(said(Step::Xtask(&[]), "skipped: no such thing\n"), Some("no such thing".into()));
        assert_eq!(said(Step::Xtask(&[]), "done\nskipped: not at all\n"), None);
        assert_eq!(said(Step::Readme, "skipped: a test's words\n"), None);
    }

    #[test]
    fn a_gate_fails_as_its_command_does() {
        let root = out::root();
        let run = |step, root: &Path| pass(&Gate("gate", &[], step), root, Path::new("no/program"));
        assert_eq!(run(Step::Cargo(&["--version"]), &root), Ok(Passed::Ok));
        assert!(run(Step::Xtask(&["tidy"]), &root).unwrap_err().contains("cannot run cargo xtask tidy"));
        let said = run(Step::Cargo(&["no-such-command"]), &root).unwrap_err();
        assert!(said.contains("no-such-command"), "{said}");
        let empty = tempfile::tempdir().unwrap();
        let said = run(Step::Readme, empty.path()).unwrap_err();
        assert!(said.contains("README.md"), "{said}");
    }
}

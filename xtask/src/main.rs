//! `cargo xtask`: what gates a change, and what shows how a backend does. One file per verb.

mod backends;
mod bits;
mod ci;
mod code;
mod conformance;
mod count;
mod files;
mod out;
mod program;
mod replay;
mod search;
mod tidy;
mod tools;

use bn_dispatch::Level;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Times the layer on every backend, the textbook's strategies and other libraries, against a streaming copy.
    Bench(program::Args),
    Bits(bits::Args),
    Ci(ci::Args),
    Code(code::Args),
    Conformance(conformance::Args),
    Count(count::Args),
    Replay(replay::Args),
    Search(search::Args),
    Tidy(tidy::Args),
    /// Steps until the layer's schedules are learned on this machine, and shows what was tried.
    Tune(program::Args),
}

impl Verb {
    /// What is said before anything is done.
    fn announcement(&self) -> &'static str {
        match self {
            Self::Bench(_) => "bench: builds the benchmark for release, then runs it",
            Self::Bits(_) => "bits: every case on every backend, on 1 to 7 threads, on every schedule",
            Self::Ci(_) => "ci: the gates one after the other; what a gate says is shown where it fails",
            Self::Code(_) => "code: builds bn-dispatch for release, then looks at its instructions",
            Self::Conformance(_) => "conformance: every case on every backend, against the oracle",
            Self::Count(_) => {
                "count: builds steps for release, then counts their instructions under valgrind"
            }
            Self::Replay(_) => "replay: case files on backends",
            Self::Search(_) => "search: climbs towards data that break the limits",
            Self::Tidy(_) => "tidy: rules about sources, crates and documents",
            Self::Tune(_) => "tune: builds for release, then steps until schedules are learned",
        }
    }
}

/// Where the kernels that the environment asks for are none.
const NO_SUCH_LEVEL: u8 = 2;

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    if let Some(Err(error)) = Level::wanted() {
        out::complain(&format!("BATCHNORM_LEVEL: {error}"));
        return ExitCode::from(NO_SUCH_LEVEL);
    }
    out::complain(verb.announcement());
    let done = match verb {
        Verb::Bench(args) => program::run("bench", &args),
        Verb::Bits(args) => bits::run(&args),
        Verb::Ci(args) => ci::run(&args),
        Verb::Code(args) => code::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Count(args) => count::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Search(args) => search::run(&args),
        Verb::Tidy(args) => tidy::run(&args),
        Verb::Tune(args) => program::run("tune", &args),
    };
    out::exit(done)
}

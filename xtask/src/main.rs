//! `cargo xtask`: what gates a change, and what shows how a backend does. One file per verb.

mod backends;
mod bench;
mod bits;
mod ci;
mod code;
mod conformance;
mod count;
mod files;
mod out;
mod replay;
mod search;
mod tidy;
mod tools;
mod tune;

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
    Bench(bench::Args),
    Bits(bits::Args),
    Ci(ci::Args),
    Code(code::Args),
    Conformance(conformance::Args),
    Count(count::Args),
    Replay(replay::Args),
    Search(search::Args),
    Tidy(tidy::Args),
    Tune(tune::Args),
}

impl Verb {
    /// Whether it runs kernels of the level that the variable `BATCHNORM_LEVEL` names.
    fn runs_kernels(&self) -> bool {
        matches!(
            self,
            Self::Bench(_)
                | Self::Bits(_)
                | Self::Conformance(_)
                | Self::Count(_)
                | Self::Replay(_)
                | Self::Tune(_)
        )
    }
}

/// What a verb that runs backends ends with where it would not run the ones that were asked for.
const NO_SUCH_LEVEL: u8 = 2;

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    if let (true, Some(Err(error))) = (verb.runs_kernels(), Level::wanted()) {
        out::complain(&format!("BATCHNORM_LEVEL: {error}"));
        return ExitCode::from(NO_SUCH_LEVEL);
    }
    let done = match verb {
        Verb::Bench(args) => bench::run(&args),
        Verb::Bits(args) => bits::run(&args),
        Verb::Ci(args) => ci::run(&args),
        Verb::Code(args) => code::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Count(args) => count::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Search(args) => search::run(&args),
        Verb::Tidy(args) => tidy::run(&args),
        Verb::Tune(args) => tune::run(&args),
    };
    out::exit(done)
}

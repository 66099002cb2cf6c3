//! `cargo xtask`: what gates a change, and what shows how a backend does. One file per verb.

mod backends;
mod ci;
mod conformance;
mod out;
mod replay;
mod tidy;

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
    Ci(ci::Args),
    Conformance(conformance::Args),
    Replay(replay::Args),
    Tidy(tidy::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Ci(args) => ci::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Tidy(args) => tidy::run(&args),
    };
    out::exit(done)
}

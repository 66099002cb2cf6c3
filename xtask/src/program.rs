//! Verbs that are programs of the package `bench`: built for release, and run with the arguments that they are given.

use crate::out::Done;
use crate::tools;
use std::ffi::OsString;
#[cfg(not(unix))]
use std::process::ExitCode;

/// What the program is given; `--help` lists what it knows.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    args: Vec<OsString>,
}

pub(crate) fn run(name: &str, args: &Args) -> Done {
    let mut command = tools::cargo();
    command.args(["run", "--release", "--package", "bench", "--bin", name, "--manifest-path"]);
    command.arg(crate::out::root().join("Cargo.toml")).arg("--").args(&args.args);
    #[cfg(unix)]
    return Err(std::os::unix::process::CommandExt::exec(&mut command));
    #[cfg(not(unix))]
    return command.status().map(|status| match status.code() {
        Some(code) => ExitCode::from(code as u8),
        None => ExitCode::FAILURE,
    });
}

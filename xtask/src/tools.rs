//! The toolchain that this program was run with.

use std::process::Command;

/// cargo: the one that runs this program, where one does.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
}

/// rustc: the one that `RUSTC` names, where it does.
pub(crate) fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
}

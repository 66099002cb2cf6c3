//! The toolchain that this program was run with.

use std::ffi::OsString;
use std::process::Command;
use xshell::Shell;

/// cargo's program: the one that runs this one, where one does.
pub(crate) fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or("cargo".into())
}

/// [`cargo_program`] as a command.
pub(crate) fn cargo() -> Command {
    Command::new(cargo_program())
}

/// A shell in the workspace's folder. What it runs is shown, and says on stderr what it says.
pub(crate) fn shell() -> xshell::Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(crate::out::root());
    Ok(shell)
}

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

/// What to say where there is no MPI.
pub(crate) const NO_MPI: &str =
    "MPI is not installed: apt-get install libopenmpi-dev openmpi-bin libclang-dev";

/// Whether there is one.
pub(crate) fn has_mpi() -> bool {
    Command::new("mpirun").arg("--version").output().is_ok_and(|found| found.status.success())
}

/// A shell in the workspace's folder. What it runs is shown, and says on stderr what it says.
pub(crate) fn shell() -> xshell::Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(crate::out::root());
    Ok(shell)
}

//! `cargo xtask code`: what the compiler made of the dispatched kernels.

mod asm;
mod rules;

use crate::out::{self, Done};
use crate::tools;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use rules::Kernel;
use std::io::{self, Write as _};
use std::process::ExitCode;
use xshell::cmd;

/// Looks at the instructions of the dispatched kernels: registers of their level, fused multiply-adds only where the
/// product is exact.
///
/// Builds bn-dispatch with optimizations into target/code, without RUSTFLAGS. Exit code 1 names what is wrong, by
/// function and instruction. x86-64 only; elsewhere says that it is skipped.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Where the build goes, and what it writes there beside the library.
const FOLDER: &str = "target/code";
const ASSEMBLY: &str = "target/code/bn_dispatch.s";

pub(crate) fn run(_: &Args) -> Done {
    let mut stdout = io::stdout().lock();
    if !cfg!(target_arch = "x86_64") {
        writeln!(stdout, "{}the rules are written for x86-64", out::SKIPPED)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match assembly() {
        Ok(text) => text,
        Err(error) => {
            return out::failure(&format!("{error}; where the folder {FOLDER} is not whole, delete it"));
        }
    };
    let (kernels, faults) = rules::check(&asm::functions(&text));
    let mut table = Table::new();
    let header = ["module", "function", "with xmm", "ymm", "zmm", "FMAs", "out of line"];
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for Kernel { module, function, registers, fused, helpers } in &kernels {
        let numbers = registers.iter().chain([fused]).map(ToString::to_string);
        let names = [module, function].map(ToString::to_string);
        table.add_row(names.into_iter().chain(numbers).chain([helpers.join(", ")]));
    }
    writeln!(stdout, "{table}")?;
    for fault in &faults {
        writeln!(stdout, "{fault}")?;
    }
    writeln!(stdout, "\ncode: {} kernels, {} faults", kernels.len(), faults.len())?;
    Ok(out::code(faults.is_empty()))
}

/// The kernels' instructions, built anew where they changed.
fn assembly() -> xshell::Result<String> {
    let (shell, cargo) = (tools::shell()?, tools::cargo_program());
    let folder = ["--target-dir", FOLDER];
    // In one unit, so that there is one file. Flags of the caller's would make another baseline.
    let flags = ["-C", "codegen-units=1", "--emit", &format!("asm={}", out::root().join(ASSEMBLY).display())];
    cmd!(shell, "{cargo} rustc -p bn-dispatch --lib --release --features half {folder...} -- {flags...}")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .run()?;
    shell.read_file(ASSEMBLY)
}

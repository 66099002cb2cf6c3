//! `cargo xtask code`: what the compiler made of the dispatched kernels.

mod asm;
mod rules;

use crate::out::{self, Done};
use crate::tools;
use rules::Kernel;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

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
    let text = match assembly(&out::root()) {
        Ok(text) => text,
        Err(error) => return out::failure(&error),
    };
    let (kernels, faults) = rules::check(&asm::functions(&text));
    stdout.write_all(table(&kernels).as_bytes())?;
    for fault in &faults {
        writeln!(stdout, "{fault}")?;
    }
    writeln!(stdout, "\ncode: {} kernels, {} faults", kernels.len(), faults.len())?;
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The kernels' instructions, built anew where they changed.
fn assembly(root: &Path) -> Result<String, String> {
    let path = root.join(ASSEMBLY);
    let build = [
        "rustc",
        "--quiet",
        "--target-dir",
        FOLDER,
        "-p",
        "bn-dispatch",
        "--lib",
        "--release",
        "--features",
        "half",
    ];
    let mut cargo = tools::cargo();
    // In one unit, so that there is one file. Flags of the caller's would make another baseline.
    cargo.args(build).args(["--", "-C", "codegen-units=1", "--emit"]).arg(format!("asm={}", path.display()));
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(root);
    let built = cargo.output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !built.status.success() {
        return Err(format!("cannot build bn-dispatch:\n{}", String::from_utf8_lossy(&built.stderr)));
    }
    let hint = format!("the folder {FOLDER} is not whole, delete it");
    std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}; {hint}", path.display()))
}

fn table(kernels: &[Kernel]) -> String {
    let mut text = format!(
        "{:16} {:21} {:>6} {:>6} {:>6} {:>6}  {}\n",
        "module", "function", "xmm", "ymm", "zmm", "FMAs", "out of line"
    );
    for Kernel { module, function, registers: [xmm, ymm, zmm], fused, helpers, .. } in kernels {
        let helpers = if helpers.is_empty() { "–".into() } else { helpers.join(", ") };
        let _ = writeln!(text, "{module:16} {function:21} {xmm:6} {ymm:6} {zmm:6} {fused:6}  {helpers}");
    }
    text
}

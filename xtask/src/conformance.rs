//! `cargo xtask conformance`: every backend on every case, as a table.

use crate::backends::{self, Backends};
use crate::files;
use crate::out::{self, Done};
use bn_conformance::show;
use bn_conformance::suite::conform;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Every backend on every case of the table and of the case files: errors, bits, skips.
///
/// Exit code 1: a failure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the tables to docs/conformance.md as well.
    #[arg(long)]
    markdown: bool,
    /// The combination of kernels and executor; the first one is run as well, for its bits.
    #[arg(long, value_name = "NAME", value_parser = backends::parser(), default_value = backends::ALL)]
    backend: Backends,
}

pub(crate) fn run(args: &Args) -> Done {
    let mut candidates = args.backend.clone();
    if let Some(first) = xtask::available().into_iter().next().filter(|b| b.name != candidates[0].name) {
        candidates.insert(0, first);
    }
    let reports = out::with_bar(|progress| conform(&candidates, progress));
    let mut tables = show::tables(&reports);
    for (name, level) in xtask::unavailable() {
        let _ = writeln!(tables, "\nNot run: {name}, this machine has no {level}.");
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(tables.as_bytes())?;
    if args.markdown {
        let path = out::root().join("docs/conformance.md");
        if let Err(error) = files::write(&path, &show::document(&tables)) {
            return out::failure(&error);
        }
        writeln!(stdout, "\nwritten to {}", path.display())?;
    }
    Ok(out::code(reports.iter().all(|report| report.failures().next().is_none())))
}

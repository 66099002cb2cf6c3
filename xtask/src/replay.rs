//! `cargo xtask replay`: case files on backends.

use crate::backends::{self, Backends};
use crate::out::{self, Done};
use bn_conformance::replay::Replay;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Case files on backends, one line per case, backend and tensor.
///
/// A line is `CASE BACKEND TENSOR error=E limit=L ok|FAIL|unsupported`.
///
/// Exit code 1: a FAIL or an unsupported tensor. 2: a file that is no case, said on stderr; the others still run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Case files, and folders with case files (*.safetensors) in them or below.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The combination of kernels and executor.
    #[arg(long, value_name = "NAME", value_parser = backends::parser(), default_value = backends::ALL)]
    backend: Backends,
    /// Add bits=HEX: FNV-1a (64 bits) of the little-endian bytes of the computed tensor in its own element type;
    /// every NaN counts as the positive quiet one without payload.
    #[arg(long)]
    digest: bool,
    /// Share a training case of B samples out to N ranks within this process: rank r gets the samples from
    /// ⌊B·r(r+1)/(N(N+1))⌋ to ⌊B·(r+1)(r+2)/(N(N+1))⌋. The ranks' moments and gradient sums are merged.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ranks: Option<u16>,
    /// Write what a backend gave as DIR/CASE.BACKEND.safetensors, under the names of the expect.* tensors without
    /// `expect.`, in the tensor's own type. Two cases of one name are an error.
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Done {
    let Args { paths, backend, digest, ranks, dump } = args;
    let (backends, dump) = (backend.clone(), dump.clone());
    let (digest, ranks) = (*digest, ranks.map(usize::from));
    let replay = Replay { backends, digest, ranks, dump };
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let verdict = replay.run(paths, &mut stdout, &mut out::complain)?;
    stdout.flush()?;
    Ok(ExitCode::from(verdict as u8))
}

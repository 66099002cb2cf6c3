//! `cargo xtask replay`: case files on backends.

use crate::backends;
use crate::out::{self, Done};
use bn_conformance::any::{AnyCase, Candidate};
use bn_conformance::case::Results;
use bn_conformance::files::{self, Loaded};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
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
    /// Let pass what this project's own list of open work names: an unsupported tensor of a file on it is no error,
    /// and a file on it that runs whole is one.
    #[arg(long)]
    allow_not_yet: bool,
    /// Write what a backend gave as DIR/CASE.BACKEND.safetensors, under the names of the expect.* tensors without
    /// `expect.`, in the tensor's own type. Two cases of one name are an error.
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
}

type Backends = Vec<Candidate>;

/// What the whole run amounts to; the larger one wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Good,
    Failed,
    NoCase,
}

pub(crate) fn run(args: &Args) -> Done {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut verdict, mut dumped) = (Verdict::Good, Dumped::default());
    let no_case = |what: String| {
        out::complain(&what);
        Verdict::NoCase
    };
    for path in &args.paths {
        match cases_in(path) {
            Err(what) => verdict = verdict.max(no_case(what)),
            Ok(paths) => {
                for path in paths {
                    let found = match files::load(&path) {
                        Err(error) => no_case(error.to_string()),
                        Ok(loaded) => replay(&path, &loaded, args, &mut dumped, &mut out)?,
                    };
                    verdict = verdict.max(found);
                }
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::from(verdict as u8))
}

/// The case files that a path stands for: itself, or those in the folder and below, by name.
fn cases_in(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let found = crate::files::below(path, "safetensors", |_| true)?;
    if found.is_empty() {
        return Err(format!("{}: expected a folder with *.safetensors files, found none", path.display()));
    }
    Ok(found)
}

/// A case on every backend asked for.
fn replay(
    path: &Path,
    loaded: &Loaded,
    args: &Args,
    dumped: &mut Dumped,
    out: &mut impl Write,
) -> io::Result<Verdict> {
    let Loaded { case, unsupported } = loaded;
    let mut verdict = Verdict::Good;
    let mut failed = |bad: bool| verdict = verdict.max(if bad { Verdict::Failed } else { Verdict::Good });
    if args.allow_not_yet {
        for gap in files::gaps(path, unsupported).err().unwrap_or_default() {
            out::complain(&format!("{}: {gap}", path.display()));
            failed(true);
        }
    }
    let scales = case.scales();
    for backend in &args.backend {
        let mut line = |tensor: &str, error: f64, limit: f64, state: &str, bits: Option<u64>| {
            let name = case.name();
            write!(out, "{name} {} {tensor} error={} limit={limit} {state}", backend.name, Shown(error))?;
            match bits {
                Some(bits) => writeln!(out, " bits={bits:016x}"),
                None => writeln!(out),
            }
        };
        // A case without expectations left is not run: the layer would be given half of its settings.
        let results = match case.expect().iter().next() {
            Some(_) => (backend.run)(case).unwrap_or_else(|error| {
                out::complain(&format!("{}: {}: {error}", path.display(), backend.name));
                Results::default()
            }),
            None => Results::default(),
        };
        if let Some(folder) = args.dump.as_ref().filter(|_| results.iter().next().is_some())
            && let Err(what) = dumped.add(folder, &backend.name, case, &results)
        {
            out::complain(&what);
            failed(true);
        }
        for row in case.check_by(&scales, &results) {
            let bits = results.get(row.tensor).map(|values| case.digest(row.tensor, values));
            let state = if row.ok() { "ok" } else { "FAIL" };
            line(row.tensor.name(), row.error, row.limit, state, bits.filter(|_| args.digest))?;
            failed(!row.ok());
        }
        for gap in unsupported {
            line(&gap.tensor, f64::NAN, case.limit_named(&gap.tensor), "unsupported", None)?;
            failed(!args.allow_not_yet);
        }
    }
    Ok(verdict)
}

/// What a run has dumped.
#[derive(Default)]
struct Dumped(HashSet<PathBuf>);

impl Dumped {
    /// Writes what a backend gave. A file of an earlier run is replaced; one of this run is not.
    fn add(&mut self, folder: &Path, backend: &str, case: &AnyCase, results: &Results) -> Result<(), String> {
        let path = folder.join(format!("{}.{backend}.safetensors", case.name()));
        let cannot = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        if !self.0.insert(path.clone()) {
            return Err(cannot(&"expected cases of different names, got two of this one"));
        }
        let bytes = files::dump(case, results).map_err(|error| cannot(&error))?;
        std::fs::create_dir_all(folder).map_err(|error| cannot(&error))?;
        std::fs::write(&path, bytes).map_err(|error| cannot(&error))
    }
}

/// An error in six digits, without a row of zeros at either end.
struct Shown(f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            return f.write_str("nan");
        }
        let short: f64 = format!("{:.5e}", self.0).parse().unwrap_or(self.0);
        if short != 0.0 && short.is_finite() && !(1e-4..1e6).contains(&short) {
            write!(f, "{short:e}")
        } else {
            write!(f, "{short}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_in_six_digits() {
        for (error, shown) in [
            (0.0, "0"),
            (4.0, "4"),
            (2.540_912_345, "2.54091"),
            (1.0 / 3.0, "0.333333"),
            (2.5e-9, "2.5e-9"),
            (1.234_567_8e7, "1.23457e7"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(Shown(error).to_string(), shown);
        }
    }
}

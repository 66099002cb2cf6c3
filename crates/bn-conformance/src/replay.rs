//! Case files on backends, one line per case, backend and tensor.

use crate::any::{AnyCase, Candidate};
use crate::case::Results;
use crate::files::{self, Loaded};
use crate::run::Answer;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// What is replayed, and what is told of it.
pub struct Replay {
    /// On whom.
    pub backends: Vec<Candidate>,
    /// Adds `bits=HEX` to each line that has values.
    pub digest: bool,
    /// Shares a training case out to so many ranks, whose moments and gradient sums are merged.
    pub ranks: Option<usize>,
    /// Where what a backend gave is written, as `CASE.BACKEND.safetensors`.
    pub dump: Option<PathBuf>,
}

/// What a whole run amounts to; the larger one wins. The numbers are exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every tensor is within its limit.
    Good,
    /// One is not, or is not computed.
    Failed,
    /// A file is no case.
    NoCase,
}

impl Replay {
    /// Replays files, and folders with case files in them or below. Lines go to `out`, what is wrong beside them to
    /// `complain`.
    ///
    /// # Errors
    /// Where `out` cannot be written.
    pub fn run(
        &self,
        paths: &[PathBuf],
        out: &mut dyn Write,
        complain: &mut dyn FnMut(&str),
    ) -> io::Result<Verdict> {
        let (mut verdict, mut dumped) = (Verdict::Good, Dumped::default());
        for path in paths.iter().flat_map(|path| cases_in(path)) {
            let loaded = path.and_then(|path| match files::load(&path) {
                Ok(loaded) => Ok((path, loaded)),
                Err(error) => Err(error.to_string()),
            });
            let found = match loaded {
                Ok((path, loaded)) => self.case(&path, &loaded, &mut dumped, out, complain)?,
                Err(what) => {
                    complain(&what);
                    Verdict::NoCase
                }
            };
            verdict = verdict.max(found);
        }
        Ok(verdict)
    }

    fn answer(&self, backend: &Candidate, case: &AnyCase) -> Answer {
        match self.ranks {
            Some(n) => (backend.in_ranks)(case, n),
            None => (backend.run)(case),
        }
    }

    /// A case on every backend asked for.
    fn case(
        &self,
        path: &Path,
        loaded: &Loaded,
        dumped: &mut Dumped,
        out: &mut dyn Write,
        complain: &mut dyn FnMut(&str),
    ) -> io::Result<Verdict> {
        let Loaded { case, unsupported } = loaded;
        let mut verdict = Verdict::Good;
        let mut failed = |bad: bool| verdict = verdict.max(if bad { Verdict::Failed } else { Verdict::Good });
        let scales = case.scales();
        for backend in &self.backends {
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
                Some(_) => self.answer(backend, case).unwrap_or_else(|error| {
                    complain(&format!("{}: {}: {error}", path.display(), backend.name));
                    Results::default()
                }),
                None => Results::default(),
            };
            if let Some(folder) = self.dump.as_ref().filter(|_| results.iter().next().is_some())
                && let Err(what) = dumped.add(folder, &backend.name, case, &results)
            {
                complain(&what);
                failed(true);
            }
            for row in case.check_by(&scales, &results) {
                let bits = results.get(row.tensor).map(|values| case.digest(row.tensor, values));
                let state = if row.ok() { "ok" } else { "FAIL" };
                line(row.tensor.name(), row.error, row.limit, state, bits.filter(|_| self.digest))?;
                failed(!row.ok());
            }
            for gap in unsupported {
                line(&gap.tensor, f64::NAN, case.limit_named(&gap.tensor), "unsupported", None)?;
                failed(true);
            }
        }
        Ok(verdict)
    }
}

/// The case files that a path stands for: itself, or those in the folder and below, by name.
fn cases_in(path: &Path) -> Vec<Result<PathBuf, String>> {
    if !path.is_dir() {
        return vec![Ok(path.into())];
    }
    let entries = WalkDir::new(path).sort_by_file_name().into_iter();
    let files =
        entries.map(|entry| entry.map(walkdir::DirEntry::into_path).map_err(|error| error.to_string()));
    let is_case = |path: &PathBuf| path.extension().is_some_and(|e| e == "safetensors");
    let found: Vec<_> = files.filter(|file| file.as_ref().map_or(true, is_case)).collect();
    if found.is_empty() {
        return vec![Err(format!(
            "{}: expected a folder with *.safetensors files, found none",
            path.display()
        ))];
    }
    found
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

//! The whole suite for one backend, as one assertion.

use crate::case::{Case, Tensor};
use crate::data::COMBINATIONS;
use crate::files::{self, AnyCase};
use crate::identities;
use crate::measure::Row;
use crate::run::{conform, run};
use crate::table::{self, Entry, LONG, LONG_DATA, SHAPES};
use bn_core::{Backend, Element, Error};
use half::{bf16, f16};
use std::fmt::Write;
use std::sync::Mutex;

/// What a run of the suite has seen.
#[derive(Default)]
pub(crate) struct Tally {
    cases: usize,
    worst: Vec<(Tensor, &'static str, f64, String)>,
    pub(crate) skipped: Vec<String>,
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) fn add<T: Element>(&mut self, case: &Case<T>, rows: &[Row]) {
        self.cases += 1;
        for row in rows {
            if !row.ok() {
                let at = row
                    .worst
                    .map_or("not given".into(), |(i, got, want)| format!("[{i}] got {got:e}, want {want:e}"));
                self.failures.push(format!(
                    "{} {}: error {:.3e}, limit {} at {at}",
                    case.name, row.tensor, row.error, row.limit
                ));
            }
            match self.worst.iter_mut().find(|(t, name, ..)| *t == row.tensor && *name == T::NAME) {
                Some(worst) if worst.2 >= row.error => {}
                Some(worst) => (worst.2, worst.3) = (row.error, case.name.clone()),
                None => self.worst.push((row.tensor, T::NAME, row.error, case.name.clone())),
            }
        }
    }

    pub(crate) fn error(&mut self, case: &str, error: impl std::fmt::Display) {
        self.failures.push(format!("{case}: {error}"));
    }

    pub(crate) fn report(&self, backend: &str) -> String {
        let mut out = format!("{backend}: {} cases, {} failures\n", self.cases, self.failures.len());
        let mut worst = self.worst.clone();
        worst.sort_by_key(|w| (w.1, w.0));
        for (tensor, name, error, case) in worst {
            let _ = writeln!(out, "  worst {name} {tensor:<13}{error:>8.3}  {case}");
        }
        for skipped in &self.skipped {
            let _ = writeln!(out, "  skipped {skipped}");
        }
        for failure in &self.failures {
            let _ = writeln!(out, "  FAIL {failure}");
        }
        out
    }
}

/// Runs the table, the files and the identities on `B`, and prints the worst errors and every skip.
///
/// # Panics
/// Where a result is beyond its limit, an identity fails, or a file is skipped that [`files::NOT_YET`] does not
/// name or named but runs.
pub fn assert_conforms<B: Backend + Clone + Default>() {
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        scope.spawn(|| run_table::<f32, B>(&tally));
        scope.spawn(|| run_table::<f64, B>(&tally));
        scope.spawn(|| run_table::<f16, B>(&tally));
        scope.spawn(|| run_table::<bf16, B>(&tally));
    });
    let mut tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    run_files::<B>(&mut tally);
    for failure in identities::all::<B>() {
        tally.failures.push(failure);
    }
    let report = tally.report(&B::default().name());
    println!("{report}");
    assert!(tally.failures.is_empty(), "{report}");
}

/// Every entry of the table for one element type.
fn run_table<T: Element, B: Backend + Clone + Default>(tally: &Mutex<Tally>) {
    let short = SHAPES.iter().flat_map(|s| COMBINATIONS.iter().map(move |d| (s, d)));
    let long = LONG.iter().flat_map(|s| LONG_DATA.iter().map(move |d| (s, d)));
    for (i, (&entry, &data)) in short.enumerate() {
        for variant in [0, i + 1] {
            run_entry::<T, B>(entry, data, variant, tally);
        }
    }
    for (&entry, &data) in long {
        run_entry::<T, B>(entry, data, 0, tally);
    }
}

fn run_entry<T: Element, B: Backend + Clone + Default>(
    entry: Entry,
    data: (crate::data::X, crate::data::Dy),
    variant: usize,
    tally: &Mutex<Tally>,
) {
    let case = table::case::<T>(entry, data, variant);
    let single = case.from_batch() && case.shape().is_ok_and(|s| s.count() == 1);
    let result = run::<T, B>(&case);
    let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match result {
        Err(Error::OneValue { .. }) if single => tally.cases += 1,
        Ok(_) if single => {
            tally.error(&case.name, "expected an error for one value per feature, got a result");
        }
        Ok(results) => tally.add(&case, &crate::measure::check(&case, &results)),
        Err(error) => tally.error(&case.name, error),
    }
}

/// Every file in `cases/`: replayed, or on the list of what is not done yet.
fn run_files<B: Backend + Clone + Default>(tally: &mut Tally) {
    let paths = match files::own() {
        Ok(paths) => paths,
        Err(error) => return tally.error("cases/", error),
    };
    for (name, _) in files::NOT_YET {
        if !paths.iter().any(|p| p.file_stem().is_some_and(|s| s == *name)) {
            tally.error(name, "is on the list of what is not done yet, but no such file is there");
        }
    }
    for path in &paths {
        let shown = path.file_name().unwrap_or_default().to_string_lossy();
        let rows = match files::load(path) {
            Ok(AnyCase::F32(case)) => conform::<f32, B>(&case).map(|rows| tally.add(&case, &rows)),
            Ok(AnyCase::F64(case)) => conform::<f64, B>(&case).map(|rows| tally.add(&case, &rows)),
            Ok(AnyCase::F16(case)) => conform::<f16, B>(&case).map(|rows| tally.add(&case, &rows)),
            Ok(AnyCase::Bf16(case)) => conform::<bf16, B>(&case).map(|rows| tally.add(&case, &rows)),
            Err(error) => {
                match (files::not_yet(path), &error) {
                    (Some(why), files::FileError::Unsupported { .. }) => {
                        tally.skipped.push(format!("{shown}: {why}"));
                    }
                    _ => tally.error(&shown, error),
                }
                continue;
            }
        };
        match rows {
            Ok(()) if files::not_yet(path).is_some() => {
                tally.error(&shown, "is on the list of what is not done yet, but runs");
            }
            Ok(()) => {}
            Err(error) => tally.error(&shown, error),
        }
    }
}

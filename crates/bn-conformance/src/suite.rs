//! The whole suite: every case of the table and of `cases/`, and the identities, on any number of backends.
//!
//! The oracle takes most of the time, so its answer to a case is computed once and every backend is held to it.
//! The first backend's bits are the ones that the others must give.

use crate::any::{AnyCase, Candidate};
use crate::case::{Case, Tensor};
use crate::data::COMBINATIONS;
use crate::files::{self, Loaded};
use crate::judge::{beyond, judge_all};
use crate::measure::Row;
use crate::renormed::{self, Of};
use crate::table::{self, LONG, LONG_DATA, SHAPES};
use crate::{hard, options, second};
use bn_core::{Backend, Element};
use half::{bf16, f16};
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

pub use crate::judge::{Origin, Outcome};

/// What one backend made of the suite.
#[derive(Clone, Debug)]
pub struct Report {
    /// The backend.
    pub backend: String,
    /// Every case, in the order of the table and then of the files.
    pub outcomes: Vec<Outcome>,
    /// What was left out beside the cases' own skips.
    pub skipped: Vec<String>,
    /// What failed beside the cases: identities, and the list of what is not done yet.
    pub failures: Vec<String>,
}

/// How many cases went how.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Cases without a failure, replayed whole.
    pub pass: usize,
    /// Cases with a failure.
    pub fail: usize,
    /// Cases without a failure of which a part was skipped.
    pub skip: usize,
    /// Tensors that were checked.
    pub checked: usize,
    /// Cases whose bits are not the first backend's.
    pub other_bits: usize,
    /// The largest error.
    pub worst: f64,
}

impl Report {
    /// A report without cases.
    pub(crate) fn new(backend: String) -> Self {
        Self { backend, outcomes: Vec::new(), skipped: Vec::new(), failures: Vec::new() }
    }

    /// Adds a failure that has no case's rows.
    pub(crate) fn fail(&mut self, what: &str, why: impl std::fmt::Display) {
        self.failures.push(format!("{what}: {why}"));
    }

    /// Adds a case that the caller has run.
    pub(crate) fn add<T: Element>(&mut self, case: &Case<T>, rows: Vec<Row>) {
        let failures = rows.iter().filter(|row| !row.ok()).map(beyond).collect();
        self.outcomes.push(Outcome {
            case: case.name.clone(),
            dtype: T::NAME,
            origin: Origin::Elsewhere,
            rows,
            skips: Vec::new(),
            failures,
            same_bits: true,
        });
    }

    /// Counts the cases that `of` picks.
    pub fn tally(&self, of: impl Fn(&Outcome) -> bool) -> Tally {
        let mut tally = Tally::default();
        for outcome in self.outcomes.iter().filter(|o| of(o)) {
            match (outcome.failures.is_empty(), outcome.skips.is_empty()) {
                (false, _) => tally.fail += 1,
                (true, false) => tally.skip += 1,
                (true, true) => tally.pass += 1,
            }
            tally.checked += outcome.rows.len();
            tally.other_bits += usize::from(!outcome.same_bits);
            tally.worst = outcome.rows.iter().fold(tally.worst, |w, row| w.max(row.error));
        }
        tally
    }

    /// The largest error of a tensor among the cases of an element type, and the case.
    #[must_use]
    pub fn worst(&self, dtype: &str, tensor: Tensor) -> Option<(f64, &str)> {
        let cases = self.outcomes.iter().filter(|o| o.dtype == dtype);
        let rows = cases.flat_map(|o| o.rows.iter().map(move |row| (row, o)));
        rows.filter(|(row, _)| row.tensor == tensor)
            .map(|(row, o)| (row.error, o.case.as_str()))
            .reduce(|worst, next| if next.0 > worst.0 { next } else { worst })
    }

    /// The element types in the order in which they were run.
    #[must_use]
    pub fn dtypes(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for outcome in self.outcomes.iter().filter(|o| !o.dtype.is_empty()) {
            if !names.contains(&outcome.dtype) {
                names.push(outcome.dtype);
            }
        }
        names
    }

    /// Every skip, as `CASE: what is missing`.
    pub fn skips(&self) -> impl Iterator<Item = String> {
        let cases =
            self.outcomes.iter().flat_map(|o| o.skips.iter().map(move |s| format!("{}: {s}", o.case)));
        cases.chain(self.skipped.iter().cloned())
    }

    /// Every failure, as `CASE: what is wrong`.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let cases =
            self.outcomes.iter().flat_map(|o| o.failures.iter().map(move |f| format!("{}: {f}", o.case)));
        cases.chain(self.failures.iter().cloned())
    }

    pub(crate) fn summary(&self) -> String {
        let mut out = format!(
            "{}: {} cases, {} failures\n",
            self.backend,
            self.outcomes.len(),
            self.failures().count()
        );
        for dtype in self.dtypes() {
            for tensor in Tensor::ALL {
                if let Some((error, case)) = self.worst(dtype, tensor) {
                    let _ = writeln!(out, "  worst {dtype:<4} {tensor:<13}{error:>8.3}  {case}");
                }
            }
        }
        self.skips().for_each(|skip| out += &format!("  skipped {skip}\n"));
        self.failures().for_each(|failure| out += &format!("  FAIL {failure}\n"));
        out
    }
}

/// Runs the suite on a backend, and prints the worst errors and every skip.
///
/// # Panics
/// Where a result is beyond its limit, an identity fails, or a file does not run whole.
pub fn assert_conforms<B: Backend + Clone + Send + 'static>(backend: B) {
    for report in conform(&[backend.into()], &|_, _| ()) {
        let summary = report.summary();
        println!("{summary}");
        assert!(report.failures().next().is_none(), "{summary}");
    }
}

/// A case that is yet to be made: oracles are slow.
pub(crate) type Job = Box<dyn Fn() -> (AnyCase, Origin) + Send + Sync>;

/// Runs the suite on every backend: a report for each. `progress` learns how many steps of how many are done.
pub fn conform(candidates: &[Candidate], progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<Report> {
    let report = |c: &Candidate| Report::new(c.name.to_string());
    let mut reports: Vec<Report> = candidates.iter().map(report).collect();
    let jobs = table_jobs(true, 1);
    let run = |job: &Job| {
        let (case, origin) = job();
        judge_all(&case, origin, candidates)
    };
    for outcomes in each(&jobs, &run, &|done| progress(done, jobs.len())) {
        reports.iter_mut().zip(outcomes).for_each(|(report, outcome)| report.outcomes.push(outcome));
    }
    let (own, lost) = match files::own() {
        Ok(own) => (own, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    for path in &own {
        for (report, outcome) in reports.iter_mut().zip(run_file(path, candidates)) {
            report.outcomes.push(outcome);
        }
    }
    for (report, candidate) in reports.iter_mut().zip(candidates) {
        report.failures.extend(lost.clone());
        report.failures.extend((candidate.identities)());
    }
    reports
}

/// The table without the oracle's answers, with one in `one_in` of the entries that are not long or hard.
pub(crate) fn unanswered(one_in: usize) -> Vec<Job> {
    table_jobs(false, one_in)
}

fn table_jobs(answered: bool, one_in: usize) -> Vec<Job> {
    let mut jobs = Vec::new();
    jobs_of::<f32>(&mut jobs, answered, one_in);
    jobs_of::<f64>(&mut jobs, answered, one_in);
    jobs_of::<f16>(&mut jobs, answered, one_in);
    jobs_of::<bf16>(&mut jobs, answered, one_in);
    jobs
}

/// The table for one element type: each shape with one in `one_in` data sets, beginning with another one than the shape before, and
/// everything that is long or hard.
fn jobs_of<T: Element>(jobs: &mut Vec<Job>, answered: bool, one_in: usize)
where
    AnyCase: From<Case<T>>,
{
    let data = |s: usize| {
        COMBINATIONS.iter().enumerate().map(move |(d, data)| ((s + d).is_multiple_of(one_in), data))
    };
    let short = SHAPES
        .iter()
        .enumerate()
        .flat_map(|(s, entry)| data(s).map(move |(taken, data)| (taken, entry, data)));
    for (i, (_, &entry, &data)) in short.enumerate().filter(|(_, (taken, ..))| *taken) {
        for variant in [0, i + 1] {
            push(jobs, answered, Origin::Shape(entry), move || table::inputs::<T>(entry, data, variant));
        }
    }
    for &entry in LONG {
        for &data in LONG_DATA {
            push(jobs, answered, Origin::Shape(entry), move || table::inputs::<T>(entry, data, 0));
        }
    }
    for (entry, of, turn) in renormed::all() {
        let origin = match of {
            Of::Plain(..) => Origin::Shape(entry),
            Of::Hard(kind) => Origin::Hard(kind),
        };
        push(jobs, answered, origin, move || renormed::renormed::<T>(entry, of, turn));
    }
    for (entry, kind, place, variant) in hard::all() {
        push(jobs, answered, Origin::Hard(kind), move || hard::hard::<T>(entry, kind, place, variant));
    }
    for (entry, kind, turn) in second::all() {
        let origin = match kind {
            second::Kind::Plain(_) => Origin::Shape(entry),
            second::Kind::Hard(kind, _) => Origin::Hard(kind),
        };
        push(jobs, answered, origin, move || second::case::<T>(entry, kind, turn));
    }
    let make = if answered { options::answered::<T> } else { options::dressed::<T> };
    for (entry, kind, number) in options::all() {
        // Its answer may move dy, and is its own.
        push(jobs, false, Origin::Options(entry), move || make(entry, kind, number));
    }
}

/// Adds a case, with its answer where it is to have one.
fn push<T: Element>(
    jobs: &mut Vec<Job>,
    answered: bool,
    origin: Origin,
    make: impl Fn() -> Case<T> + Send + Sync + 'static,
) where
    AnyCase: From<Case<T>>,
{
    jobs.push(Box::new(move || {
        let mut case = make();
        if answered {
            case.expect = table::expected(&case);
        }
        (case.into(), origin)
    }));
}

/// What `run` makes of each job, in the order of the jobs, on as many threads as there are cores.
pub(crate) fn each<R: Send>(
    jobs: &[Job],
    run: &(dyn Fn(&Job) -> R + Sync),
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, (send, receive)) = (AtomicUsize::new(0), mpsc::channel());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some((i, job)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, jobs.get(i)?)))
                {
                    if send.send((i, run(job))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut results = Vec::with_capacity(jobs.len());
        while let Ok(result) = receive.recv() {
            results.push(result);
            progress(results.len());
        }
        results.sort_by_key(|(i, _)| *i);
        results.into_iter().map(|(_, result)| result).collect()
    })
}

/// A file on every candidate, replayed whole.
fn run_file(path: &Path, candidates: &[Candidate]) -> Vec<Outcome> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let Loaded { case, unsupported } = match files::load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            let outcome = Outcome {
                case: name,
                dtype: "",
                origin: Origin::File,
                rows: Vec::new(),
                skips: Vec::new(),
                failures: vec![error.to_string()],
                same_bits: true,
            };
            return vec![outcome; candidates.len()];
        }
    };
    let mut outcomes = judge_all(&case, Origin::File, candidates);
    for outcome in &mut outcomes {
        let missing = unsupported.iter().map(|u| format!("{}: {}", u.tensor, u.why));
        outcome.failures.extend(missing);
    }
    outcomes
}

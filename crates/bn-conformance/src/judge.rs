//! What a backend makes of a case, held to what is expected of it.

use crate::any::{AnyCase, Candidate};
use crate::buffers;
use crate::digest::same_bits;
use crate::hard::Hard;
use crate::measure::{Row, Scales, Worst};
use crate::run::Answer;
use crate::table::Entry;
use bn_core::Error;

/// What one backend made of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub case: String,
    /// The name of its element type; empty where the file could not be read.
    pub dtype: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// Its tensors' errors.
    pub rows: Vec<Row>,
    /// What of it is not done yet, where that is as expected.
    pub skips: Vec<String>,
    /// What is wrong, other bits than the first backend's included.
    pub failures: Vec<String>,
    /// Whether all bits are the first backend's.
    pub same_bits: bool,
}

/// Where a case comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A shape of the table.
    Shape(Entry),
    /// A hard kind of the table.
    Hard(Hard),
    /// A shape of the table, with options.
    Options(Entry),
    /// A file in `cases/`.
    File,
    /// The caller.
    Elsewhere,
}

/// Into how many ranks the training cases are shared out.
const RANKS: usize = 3;

/// A case on every backend.
pub(crate) fn judge_all(case: &AnyCase, origin: Origin, candidates: &[Candidate]) -> Vec<Outcome> {
    let mut first = None;
    let scales = case.scales();
    let judged = candidates.iter().map(|candidate| {
        let got = (candidate.run)(case);
        let mut outcome = judge(case, origin, &scales, &got, first.as_ref().unwrap_or(&got));
        if case.trains() {
            for (how, in_ranks) in [("in", &candidate.in_ranks), ("by moments of", &candidate.by_moments)] {
                let failures = fails_in_ranks(case, &scales, &in_ranks(case, RANKS));
                let told = failures.into_iter().map(|failure| format!("{how} {RANKS} ranks: {failure}"));
                outcome.failures.extend(told);
            }
        }
        outcome.failures.extend(buffers::failures(case.single(), (candidate.other_bits)(case)));
        first.get_or_insert(got);
        outcome
    });
    judged.collect()
}

/// Holds what a backend gave to what is expected, and to what the first backend gave.
fn judge(case: &AnyCase, origin: Origin, scales: &Scales, got: &Answer, first: &Answer) -> Outcome {
    let mut outcome = Outcome {
        case: case.name().into(),
        dtype: case.dtype(),
        origin,
        rows: Vec::new(),
        skips: Vec::new(),
        failures: Vec::new(),
        same_bits: true,
    };
    match got {
        Err(Error::OneValue { .. }) if case.single() => {}
        Err(error) => outcome.failures.push(error.to_string()),
        Ok(_) if case.single() => {
            outcome.failures.push("expected an error for one value per feature, got a result".into());
        }
        Ok(results) => outcome.rows = case.check_by(scales, results),
    }
    outcome.failures.extend(outcome.rows.iter().filter(|row| !row.ok()).map(beyond));
    if let (Ok(got), Ok(first)) = (got, first) {
        let other = got.iter().filter(|(t, got)| !first.get(*t).is_some_and(|first| same_bits(first, got)));
        let other: Vec<&str> = other.map(|(t, _)| t.name()).collect();
        if !other.is_empty() {
            outcome.failures.push(format!("other bits than the first backend's in {}", other.join(", ")));
        }
        outcome.same_bits = other.is_empty();
    } else {
        outcome.same_bits = got.is_err() == first.is_err();
    }
    outcome
}

/// What is wrong with a case that was shared out.
fn fails_in_ranks(case: &AnyCase, scales: &Scales, got: &Answer) -> Vec<String> {
    match got {
        Err(Error::OneValue { .. }) if case.single() => Vec::new(),
        Err(error) => vec![error.to_string()],
        Ok(_) if case.single() => {
            vec!["expected an error for one value per feature, got a result".into()]
        }
        Ok(results) => case.check_by(scales, results).iter().filter(|row| !row.ok()).map(beyond).collect(),
    }
}

pub(crate) fn beyond(row: &Row) -> String {
    let at = row.worst.map_or("not given".into(), |Worst { index, feature, got, want }| {
        format!("[{index}] of feature {feature} got {got:e}, want {want:e}")
    });
    format!("{}: error {:.3e}, limit {} at {at}", row.tensor, row.error, row.limit)
}

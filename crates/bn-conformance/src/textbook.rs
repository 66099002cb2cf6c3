//! The part of the table that textbook code is run through: no backend, but a step in the data's own precision.

use crate::case::{Case, Results, Tensor};
use crate::data::{COMBINATIONS, Dy, X};
use crate::measure::{Row, check_within};
use crate::suite::Report;
use crate::table::{self, Entry, LONG, SHAPES};
use crate::tolerances::{TEXTBOOK, textbook_omits};
use bn_core::{Element, Error, Layout};

/// What a training step gives. Running statistics are the layer's business.
const TENSORS: [Tensor; 6] =
    [Tensor::Y, Tensor::Dx, Tensor::Dweight, Tensor::Dbias, Tensor::Mean, Tensor::Var];

/// Variants of [`table::case`] that are a training step with affine part, at eps = 10⁻⁵ and 10⁻³.
const VARIANTS: [usize; 2] = [0, 1];

/// Runs `step`, a training step on (N,C,…), through the table within [`TEXTBOOK`], and prints the worst errors
/// and everything that it is not held to. The long shapes are left to the layer: plain sums lose digits there.
///
/// # Panics
/// Where a result is beyond its limit, or one value per feature is no error; and where data that
/// [`textbook_omits`] leaves out are met after all, so that nothing is left out without need.
pub fn assert_textbook<T: Element>(name: &str, step: impl Fn(&Case<T>) -> Result<Results, Error>) {
    let mut report = Report::new(format!("{name} {}", T::NAME));
    for Entry { layout, dims } in SHAPES.iter().filter(|e| !is_run(e)).chain(LONG) {
        report.skipped.push(format!("{layout:?} {dims:?}: long, or the features are last"));
    }
    for &data in COMBINATIONS {
        let cases = cases::<T>(data);
        match textbook_omits(data) {
            None => cases.for_each(|case| hold(&case, &step, &mut report)),
            Some(why) => omit(data, why, cases, &step, &mut report),
        }
    }
    let summary = report.summary();
    println!("{summary}");
    assert!(report.failures().next().is_none(), "{summary}");
}

fn is_run(entry: &Entry) -> bool {
    entry.layout == Layout::ChannelsFirst
}

fn cases<T: Element>(data: (X, Dy)) -> impl Iterator<Item = Case<T>> {
    let entries = SHAPES.iter().filter(|e| is_run(e));
    entries.flat_map(move |&entry| VARIANTS.map(|variant| table::case::<T>(entry, data, variant))).map(
        |mut case| {
            case.expect.keep(&TENSORS);
            case
        },
    )
}

fn rows<T: Element>(case: &Case<T>, results: &Results) -> Vec<Row> {
    check_within(case, results, |_| TEXTBOOK)
}

fn hold<T: Element>(case: &Case<T>, step: &impl Fn(&Case<T>) -> Result<Results, Error>, report: &mut Report) {
    let single = case.shape().is_ok_and(|s| s.count() == 1);
    match step(case) {
        Err(Error::OneValue { .. }) if single => {}
        Ok(_) if single => {
            report.fail(&case.name, "expected an error for one value per feature, got a result");
        }
        Ok(results) => report.add(case, rows(case, &results)),
        Err(error) => report.fail(&case.name, error),
    }
}

fn omit<T: Element>(
    (x, dy): (X, Dy),
    why: &str,
    mut cases: impl Iterator<Item = Case<T>>,
    step: &impl Fn(&Case<T>) -> Result<Results, Error>,
    report: &mut Report,
) {
    let misses = |case: Case<T>| step(&case).is_ok_and(|got| rows(&case, &got).iter().any(|row| !row.ok()));
    if cases.any(misses) {
        report.skipped.push(format!("{x:?} {dy:?}: {why}"));
    } else {
        report.fail(&format!("{x:?} {dy:?}"), "is left out, but every case of it holds");
    }
}

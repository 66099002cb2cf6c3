//! The part of the table that textbook code is run through: no backend, but a step in the data's own precision.

use crate::case::{Case, Results, Tensor};
use crate::data::{COMBINATIONS, Dy, X};
use crate::measure::{Row, check_within};
use crate::suite::Report;
use crate::table::{self, Entry, LONG, SHAPES};
use crate::tolerances::{TEXTBOOK, textbook_omits, textbook_omits_dx};
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
/// [`textbook_omits`] or [`textbook_omits_dx`] leave out are met after all, so that nothing is left out without need.
pub fn assert_textbook<T: Element>(name: &str, step: impl Fn(&Case<T>) -> Result<Results, Error>) {
    let mut report = Report::new(format!("{name} {}", T::NAME));
    for Entry { layout, dims } in SHAPES.iter().filter(|e| !is_run(e)).chain(LONG) {
        report.skipped.push(format!("{layout:?} {dims:?}: long, or the features are last"));
    }
    // Why dx is left out somewhere, and whether it would have been beyond the limit.
    let mut without_dx: Vec<(&str, bool)> = Vec::new();
    for &data in COMBINATIONS {
        let cases = cases::<T>(data);
        match textbook_omits(data) {
            None => cases.for_each(|case| hold(&case, data.1, &step, &mut report, &mut without_dx)),
            Some(why) => omit(data, why, cases, &step, &mut report),
        }
    }
    for (why, missed) in without_dx {
        match missed {
            true => report.skipped.push(format!("dx: {why}")),
            false => report.fail(&format!("dx: {why}"), "is left out, but every case of it holds"),
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

fn hold<T: Element>(
    case: &Case<T>,
    dy: Dy,
    step: &impl Fn(&Case<T>) -> Result<Results, Error>,
    report: &mut Report,
    without_dx: &mut Vec<(&'static str, bool)>,
) {
    let count = case.shape().map_or(0, |s| s.count());
    let mut rows = match step(case) {
        Err(Error::OneValue { .. }) if count == 1 => return,
        Ok(_) if count == 1 => {
            return report.fail(&case.name, "expected an error for one value per feature, got a result");
        }
        Ok(results) => rows(case, &results),
        Err(error) => return report.fail(&case.name, error),
    };
    if let Some(why) = textbook_omits_dx(dy, count) {
        let missed = rows.iter().any(|row| row.tensor == Tensor::Dx && !row.ok());
        rows.retain(|row| row.tensor != Tensor::Dx);
        match without_dx.iter_mut().find(|(known, _)| *known == why) {
            Some((_, any)) => *any |= missed,
            None => without_dx.push((why, missed)),
        }
    }
    report.add(case, rows);
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

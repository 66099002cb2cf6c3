//! Ghost batches on every backend: each virtual batch has the bits of a step on its slice, and the running statistics take the whole
//! batch within the limits.

use crate::case::{Case, Results, Tensor};
use crate::data::{Dy, X};
use crate::digest::same_bits;
use crate::measure::check_within;
use crate::run::{layer, run, widened};
use crate::table::{Entry, expected, first, inputs, last};
use crate::tolerances::LIMIT;
use bn_core::functions::{Backward, Forward};
use bn_core::{Activation, Backend, Element, Mode, Saved, Workspace};
use std::ops::Range;

/// Shapes and the samples of a virtual batch; the last one takes a remainder as well.
const SHAPES: &[(Entry, usize)] = &[
    (first(&[67, 13]), 9),
    (first(&[10, 3, 49]), 3),
    (first(&[7, 2, 300]), 2),
    (first(&[301, 1]), 50),
    (last(&[6, 5, 7]), 4),
];

const DATA: &[(X, Dy)] = &[
    (X::Shifted, Dy::Normal),
    (X::LargestMean, Dy::Tenths),
    (X::TinySpread, Dy::Tiny),
    (X::HugeSpread, Dy::Large),
    (X::Mixed, Dy::Input),
];

/// The samples, as the shape counts them, of each virtual batch.
fn parts(outer: usize, samples: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = outer / samples;
    (0..parts).map(move |i| i * samples..if i + 1 == parts { outer } else { (i + 1) * samples })
}

/// These samples of a case.
fn slice<T: Element>(case: &Case<T>, rows: &Range<usize>, strip: usize) -> Case<T> {
    let own = rows.start * strip..rows.end * strip;
    let mut part = case.clone();
    part.x = case.x[own.clone()].to_vec();
    part.dy = case.dy.as_ref().map(|dy| dy[own].to_vec());
    part.dims = vec![rows.len()];
    part.dims.extend(&case.dims[1..]);
    if case.axis() != 1 {
        part.dims = vec![rows.len(), case.features()];
    }
    part
}

/// A line for each shape and data whose bits or running statistics are others.
pub(crate) fn ghosts_are_steps_on_slices<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    let mut failures = Vec::new();
    for (i, &(entry, samples)) in SHAPES.iter().enumerate() {
        for (j, &data) in DATA.iter().enumerate() {
            let mut case = inputs::<T>(entry, data, 0);
            (case.mode, case.activation) =
                (Mode::Train, [Activation::Identity, Activation::Relu][(i + j) % 2]);
            case.renorm = [None, Some([1.5, 0.5])][(i + j) / 2 % 2];
            let name = format!("ghosts: {} by {samples}", case.name);
            match other(&case, samples, backend) {
                Ok(other) => failures.extend(other.into_iter().map(|what| format!("{name}: {what}"))),
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
    }
    failures
}

/// What is not as it should be.
fn other<T: Element, B: Backend + Clone>(
    case: &Case<T>,
    samples: usize,
    backend: &B,
) -> Result<Vec<String>, bn_core::Error> {
    let (mut bn, shape) = (layer(case, backend.clone())?, case.shape()?);
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let [mut y, mut dx] = [(); 2].map(|()| vec![T::default(); case.x.len()]);
    let options = case.options().ghost(samples);
    let step = Forward { options, ..Forward::new(shape, &case.x, &mut y) };
    bn.forward_step(step, &mut saved, &mut workspace)?;
    let dy = case.dy.as_deref().unwrap_or_default();
    let step = Backward { dx: Some((&mut dx).into()), ..Backward::new(&case.x, dy) };
    bn.backward_step(step, &saved, &mut workspace)?;
    let mut wrong = Vec::new();
    let strip = shape.features() * shape.inner();
    for rows in parts(shape.outer(), samples) {
        let want = run(&slice(case, &rows, strip), backend)?;
        for (tensor, got) in [(Tensor::Y, &y), (Tensor::Dx, &dx)] {
            let got = widened(&got[rows.start * strip..rows.end * strip]);
            if !want.get(tensor).is_some_and(|want| same_bits(&got, want)) {
                wrong.push(format!("other bits of {tensor} in the samples {rows:?}"));
            }
        }
    }
    // The statistics are those of a step without virtual batches.
    let mut whole = case.clone();
    whole.expect = expected(&whole);
    let statistics = [Tensor::Mean, Tensor::Var, Tensor::RunningMean, Tensor::RunningVar];
    whole.expect.keep(&statistics);
    let mut got = Results::default();
    got.insert(Tensor::Mean, widened(saved.mean()));
    got.insert(Tensor::Var, widened(saved.var()));
    if let Some(running) = &bn.running {
        got.insert(Tensor::RunningMean, widened(&running.mean.to_vec()));
        got.insert(Tensor::RunningVar, widened(&running.var.to_vec()));
    }
    let rows = check_within(&whole, &got, |_| LIMIT);
    wrong.extend(rows.iter().filter(|row| !row.ok()).map(|row| format!("{row:?}")));
    Ok(wrong)
}

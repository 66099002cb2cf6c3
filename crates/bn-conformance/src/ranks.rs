//! A training case shared out to ranks, which merge their statistics.

use crate::case::{Case, Cotangents, Results, Tensor};
use crate::parts::Split;
use crate::run::{Answer, gradients, layer, run, same_by_y, statistics, widened};
use crate::shares::bits_of_the_whole;
use bn_core::functions::{Backward, DoubleBackward, Forward};
use bn_core::parts::{Moments, Pooled};
use bn_core::ranks::{Communicator, Ranks, Threads};
use bn_core::{Activation, Backend, Element, Error, Mode, Saved, Shape, Workspace};
use std::ops::Range;

/// The ranges of `batch` samples that `ranks` ranks get: the later ones more, the first ones of a small batch none.
pub fn ranks(batch: usize, ranks: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let bound = move |r: usize| batch * r * (r + 1) / (ranks * (ranks + 1));
    (0..ranks).map(move |r| bound(r)..bound(r + 1))
}

/// The samples that each of `n` [`ranks`] gets of a case.
fn shares<T: Element>(case: &Case<T>, shape: Shape, n: usize) -> Vec<Range<usize>> {
    let batch = case.dims.first().copied().unwrap_or(1);
    let positions = shape.outer() / batch.max(1);
    ranks(batch, n).map(|part| part.start * positions..part.end * positions).collect()
}

/// As [`run`], a training case shared out to `n` [`ranks`], whose moments and gradient sums are merged. Other cases are run whole.
///
/// # Errors
/// What the layer says to the case's input.
pub fn run_by_moments<T: Element, B: Backend + Clone>(case: &Case<T>, backend: &B, n: usize) -> Answer {
    let shape = case.shape()?;
    if case.mode == Mode::Eval || shape.is_empty() || case.cotangents.is_some() {
        return run(case, backend);
    }
    let split = Split::new(case, backend, shares(case, shape, n))?;
    let mut moments = Moments::default();
    for part in &split.parts {
        moments.merge(&Moments::of(backend, split.part(part)?, &mut Workspace::default())?)?;
    }
    split.run(&Pooled::of(&moments, case.config.eps)?.one_value(case.config.one_value))
}

/// As [`run`], a training case shared out to `n` [`ranks`], threads that synchronize their statistics. An evaluation is run whole.
///
/// # Errors
/// As [`run_rank`].
pub fn run_in_ranks<T: Element, B: Backend + Clone>(case: &Case<T>, backend: &B, n: usize) -> Answer {
    let answers = on_ranks(n, |comm| run_rank(case, backend, comm)).into_iter();
    let all = answers.reduce(|first, other| first.and_then(|first| other.map(|_| first)));
    all.unwrap_or_else(|| run(case, backend))
}

/// A batch of several leaves on ranks that are threads, one of them without rows where there are several.
pub(crate) fn ranks_give_the_whole<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    let sizes = [1, 2, 3, 5, 16].into_iter();
    sizes
        .flat_map(|n| on_ranks(n, |comm| bits_of_the_whole::<T, _, _>(backend, comm, [220, 5, 49])))
        .flatten()
        .collect()
}

/// Runs the same on so many ranks, and returns what each says, in their order.
fn on_ranks<V: Send>(n: usize, run: impl Fn(&Threads) -> V + Sync) -> Vec<V> {
    std::thread::scope(|scope| {
        let ranks = Threads::ranks(n).into_iter();
        let threads: Vec<_> = ranks.map(|comm| scope.spawn(|| run(&{ comm }))).collect();
        let said = threads.into_iter().map(|thread| match thread.join() {
            Ok(said) => said,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        said.collect()
    })
}

/// What one of several [`ranks`] gets of a training case, all of which do the same at the same time: the results of the whole batch.
///
/// # Errors
/// What the layer says to the case's input, and where ranks have other values per feature.
pub fn run_rank<T: Element, B: Backend + Clone, C: Communicator>(
    case: &Case<T>,
    backend: &B,
    comm: &C,
) -> Answer {
    let shape = case.shape()?;
    if case.mode == Mode::Eval || shape.is_empty() {
        return run(case, backend);
    }
    let split = Split::new(case, backend, shares(case, shape, comm.size()))?;
    let own = split.run_rank(Ranks::new(comm), &split.parts[comm.rank()])?;
    let mut results = Results::default();
    for (tensor, own) in own.iter() {
        let lengths: Vec<usize> = match tensor.is_whole() {
            true => split.parts.iter().map(|part| split.elements(part).len()).collect(),
            false => vec![own.len(); comm.size()],
        };
        let (words, mut all) = (bits(own), vec![0; lengths.iter().sum()]);
        comm.all_gather(&words, &lengths, &mut all)?;
        if !tensor.is_whole() {
            if let Some(rank) = all.chunks_exact(words.len().max(1)).position(|other| other != words) {
                let expected = format!("the bits of {tensor} on rank {}", comm.rank());
                return Err(Error::Ranks { expected, got: format!("others on rank {rank}") });
            }
            all.truncate(words.len());
        }
        results.insert(tensor, all.into_iter().map(f64::from_bits).collect());
    }
    Ok(results)
}

/// All NaN count as one.
fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| if v.is_nan() { f64::NAN } else { *v }.to_bits()).collect()
}

impl<T: Element, B: Backend + Clone> Split<'_, T, B> {
    /// A rank's step.
    fn run_rank<C: Communicator>(&self, mut ranks: Ranks<C>, part: &Range<usize>) -> Answer {
        let Self { case, backend, .. } = self;
        let (mut bn, mut workspace) = (layer(case, (*backend).clone())?, Workspace::default());
        let (own, (options, kept)) = (self.elements(part), self.options(part));
        let (mut y, mut saved) = (vec![T::default(); own.len()], Saved::default());
        let step = Forward { options, ..Forward::new(self.shape(part)?, &case.x[own.clone()], &mut y) };
        bn.forward_ranks(step, ranks.layer(0), &mut saved, &mut workspace)?;
        let mut results = Results::default();
        results.insert(Tensor::Y, widened(&y));
        results.extend(statistics(&bn, &saved));
        let Some(dy) = &case.dy else { return Ok(results) };
        let mut backward = |y: Option<&[T]>| -> Answer {
            let [mut dx, mut dresidual] = [(); 2].map(|()| vec![T::default(); own.len()]);
            let [mut dweight, mut dbias] =
                [bn.weight.len(), bn.bias.len()].map(|len| vec![T::Compute::default(); len]);
            let mut kept = kept;
            kept.y = y;
            let step = Backward {
                kept,
                dx: Some((&mut dx).into()),
                dresidual: case.residual.is_some().then_some(&mut dresidual),
                dweight: case.affine[0].is_some().then_some(&mut dweight),
                dbias: case.affine[1].is_some().then_some(&mut dbias),
                ..Backward::new(&case.x[own.clone()], &dy[own.clone()])
            };
            bn.backward_ranks(step, ranks.layer(0), &saved, &mut workspace)?;
            Ok(gradients(case, [dx, dresidual], [dweight, dbias]))
        };
        let again = backward(None)?;
        if case.activation != Activation::Identity {
            same_by_y(&again, &backward(Some(&y))?)?;
        }
        results.extend(again);
        let Some(Cotangents { dx, dweight, dbias }) = &case.cotangents else { return Ok(results) };
        let [mut d_dy, mut d_x] = [(); 2].map(|()| vec![T::default(); own.len()]);
        let mut d_weight = vec![T::Compute::default(); case.features()];
        let step = DoubleBackward {
            weight: case.affine[0].as_deref(),
            v_dx: dx.as_ref().map(|dx| &dx[own.clone()]),
            v_dweight: dweight.as_deref(),
            v_dbias: dbias.as_deref(),
            d_dy: Some((&mut d_dy).into()),
            d_x: Some((&mut d_x).into()),
            d_weight: Some(&mut d_weight),
            ..DoubleBackward::new(&case.x[own.clone()], &dy[own])
        };
        ranks.layer(0).double_backward(*backend, step, &saved, &mut workspace)?;
        results.insert(Tensor::DdDy, widened(&d_dy));
        results.insert(Tensor::DdX, widened(&d_x));
        results.insert(Tensor::DdWeight, widened(&d_weight));
        Ok(results)
    }
}

//! Runs a case on a backend.

use crate::case::{Case, Cotangents, Results, Tensor};
use crate::digest::same_bits;
use bn_core::functions::{self, Backward, DoubleBackward, Forward};
use bn_core::{
    Activation, Affine, Backend, BatchNorm, Element, Error, Mode, Real, RunningStats, Saved, Workspace,
};
use ndarray::Array1;

/// What a step gives: its tensors, or what the layer says to its input.
pub type Answer = Result<Results, Error>;

/// The layer as the case has it before the step.
///
/// # Errors
/// As [`BatchNorm::with_backend`].
pub fn layer<T: Element, B: Backend>(case: &Case<T>, backend: B) -> Result<BatchNorm<T, B>, Error> {
    let mut config = case.config;
    config.affine = match &case.affine {
        [Some(_), Some(_)] => Affine::Both,
        [Some(_), None] => Affine::Scale,
        [None, Some(_)] => Affine::Shift,
        [None, None] => Affine::None,
    };
    config.track_running_stats = case.running.is_some();
    let mut bn = BatchNorm::with_backend(case.features(), config, backend)?;
    let [weight, bias] = case.affine.clone().map(Option::unwrap_or_default);
    (bn.weight, bn.bias) = (weight.into(), bias.into());
    bn.running = case.running.as_ref().map(|[mean, var]| RunningStats {
        mean: Array1::from(mean.clone()),
        var: Array1::from(var.clone()),
        num_batches_tracked: case.num_batches_tracked,
        ..RunningStats::new(0)
    });
    Ok(bn)
}

/// Runs the step of a case through the slice API and returns every tensor it gives.
///
/// # Errors
/// What the layer says to the case's input.
pub fn run<T: Element, B: Backend + Clone>(case: &Case<T>, backend: &B) -> Answer {
    let mut bn = layer(case, backend.clone())?;
    let shape = case.shape()?;
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let mut y = vec![T::default(); case.x.len()];
    let step = Forward { options: case.options(), ..Forward::new(shape, &case.x, &mut y) };
    match case.mode {
        Mode::Train => bn.forward_step(step, &mut saved, &mut workspace)?,
        Mode::Eval => bn.forward_eval_step(step, &mut saved, &mut workspace)?,
    }
    let mut results = Results::default();
    results.insert(Tensor::Y, widened(&y));
    results.extend(statistics(&bn, &saved));
    let Some(dy) = &case.dy else { return Ok(results) };
    let mut backward = |y: Option<&[T]>| -> Answer {
        let [mut dx, mut dresidual] = [(); 2].map(|()| vec![T::default(); case.x.len()]);
        let [mut dweight, mut dbias] =
            [bn.weight.len(), bn.bias.len()].map(|len| vec![T::Compute::default(); len]);
        let mut kept = case.kept();
        kept.y = y;
        let step = Backward {
            kept,
            dx: Some((&mut dx).into()),
            dresidual: case.residual.is_some().then_some(&mut dresidual),
            dweight: case.affine[0].is_some().then_some(&mut dweight),
            dbias: case.affine[1].is_some().then_some(&mut dbias),
            ..Backward::new(&case.x, dy)
        };
        bn.backward_step(step, &saved, &mut workspace)?;
        Ok(gradients(case, [dx, dresidual], [dweight, dbias]))
    };
    let again = backward(None)?;
    if case.activation != Activation::Identity {
        same_by_y(&again, &backward(Some(&y))?)?;
    }
    results.extend(again);
    if let Some(cotangents) = &case.cotangents {
        second((case, cotangents), dy, (backend, &saved), &mut workspace, &mut results)?;
    }
    Ok(results)
}

/// The statistics that a forward took, and the running ones after it.
pub(crate) fn statistics<T: Element, B: Backend>(bn: &BatchNorm<T, B>, saved: &Saved<T>) -> Results {
    let mut results = Results::default();
    results.insert(Tensor::Mean, widened(saved.mean()));
    results.insert(Tensor::Var, widened(saved.var()));
    if let Some(running) = &bn.running {
        results.insert(Tensor::RunningMean, running.mean.iter().map(|v| v.to_f64()).collect());
        results.insert(Tensor::RunningVar, running.var.iter().map(|v| v.to_f64()).collect());
    }
    results
}

/// dx and dresidual, dγ and dβ, as far as the case has them.
pub(crate) fn gradients<T: Element>(
    case: &Case<T>,
    [dx, dresidual]: [Vec<T>; 2],
    [dweight, dbias]: [Vec<T::Compute>; 2],
) -> Results {
    let mut results = Results::default();
    results.insert(Tensor::Dx, widened(&dx));
    results.insert(Tensor::Dweight, widened(&dweight));
    results.insert(Tensor::Dbias, widened(&dbias));
    if case.residual.is_some() {
        results.insert(Tensor::Dresidual, widened(&dresidual));
    }
    results
}

/// The gate is told by y, or computed again: to the bit the same.
pub(crate) fn same_by_y(again: &Results, by_y: &Results) -> Result<(), Error> {
    let other =
        by_y.iter().find(|(tensor, got)| !again.get(*tensor).is_some_and(|other| same_bits(got, other)));
    match other {
        None => Ok(()),
        Some((tensor, _)) => Err(Error::Options {
            expected: format!("the bits of {tensor} by the gate of y"),
            got: "others by the gate that was computed again".into(),
        }),
    }
}

/// The double backward.
fn second<T: Element, B: Backend>(
    (case, cotangents): (&Case<T>, &Cotangents<T>),
    dy: &[T],
    (backend, saved): (&B, &Saved<T>),
    workspace: &mut Workspace<T>,
    results: &mut Results,
) -> Result<(), Error> {
    let Cotangents { dx, dweight, dbias } = cotangents;
    let [mut d_dy, mut d_x] = [(); 2].map(|()| vec![T::default(); dy.len()]);
    let mut d_weight = vec![T::Compute::default(); case.features()];
    let step = DoubleBackward {
        weight: case.affine[0].as_deref(),
        v_dx: dx.as_deref(),
        v_dweight: dweight.as_deref(),
        v_dbias: dbias.as_deref(),
        d_dy: Some((&mut d_dy).into()),
        d_x: Some((&mut d_x).into()),
        d_weight: Some(&mut d_weight),
        ..DoubleBackward::new(&case.x, dy)
    };
    functions::double_backward(backend, step, saved, workspace)?;
    results.insert(Tensor::DdDy, widened(&d_dy));
    results.insert(Tensor::DdX, widened(&d_x));
    results.insert(Tensor::DdWeight, widened(&d_weight));
    Ok(())
}

/// The values as f64, exactly.
pub(crate) fn widened<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_compute().to_f64()).collect()
}

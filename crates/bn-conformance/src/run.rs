//! Runs a case on a backend.

use crate::case::{Case, Results, Tensor};
use bn_core::{
    Affine, Backend, BatchNorm, Element, Error, Grads, Mode, Real, RunningStats, Saved, Workspace,
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
    match case.mode {
        Mode::Train => bn.forward_into(shape, &case.x, &mut y, &mut saved, &mut workspace)?,
        Mode::Eval => bn.forward_eval_into(shape, &case.x, &mut y, &mut saved, &mut workspace)?,
    }
    let mut results = Results::default();
    results.insert(Tensor::Y, widened(&y));
    results.insert(Tensor::Mean, saved.mean().iter().map(|v| v.to_f64()).collect());
    results.insert(Tensor::Var, saved.var().iter().map(|v| v.to_f64()).collect());
    if let Some(running) = &bn.running {
        results.insert(Tensor::RunningMean, running.mean.iter().map(|v| v.to_f64()).collect());
        results.insert(Tensor::RunningVar, running.var.iter().map(|v| v.to_f64()).collect());
    }
    if let Some(dy) = &case.dy {
        let mut dx = y;
        let mut dweight = vec![T::Compute::default(); bn.weight.len()];
        let mut dbias = vec![T::Compute::default(); bn.bias.len()];
        let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
        match case.mode {
            Mode::Train => bn.backward_into(&saved, &case.x, dy, grads, &mut workspace)?,
            Mode::Eval => bn.backward_eval_into(&saved, &case.x, dy, grads, &mut workspace)?,
        }
        results.insert(Tensor::Dx, widened(&dx));
        results.insert(Tensor::Dweight, widened(&dweight));
        results.insert(Tensor::Dbias, widened(&dbias));
    }
    Ok(results)
}

/// The values as f64, exactly.
pub(crate) fn widened<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_compute().to_f64()).collect()
}

//! The functions under the layer: the steps over slices of a caller who owns everything.
//!
//! A framework keeps parameters, running statistics and outputs itself. Its adapter calls these; [`BatchNorm`] is a thin
//! owner over them.
//!
//! [`BatchNorm`]: crate::BatchNorm

use super::config::RunningVar;
use super::error::Error;
use super::saved::{Mode, Saved};
use crate::driver::{self, Statistics, Workspace};
use crate::kernel::Backend;
use crate::maths::{Params, Stats, features};
use crate::mem::Output;
use crate::num::{Element, Real, Wide};
use crate::tensor::{Shape, Strips, StripsMut};

/// What a forward reads and writes.
#[derive(Debug)]
pub struct Forward<'a, T: Element> {
    /// The tensor's shape.
    pub shape: Shape,
    /// The input: `shape.len()` elements, row-major.
    pub x: &'a [T],
    /// The output, likewise. Where a forward is Ok, every element of it has been written.
    pub y: Output<'a, T>,
    /// γ, of length C; `None` for 1.
    pub weight: Option<&'a [T::Compute]>,
    /// β, of length C; `None` for 0.
    pub bias: Option<&'a [T::Compute]>,
    /// Added to the variance, finite and > 0.
    pub eps: f64,
}

/// What a backward reads, and which gradients it writes. What is not asked for is not computed: without `dx` nothing is
/// mapped, and x is not read where nobody needs Σdy·x̂.
#[derive(Debug)]
pub struct Backward<'a, T: Element> {
    /// The forward's input.
    pub x: &'a [T],
    /// ∂L/∂y, of the same length.
    pub dy: &'a [T],
    /// γ as the forward had it; `None` for 1.
    pub weight: Option<&'a [T::Compute]>,
    /// ∂L/∂x, of the tensor's length, overwritten. Where a backward is Ok, every element of it has been written.
    pub dx: Option<Output<'a, T>>,
    /// ∂L/∂γ, of length C, overwritten.
    pub dweight: Option<&'a mut [T::Compute]>,
    /// ∂L/∂β, likewise.
    pub dbias: Option<&'a mut [T::Compute]>,
}

/// Running statistics to read.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a, R> {
    /// The running mean, of length C.
    pub mean: &'a [R],
    /// The running variance, likewise.
    pub var: &'a [R],
}

/// Running statistics to weigh a batch into.
#[derive(Debug)]
pub struct Commit<'a, R> {
    /// The running mean, of length C.
    pub mean: &'a mut [R],
    /// The running variance, likewise.
    pub var: &'a mut [R],
    /// The weight of the new statistic; `None` for the cumulative average, 1/`batches`.
    pub momentum: Option<f64>,
    /// The number of batches, with this one, from 1 on. It is looked at where `momentum` is `None`.
    pub batches: i64,
    /// Which variance is tracked.
    pub kind: RunningVar,
}

/// The training forward: y = γ·x̂ + β with the batch's statistics, which are `saved` for [`backward`] and [`commit`]. An
/// empty batch is Ok.
///
/// # Errors
/// [`Error::Length`], [`Error::Eps`], and [`Error::OneValue`] where there is a single value per feature. Nothing is then
/// written.
pub fn train<T: Element, B: Backend>(
    backend: &B,
    step: Forward<'_, T>,
    saved: &mut Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    let step = prepared(step.checked(Mode::Train, None)?, saved)?;
    driver::run(backend, step, workspace);
    Ok(())
}

/// The evaluation forward: y = γ·x̂ + β with the running statistics, or with the batch's where there are none.
///
/// # Errors
/// As [`train`]; [`Error::OneValue`] only where batch statistics are taken.
pub fn eval<T: Element, B: Backend>(
    backend: &B,
    step: Forward<'_, T>,
    running: Option<Running<'_, T::Compute>>,
    saved: &mut Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    let step = prepared(step.checked(Mode::Eval, running)?, saved)?;
    driver::run(backend, step, workspace);
    Ok(())
}

/// The backward of the forward that was `saved`, as far as it is asked for:
///
/// dβ = Σdy, dγ = Σdy·x̂, dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ), or γ·invstd·dy where the statistics are running ones.
///
/// The bits of each do not depend on what else is asked for, but for features that leave the kernels'
/// [range](crate#range).
///
/// # Errors
/// [`Error::Length`] where a buffer does not fit the saved shape. Nothing is then written.
pub fn backward<T: Element, B: Backend>(
    backend: &B,
    step: Backward<'_, T>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    driver::run(backend, step.checked(saved)?, workspace);
    Ok(())
}

/// Weighs the statistics of a training forward into running ones: r ← (1−m)·r + m·s. An empty batch changes nothing.
///
/// # Errors
/// [`Error::SavedMode`] for the state of an evaluation, [`Error::Length`], [`Error::Momentum`]. Nothing is then written.
pub fn commit<T: Element, B: Backend>(
    backend: &B,
    saved: &Saved<T>,
    Commit { mean, var, momentum, batches, kind }: Commit<'_, T::Compute>,
) -> Result<(), Error> {
    if saved.mode != Mode::Train {
        return Err(Error::SavedMode { expected: Mode::Train, got: saved.mode });
    }
    if let Some(got) = momentum.filter(|momentum| !momentum.is_finite()) {
        return Err(Error::Momentum { got });
    }
    let features = saved.shape.features();
    check_len("running_mean", features, mean.len())?;
    check_len("running_var", features, var.len())?;
    if saved.count == 0 {
        return Ok(());
    }
    let wide = <T::Compute as Real>::Wide::from_f64;
    let weight = match momentum {
        Some(momentum) => wide(momentum),
        None => wide(1.0) / wide(batches.max(1) as f64),
    };
    let n = saved.count as f64;
    let bessel = match kind {
        RunningVar::Unbiased if saved.count > 1 => wide(n) / wide(n - 1.0),
        _ => wide(1.0),
    };
    backend.vectorize(
        #[inline(always)]
        || features::commit(saved.stats.as_ref(), weight, bessel, mean, var),
    );
    Ok(())
}

/// Whether a buffer has the length it must have.
pub(super) fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

impl<'a, T: Element> Forward<'a, T> {
    /// The step with its buffers as strips, which have the lengths they must have.
    pub(super) fn checked(
        self,
        mode: Mode,
        running: Option<Running<'a, T::Compute>>,
    ) -> Result<Strided<'a, T>, Error> {
        let Self { shape, x, y, weight, bias, eps } = self;
        if !(eps.is_finite() && eps > 0.0) {
            return Err(Error::Eps { got: eps });
        }
        let features = shape.features();
        for (what, param) in [("weight", weight), ("bias", bias)] {
            param.map_or(Ok(()), |param| check_len(what, features, param.len()))?;
        }
        if let Some(Running { mean, var }) = running {
            check_len("running_mean", features, mean.len())?;
            check_len("running_var", features, var.len())?;
        }
        let (x_len, y_len) = (x.len(), y.len());
        let x = shape.strips(x).ok_or(Error::Length { what: "x", expected: shape.len(), got: x_len })?;
        let y = shape.strips_mut(y).ok_or(Error::Length { what: "y", expected: shape.len(), got: y_len })?;
        let params = Params { weight: weight.unwrap_or_default(), bias: bias.unwrap_or_default() };
        Ok(Strided { shape, mode, x, y, params, running, eps })
    }
}

impl<'a, T: Element> Backward<'a, T> {
    /// The step, its buffers as strips, which have the lengths they must have.
    pub(super) fn checked(self, saved: &'a Saved<T>) -> Result<driver::Backward<'a, T>, Error> {
        let Self { x, dy, weight, dx, dweight, dbias } = self;
        let shape = saved.shape;
        let features = shape.features();
        weight.map_or(Ok(()), |weight| check_len("weight", features, weight.len()))?;
        for (what, grad) in [("dweight", &dweight), ("dbias", &dbias)] {
            grad.as_ref().map_or(Ok(()), |grad| check_len(what, features, grad.len()))?;
        }
        let length = |what, got| Error::Length { what, expected: shape.len(), got };
        let (x_len, dy_len, dx_len) = (x.len(), dy.len(), dx.as_ref().map_or(0, Output::len));
        let x = shape.strips(x).ok_or_else(|| length("x", x_len))?;
        let dy = shape.strips(dy).ok_or_else(|| length("dy", dy_len))?;
        let dx = match dx {
            Some(dx) => Some(shape.strips_mut(dx).ok_or_else(|| length("dx", dx_len))?),
            None => None,
        };
        let (dweight, dbias) = (dweight.unwrap_or_default(), dbias.unwrap_or_default());
        Ok(saved.back([x, dy], dx, weight.unwrap_or_default(), dweight, dbias))
    }
}

/// A forward whose buffers have been checked.
pub(super) struct Strided<'a, T: Element> {
    pub(super) shape: Shape,
    pub(super) mode: Mode,
    pub(super) x: Strips<'a, T>,
    pub(super) y: StripsMut<'a, T>,
    pub(super) params: Params<'a, T::Compute>,
    pub(super) running: Option<Running<'a, T::Compute>>,
    pub(super) eps: f64,
}

/// The step of the driver, for which `saved` is got ready.
pub(super) fn prepared<'a, T: Element>(
    Strided { shape, mode, x, y, params, running, eps }: Strided<'a, T>,
    saved: &'a mut Saved<T>,
) -> Result<driver::Forward<'a, T>, Error> {
    let from_batch = running.is_none();
    if from_batch && shape.count() == 1 && shape.features() > 0 {
        return Err(Error::OneValue { shape });
    }
    saved.reset(shape, mode, from_batch, eps);
    let count = saved.count;
    if let Some(Running { mean, var }) = running {
        let mut stats = saved.stats.as_mut();
        for (f, (&mean, &var)) in mean.iter().zip(var).enumerate() {
            stats.set(f, &Stats::from_running(mean, var, eps));
        }
    }
    let stats = match from_batch {
        true => Statistics::Batch(saved.stats.as_mut()),
        false => Statistics::Given(saved.stats.as_ref()),
    };
    Ok(driver::Forward { shape, x, y, params, stats, eps, count })
}

impl<T: Element> Saved<T> {
    /// The backward of this forward; gradients of length 0 are not wanted, nor is γ there of length 0.
    pub(super) fn back<'a>(
        &'a self,
        [x, dy]: [Strips<'a, T>; 2],
        dx: Option<StripsMut<'a, T>>,
        weight: &'a [T::Compute],
        dweight: &'a mut [T::Compute],
        dbias: &'a mut [T::Compute],
    ) -> driver::Backward<'a, T> {
        let &Self { shape, from_batch, count, eps, .. } = self;
        let (params, stats) = (Params { weight, bias: &[] }, self.stats.as_ref());
        driver::Backward {
            shape,
            x,
            dy,
            dx,
            dweight,
            dbias,
            params,
            stats,
            from_batch,
            eps,
            count,
            whole: false,
            given: None,
        }
    }
}

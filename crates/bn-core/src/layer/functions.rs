//! The functions under the layer: the steps over slices of a caller who owns everything.
//!
//! A framework keeps parameters, running statistics and outputs itself. Its adapter calls these; [`BatchNorm`] is a thin
//! owner over them.
//!
//! ```
//! use batchnorm::functions::{self, Backward, Commit, Forward, Running};
//! use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
//!
//! let (backend, shape) = (DefaultBackend::default(), Shape::nc(2, 1)?);
//! let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
//! let (x, dy, gamma) = ([1.0_f32, 3.0], [1.0, 0.5], [2.0]);
//! let (mut mean, mut var, mut y, mut dbias) = ([0.0], [1.0], [0.0; 2], [0.0]);
//!
//! let weight = Some(&gamma[..]);
//! let forward = Forward { weight, ..Forward::new(shape, &x, &mut y) };
//! functions::train(&backend, forward, &mut saved, &mut workspace)?;
//! functions::commit(&backend, &saved, Commit::new(&mut mean, &mut var))?;
//! assert_eq!(mean, [0.2]); // 0.9·0 + 0.1·2
//!
//! let backward = Backward { x: &x, dy: &dy, weight, dx: None, dweight: None, dbias: Some(&mut dbias) };
//! functions::backward(&backend, backward, &saved, &mut workspace)?;
//! assert_eq!(dbias, [1.5]); // Σdy, and nothing else was computed
//!
//! let running = Some(Running { mean: &mean, var: &var });
//! let forward = Forward { weight, ..Forward::new(shape, &x, &mut y) };
//! functions::eval(&backend, forward, running, &mut saved, &mut workspace)?;
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! [`BatchNorm`]: crate::BatchNorm

pub use super::commit::{Commit, commit};
pub use super::double::{DoubleBackward, double_backward};

use super::config::{Config, check_eps};
use super::error::{Error, check_len};
use super::mode::Mode;
use super::one_value::OneValue;
use super::saved::Saved;
use super::sizes::Sizes;
use crate::driver::{self, Statistics, Workspace};
use crate::kernel::Backend;
use crate::maths::{Params, Stats};
use crate::mem::Output;
use crate::num::Element;
use crate::tensor::{Shape, Strips, StripsMut};

/// What a forward reads and writes. A program names what it sets, and leaves the rest, fields to come among it, to
/// [`new`](Self::new):
///
/// ```
/// use batchnorm::Shape;
/// use batchnorm::functions::Forward;
///
/// let (x, mut y) = ([1.0_f32, 3.0], [0.0; 2]);
/// let forward = Forward { weight: Some(&[2.0]), eps: 1e-3, ..Forward::new(Shape::nc(2, 1)?, &x, &mut y) };
/// assert_eq!(forward.bias, None);
/// # Ok::<(), batchnorm::Error>(())
/// ```
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
    /// What is done with a single value per feature where the statistics are the batch's.
    pub one_value: OneValue,
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

/// The training forward: y = γ·x̂ + β with the batch's statistics, which are `saved` for [`backward`] and [`commit`]. An
/// empty batch is Ok.
///
/// # Errors
/// [`Error::Length`], [`Error::Eps`], and [`Error::OneValue`] where there is a single value per feature and `one_value` refuses
/// it. Nothing is then
/// written.
pub fn train<T: Element, B: Backend>(
    backend: &B,
    step: Forward<'_, T>,
    saved: &mut Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    forward(backend, Mode::Train, step, None, saved, workspace)
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
    forward(backend, Mode::Eval, step, running, saved, workspace)
}

/// A forward with the running statistics, or with the batch's where there are none. In training there are some where they are
/// frozen.
pub(super) fn forward<T: Element, B: Backend>(
    backend: &B,
    mode: Mode,
    step: Forward<'_, T>,
    running: Option<Running<'_, T::Compute>>,
    saved: &mut Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    let step = prepared(step.checked(mode, running)?, saved)?;
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
/// [`Error::EmptySaved`], and [`Error::Length`] where a buffer does not fit the saved shape. Nothing is then written.
pub fn backward<T: Element, B: Backend>(
    backend: &B,
    step: Backward<'_, T>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    driver::run(backend, step.checked(saved)?, workspace);
    Ok(())
}

impl<'a, T: Element> Forward<'a, T> {
    /// From x to y, both of the shape `shape`, with γ = 1, β = 0, eps = 10⁻⁵ and an error for a single value per feature.
    ///
    /// `y` is `&mut [T]`, or `&mut [MaybeUninit<T>]`.
    #[must_use]
    pub fn new(shape: Shape, x: &'a [T], y: impl Into<Output<'a, T>>) -> Self {
        let (y, Config { eps, one_value, .. }) = (y.into(), Config::default());
        Self { shape, x, y, weight: None, bias: None, eps, one_value }
    }

    /// The step with its buffers as strips, which have the lengths they must have.
    pub(super) fn checked(
        self,
        mode: Mode,
        running: Option<Running<'a, T::Compute>>,
    ) -> Result<Strided<'a, T>, Error> {
        let Self { shape, x, y, weight, bias, eps, one_value } = self;
        check_eps(eps)?;
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
        Ok(Strided { shape, sizes: Sizes::Slice(shape), mode, x, y, params, running, eps, one_value })
    }
}

impl<'a, T: Element> Backward<'a, T> {
    /// The step, its buffers as strips, which have the lengths they must have.
    pub(super) fn checked(self, saved: &'a Saved<T>) -> Result<driver::Backward<'a, T>, Error> {
        let Self { x, dy, weight, dx, dweight, dbias } = self;
        saved.check(saved.mode)?;
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
    /// Of the tensor as it lies in memory.
    pub(super) shape: Shape,
    /// Of the tensor as the caller has it.
    pub(super) sizes: Sizes,
    pub(super) mode: Mode,
    pub(super) x: Strips<'a, T>,
    pub(super) y: StripsMut<'a, T>,
    pub(super) params: Params<'a, T::Compute>,
    pub(super) running: Option<Running<'a, T::Compute>>,
    pub(super) eps: f64,
    pub(super) one_value: OneValue,
}

/// The step of the driver, for which `saved` is got ready.
pub(super) fn prepared<'a, T: Element>(
    Strided { shape, sizes, mode, x, y, params, running, eps, one_value }: Strided<'a, T>,
    saved: &'a mut Saved<T>,
) -> Result<driver::Forward<'a, T>, Error> {
    let from_batch = running.is_none();
    let one = shape.count() == 1 && shape.features() > 0;
    if from_batch && one && one_value == OneValue::Refused {
        return Err(Error::OneValue { mode, got: sizes });
    }
    saved.reset(shape, sizes, mode, from_batch, eps);
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

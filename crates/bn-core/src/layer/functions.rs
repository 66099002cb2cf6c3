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
//! let backward = Backward { weight, dbias: Some(&mut dbias), ..Backward::new(&x, &dy) };
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
pub use super::running::Running;
pub use super::to::To;

use super::checked::{Strided, StridedBack, check_mask};
use super::config::{Config, check_eps};
use super::error::{Error, check_len};
use super::mode::Mode;
use super::one_value::OneValue;
use super::options::{Kept, Options};
use super::saved::Saved;
use super::sizes::Sizes;
use super::to;
use crate::driver::Workspace;
use crate::kernel::Backend;
use crate::maths::Params;
use crate::mem::Output;
use crate::num::Element;
use crate::tensor::Shape;

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
    /// The input: `shape.len()` elements, row-major; empty where y goes over it.
    pub x: &'a [T],
    /// Where the output goes, likewise. Where a forward is Ok, every element of it has been written.
    pub y: To<'a, T>,
    /// γ, of length C; `None` for 1.
    pub weight: Option<&'a [T::Compute]>,
    /// β, of length C; `None` for 0.
    pub bias: Option<&'a [T::Compute]>,
    /// Added to the variance, finite and > 0.
    pub eps: f64,
    /// What is done with a single value per feature where the statistics are the batch's.
    pub one_value: OneValue,
    /// What is done beside normalizing: an activation, a residual, a mask, renormalization, ghost batches.
    pub options: Options<&'a [T], &'a [bool]>,
    /// The running statistics before the step, which [`Options::renorm`] compares the batch's with; else not looked at.
    pub renorm_by: Option<Running<'a, T::Compute>>,
}

/// What a backward reads, and which gradients it writes. What is not asked for is not computed: without `dx` nothing is
/// mapped, and x is not read where nobody needs Σdy·x̂. A program names what it sets, and leaves the rest to [`new`](Self::new):
///
/// ```
/// use batchnorm::functions::Backward;
///
/// let (x, dy, mut dbias) = ([1.0_f32, 3.0], [1.0, 0.5], [0.0]);
/// let backward = Backward { dbias: Some(&mut dbias), ..Backward::new(&x, &dy) };
/// assert!(backward.dx.is_none());
/// ```
#[derive(Debug)]
pub struct Backward<'a, T: Element> {
    /// The forward's input.
    pub x: &'a [T],
    /// ∂L/∂y, of the same length; empty where dx goes over it.
    pub dy: &'a [T],
    /// γ as the forward had it; `None` for 1.
    pub weight: Option<&'a [T::Compute]>,
    /// β as the forward had it; `None` for 0. Read where an activation's gate is computed again.
    pub bias: Option<&'a [T::Compute]>,
    /// What the caller has kept of a forward with options.
    pub kept: Kept<&'a [T], &'a [bool]>,
    /// Where ∂L/∂x goes, of the tensor's length. Where a backward is Ok, every element of it has been written.
    pub dx: Option<To<'a, T>>,
    /// What of dy passes the activation, of the tensor's length, overwritten: ∂L/∂residual, where the forward added one. It is read
    /// again, and so must hold values. Without an activation it is dy, of which a copy is made before dx goes over it.
    pub dresidual: Option<&'a mut [T]>,
    /// ∂L/∂γ, of length C, overwritten.
    pub dweight: Option<&'a mut [T::Compute]>,
    /// ∂L/∂β, likewise.
    pub dbias: Option<&'a mut [T::Compute]>,
}

/// The training forward: y = γ·x̂ + β with the batch's statistics, which are `saved` for [`backward`] and [`commit`]. An
/// empty batch is Ok.
///
/// # Errors
/// [`Error::Length`], [`Error::Eps`], [`Error::OneValue`] where there is a single value per feature and `one_value` refuses
/// it, and [`Error::Options`] for options that are none or do not go together. Nothing is then written.
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
    step.checked(mode, running)?.run(backend, saved, workspace)
}

/// The backward of the forward that was `saved`, as far as it is asked for:
///
/// dβ = Σdy, dγ = Σdy·x̂, dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ), or γ·invstd·dy where the statistics are running ones.
///
/// dy being what passes the activation, where the forward had one. Of a forward with [`Options::renorm`]
/// dγ = r·Σdy·x̂ + d·Σdy and dx = (γ·r·invstd/n)·(n·dy − Σdy − x̂·Σdy·x̂). Of one in ghost batches dx is each virtual batch's, dγ and
/// dβ are the sums of theirs.
///
/// The bits of each do not depend on what else is asked for, but for features that leave the kernels'
/// [range](crate#range).
///
/// # Errors
/// [`Error::EmptySaved`], [`Error::Length`] where a buffer does not fit the saved shape, [`Error::Options`] where something
/// of the forward is needed that was not kept, and [`Error::Parts`] for the state of a part of a batch, whose backward is
/// [`parts::backward`](super::parts::backward). Nothing is then written.
pub fn backward<T: Element, B: Backend>(
    backend: &B,
    step: Backward<'_, T>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    step.checked(saved)?.run(backend, saved, workspace)
}

impl<'a, T: Element> Forward<'a, T> {
    /// From x to y, both of the shape `shape`, with γ = 1, β = 0, eps = 10⁻⁵ and an error for a single value per feature.
    ///
    /// `y` is `&mut [T]`, or `&mut [MaybeUninit<T>]`.
    #[must_use]
    pub fn new(shape: Shape, x: &'a [T], y: impl Into<Output<'a, T>>) -> Self {
        let (y, Config { eps, one_value, .. }) = (To::Fresh(y.into()), Config::default());
        let (options, renorm_by) = (Options::default(), None);
        Self { shape, x, y, weight: None, bias: None, eps, one_value, options, renorm_by }
    }

    /// As [`new`](Self::new), of a y that goes over x: in evaluation, or in training where the running statistics are frozen. Where
    /// the statistics are the batch's, training refuses it with [`Error::Options`]: its backward reads x.
    ///
    /// y has the bits that it has elsewhere. A backward of such a forward needs x from somewhere else for ∂L/∂γ, and for the gate
    /// of an activation unless [`Kept::y`] tells it.
    ///
    /// ```
    /// use batchnorm::functions::Forward;
    /// use batchnorm::{Activation, BatchNorm, Options, Saved, Shape, Workspace};
    ///
    /// let bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
    /// let (mut saved, mut workspace, mut x) = (Saved::default(), Workspace::default(), [-3.0, 3.0]);
    /// let options = Options::default().activation(Activation::Relu);
    /// let step = Forward { options, ..Forward::over(Shape::nc(2, 1)?, &mut x) };
    /// bn.forward_eval_step(step, &mut saved, &mut workspace)?;
    /// assert!(x[0] == 0.0 && (x[1] - 3.0).abs() < 1e-4);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn over(shape: Shape, x: &'a mut [T]) -> Self {
        Self { y: To::Over(x), ..Self::new(shape, &[], Output::default()) }
    }

    /// The step with its buffers as strips, which have the lengths they must have.
    pub(super) fn checked(
        self,
        mode: Mode,
        running: Option<Running<'a, T::Compute>>,
    ) -> Result<Strided<'a, T>, Error> {
        let Self { shape, x, y, weight, bias, eps, one_value, options, renorm_by } = self;
        check_eps(eps)?;
        let features = shape.features();
        for (what, param) in [("weight", weight), ("bias", bias)] {
            param.map_or(Ok(()), |param| check_len(what, features, param.len()))?;
        }
        for Running { mean, var } in [running, renorm_by].into_iter().flatten() {
            check_len("running_mean", features, mean.len())?;
            check_len("running_var", features, var.len())?;
        }
        check_target(&y, mode, running.is_some())?;
        let (x, y) = to::strips(shape, ["x", "y"], x, Some(y))?;
        let y = y.unwrap_or_else(|| unreachable!("there is a y"));
        let length = |what, got| Error::Length { what, expected: shape.len(), got };
        let strips = |what, values: &'a [T]| shape.strips(values).ok_or_else(|| length(what, values.len()));
        let options =
            options.with(|residual| strips("the residual", residual), |mask| check_mask(shape, mask))?;
        let params = Params { weight: weight.unwrap_or_default(), bias: bias.unwrap_or_default() };
        Ok(Strided {
            shape,
            sizes: Sizes::Slice(shape),
            mode,
            x,
            y,
            params,
            running,
            eps,
            one_value,
            options,
            renorm_by,
        })
    }
}

impl<'a, T: Element> Backward<'a, T> {
    /// Of these, with γ = 1, β = 0 and no gradient asked for.
    #[must_use]
    pub fn new(x: &'a [T], dy: &'a [T]) -> Self {
        let kept = Kept::default();
        Self { x, dy, weight: None, bias: None, kept, dx: None, dresidual: None, dweight: None, dbias: None }
    }

    /// As [`new`](Self::new), of a dx that goes over dy. It has the bits that it has elsewhere, as have the other gradients.
    ///
    /// ```
    /// use batchnorm::functions::{self, Backward, Forward};
    /// use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
    ///
    /// let (backend, shape) = (DefaultBackend::default(), Shape::nc(2, 1)?);
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    /// let (x, mut y, mut grad) = ([1.0_f32, 3.0], [0.0; 2], [1.0, 1.0]);
    /// functions::train(&backend, Forward::new(shape, &x, &mut y), &mut saved, &mut workspace)?;
    /// functions::backward(&backend, Backward::over(&x, &mut grad), &saved, &mut workspace)?;
    /// assert_eq!(grad, [0.0, 0.0]); // a constant dy moves β alone
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn over(x: &'a [T], dy: &'a mut [T]) -> Self {
        Self { dx: Some(To::Over(dy)), ..Self::new(x, &[]) }
    }

    /// The step, its buffers as strips, which have the lengths they must have.
    pub(super) fn checked(self, saved: &Saved<T>) -> Result<StridedBack<'a, T>, Error> {
        let Self { x, dy, weight, bias, kept, dx, dresidual, dweight, dbias } = self;
        saved.check(saved.mode)?;
        let shape = saved.shape;
        let features = shape.features();
        for (what, param) in [("weight", weight), ("bias", bias)] {
            param.map_or(Ok(()), |param| check_len(what, features, param.len()))?;
        }
        for (what, grad) in [("dweight", &dweight), ("dbias", &dbias)] {
            grad.as_ref().map_or(Ok(()), |grad| check_len(what, features, grad.len()))?;
        }
        let length = |what, got| Error::Length { what, expected: shape.len(), got };
        let strips = |what, values: &'a [T]| shape.strips(values).ok_or_else(|| length(what, values.len()));
        let x = strips("x", x)?;
        let (dy, dx) = to::strips(shape, ["dy", "dx"], dy, dx)?;
        dresidual.as_ref().map_or(Ok(()), |own| check_len("dresidual", shape.len(), own.len()))?;
        let kept = kept.with(strips, |mask| check_mask(shape, mask))?;
        let [weight, bias] = [weight, bias].map(Option::unwrap_or_default);
        let (dweight, dbias) = (dweight.unwrap_or_default(), dbias.unwrap_or_default());
        let (wide, whole, given) = (&mut [][..], false, None);
        Ok(StridedBack { x, dy, weight, bias, kept, dx, dresidual, dweight, dbias, wide, whole, given })
    }
}

/// Whether a forward's output may go there; `constant`: its statistics are the running ones.
fn check_target<T>(y: &To<'_, T>, mode: Mode, constant: bool) -> Result<(), Error> {
    let wrong =
        |expected: &str, got: &str| Err(Error::Options { expected: expected.into(), got: got.into() });
    match y {
        To::Over(_) if mode == Mode::Train && !constant => {
            wrong("a y beside x in training, whose backward reads x", "a y over x")
        }
        To::Added(_) => wrong("a y in memory of its own, or over x", "one that is added to what is there"),
        To::Fresh(_) | To::Over(_) => Ok(()),
    }
}

//! The slice API: contiguous tensors in the caller's buffers, no allocation per step.

use super::error::check_len;
use super::functions::{Backward, Forward};
use super::{BatchNorm, Error, Mode, Saved};
use crate::driver::Workspace;
use crate::kernel::Backend;
use crate::num::Element;
use crate::tensor::Shape;

/// Where a backward writes its gradients. What the buffers held before is overwritten, not added to.
#[derive(Debug)]
pub struct Grads<'a, T: Element> {
    /// ∂L/∂x, of the tensor's length. Overwritten.
    pub dx: &'a mut [T],
    /// ∂L/∂γ, of length C; empty for a layer without γ, or where it is frozen. Overwritten.
    pub dweight: &'a mut [T::Compute],
    /// ∂L/∂β, likewise of β. Overwritten.
    pub dbias: &'a mut [T::Compute],
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// The training forward: y = γ·x̂ + β with the batch's statistics, which are then committed; with the running ones where
    /// they are [frozen](crate::Frozen).
    ///
    /// `x` and `y` hold `shape.len()` elements, row-major; `saved` is filled for the backward. An empty batch is
    /// Ok and leaves the running statistics alone.
    ///
    /// # Errors
    /// [`Error::Features`], [`Error::Length`], and [`Error::OneValue`] where there is a single value per feature, unless
    /// the config's [`one_value`](crate::Config::one_value) takes it; [`Error::Strided`] where a parameter was
    /// replaced by a strided array. Nothing is then written.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Saved, Shape, Workspace};
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default()); // to keep from step to step
    /// let (x, mut y) = ([1.0, 3.0], [0.0; 2]);
    /// bn.forward_into(Shape::nc(2, 1)?, &x, &mut y, &mut saved, &mut workspace)?;
    /// assert!((y[1] - 1.0).abs() < 1e-5); // (3 − 2)/√(1 + eps)
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_into(
        &mut self,
        shape: Shape,
        x: &[T],
        y: &mut [T],
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.forward_uncommitted_into(shape, x, y, saved, workspace)?;
        self.commit(saved)
    }

    /// As [`forward_into`](Self::forward_into), but leaves the running statistics to [`commit`](Self::commit).
    ///
    /// # Errors
    /// As [`forward_into`](Self::forward_into).
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Saved, Shape, Workspace};
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    /// let (x, mut y) = ([1.0, 3.0], [0.0; 2]);
    /// bn.forward_uncommitted_into(Shape::nc(2, 1)?, &x, &mut y, &mut saved, &mut workspace)?;
    /// bn.commit(&saved)?; // once, however often the forward is computed
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_uncommitted_into(
        &self,
        shape: Shape,
        x: &[T],
        y: &mut [T],
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.slices_forward(Mode::Train, (shape, x, y), saved, workspace)
    }

    /// The evaluation forward: y = γ·x̂ + β with the running statistics, or the batch's where none are tracked.
    /// `saved` is filled for [`backward_eval_into`](Self::backward_eval_into).
    ///
    /// # Errors
    /// As [`forward_into`](Self::forward_into); [`Error::OneValue`] only where batch statistics are taken.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Saved, Shape, Workspace};
    ///
    /// let bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    /// let mut y = [0.0];
    /// bn.forward_eval_into(Shape::nc(1, 1)?, &[3.0], &mut y, &mut saved, &mut workspace)?;
    /// assert!((y[0] - 3.0).abs() < 1e-4);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_into(
        &self,
        shape: Shape,
        x: &[T],
        y: &mut [T],
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.slices_forward(Mode::Eval, (shape, x, y), saved, workspace)
    }

    /// The backward of a training forward, from the state it saved, the same `x` and the gradient `dy` = ∂L/∂y:
    ///
    /// dβ = Σdy, dγ = Σdy·x̂, dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ), or γ·invstd·dy where the forward's statistics were frozen.
    ///
    /// γ is taken as it is now: update the parameters after the backward.
    ///
    /// # Errors
    /// [`Error::SavedMode`] for the state of an evaluation, [`Error::EmptySaved`], [`Error::Length`] where a buffer does not fit the
    /// shape that was saved, [`Error::Features`] for another layer's state. Nothing is then written.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Grads, Saved, Shape, Workspace};
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    /// let (x, mut y) = ([1.0, 3.0], [0.0; 2]);
    /// bn.forward_into(Shape::nc(2, 1)?, &x, &mut y, &mut saved, &mut workspace)?;
    ///
    /// let (mut dx, mut dweight, mut dbias) = ([0.0; 2], [0.0], [0.0]);
    /// let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
    /// bn.backward_into(&saved, &x, &[1.0, 0.5], grads, &mut workspace)?;
    /// assert_eq!(dbias, [1.5]); // Σdy
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_into(
        &self,
        saved: &Saved<T>,
        x: &[T],
        dy: &[T],
        grads: Grads<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.slices_back(Mode::Train, saved, x, dy, grads, workspace)
    }

    /// The backward of an evaluation forward: running statistics are constants, so dx = γ·invstd·dy; where none
    /// are tracked the batch's were used, and dx is that of training.
    ///
    /// # Errors
    /// As [`backward_into`](Self::backward_into), with the state of an evaluation expected.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Grads, Saved, Shape, Workspace};
    ///
    /// let bn = BatchNorm::<f32>::new(1)?;
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    /// let (x, mut y) = ([1.0, 3.0], [0.0; 2]);
    /// bn.forward_eval_into(Shape::nc(2, 1)?, &x, &mut y, &mut saved, &mut workspace)?;
    ///
    /// let (mut dx, mut dweight, mut dbias) = ([0.0; 2], [0.0], [0.0]);
    /// let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
    /// bn.backward_eval_into(&saved, &x, &[1.0, 0.0], grads, &mut workspace)?;
    /// assert!((dx[0] - 1.0).abs() < 1e-5 && dx[1] == 0.0); // γ·invstd·dy
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_eval_into(
        &self,
        saved: &Saved<T>,
        x: &[T],
        dy: &[T],
        grads: Grads<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.slices_back(Mode::Eval, saved, x, dy, grads, workspace)
    }

    fn slices_forward(
        &self,
        mode: Mode,
        (shape, x, y): (Shape, &[T], &mut [T]),
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.step_forward(mode, Forward::new(shape, x, y), saved, workspace)
    }

    fn slices_back(
        &self,
        mode: Mode,
        saved: &Saved<T>,
        x: &[T],
        dy: &[T],
        Grads { dx, dweight, dbias }: Grads<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.check_saved(saved, mode)?;
        let [scale, shift] = self.config.learned();
        check_len("dweight", if scale { self.features } else { 0 }, dweight.len())?;
        check_len("dbias", if shift { self.features } else { 0 }, dbias.len())?;
        let (dweight, dbias) = (scale.then_some(dweight), shift.then_some(dbias));
        let dx = Some(dx.into());
        let step = Backward { dx, dweight, dbias, ..Backward::new(x, dy) };
        self.backward_step(step, saved, workspace)
    }
}

//! The slice API: contiguous tensors in the caller's buffers, no allocation per step.

use super::{BatchNorm, check_len};
use crate::coef::Stats;
use crate::driver::{self, Backward, Forward};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::exec::Backend;
use crate::saved::{Mode, Saved};
use crate::shape::Shape;
use crate::strips::{Strips, StripsMut};
use crate::workspace::Workspace;

/// Where a backward writes its gradients.
#[derive(Debug)]
pub struct Grads<'a, T: Element> {
    /// ∂L/∂x, of the tensor's length.
    pub dx: &'a mut [T],
    /// ∂L/∂γ, of length C; empty for a layer without affine part.
    pub dweight: &'a mut [T::Compute],
    /// ∂L/∂β, likewise.
    pub dbias: &'a mut [T::Compute],
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// The training forward: y = γ·x̂ + β with the batch's statistics, which are then committed.
    ///
    /// `x` and `y` hold `shape.len()` elements, row-major; `saved` is filled for the backward. An empty batch is
    /// Ok and leaves the running statistics alone.
    ///
    /// # Errors
    /// [`Error::Features`], [`Error::Length`], and [`Error::OneValue`] where there is a single value per feature;
    /// [`Error::Strided`] where a parameter was replaced by a strided array. Nothing is then written.
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
    pub fn forward_uncommitted_into(
        &self,
        shape: Shape,
        x: &[T],
        y: &mut [T],
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.slices_into(Mode::Train, shape, x, y, saved, workspace)
    }

    /// The evaluation forward: y = γ·x̂ + β with the running statistics, or the batch's where none are tracked.
    /// `saved` is filled for [`backward_eval_into`](Self::backward_eval_into).
    ///
    /// # Errors
    /// As [`forward_into`](Self::forward_into); [`Error::OneValue`] only where batch statistics are taken.
    pub fn forward_eval_into(
        &self,
        shape: Shape,
        x: &[T],
        y: &mut [T],
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.slices_into(Mode::Eval, shape, x, y, saved, workspace)
    }

    /// The backward of a training forward, from the state it saved, the same `x` and the gradient `dy` = ∂L/∂y:
    ///
    /// dβ = Σdy, dγ = Σdy·x̂, dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ)
    ///
    /// γ is taken as it is now: update the parameters after the backward.
    ///
    /// # Errors
    /// [`Error::SavedMode`] for the state of an evaluation, [`Error::Length`] where a buffer does not fit the
    /// shape that was saved, [`Error::Features`] for another layer's state. Nothing is then written.
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

    fn slices_into(
        &self,
        mode: Mode,
        shape: Shape,
        x: &[T],
        y: &mut [T],
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.check_features("x", shape.features())?;
        let (x_len, y_len) = (x.len(), y.len());
        let x = shape.strips(x).ok_or(Error::Length { what: "x", expected: shape.len(), got: x_len })?;
        let y = shape.strips_mut(y).ok_or(Error::Length { what: "y", expected: shape.len(), got: y_len })?;
        self.forward_strips(mode, shape, x, y, saved, workspace)
    }

    fn slices_back(
        &self,
        mode: Mode,
        saved: &Saved<T>,
        x: &[T],
        dy: &[T],
        grads: Grads<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let shape = saved.shape;
        let length = |what, got| Error::Length { what, expected: shape.len(), got };
        let (x_len, dy_len, dx_len) = (x.len(), dy.len(), grads.dx.len());
        let x = shape.strips(x).ok_or_else(|| length("x", x_len))?;
        let dy = shape.strips(dy).ok_or_else(|| length("dy", dy_len))?;
        let dx = shape.strips_mut(grads.dx).ok_or_else(|| length("dx", dx_len))?;
        self.backward_strips(mode, saved, [x, dy], dx, grads.dweight, grads.dbias, workspace)
    }

    /// The forward of every method: checks what the strips cannot tell, then runs the driver.
    pub(super) fn forward_strips<'a>(
        &'a self,
        mode: Mode,
        shape: Shape,
        x: Strips<'a, T>,
        y: StripsMut<'a, T>,
        saved: &'a mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.check_own()?;
        let running = self.running.as_ref().filter(|_| mode == Mode::Eval);
        let from_batch = running.is_none();
        if from_batch && shape.count() == 1 && shape.features() > 0 {
            return Err(Error::OneValue { shape });
        }
        saved.reset(shape, mode, from_batch);
        let eps = self.config.eps;
        let mut stats = saved.stats_mut();
        if let Some(running) = running {
            for (f, (&mean, &var)) in running.mean.iter().zip(&running.var).enumerate() {
                stats.set(f, &Stats::from_running(mean, var, eps));
            }
        }
        if !shape.is_empty() {
            let job = Forward { x, y, params: self.params()?, stats, from_batch, eps };
            driver::forward(&self.backend, shape, job, workspace);
        }
        Ok(())
    }

    /// The backward of every method, likewise.
    #[expect(clippy::too_many_arguments, reason = "one private call that joins both APIs")]
    pub(super) fn backward_strips<'a>(
        &'a self,
        mode: Mode,
        saved: &'a Saved<T>,
        [x, dy]: [Strips<'a, T>; 2],
        dx: StripsMut<'a, T>,
        dweight: &'a mut [T::Compute],
        dbias: &'a mut [T::Compute],
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.check_saved(saved, mode)?;
        self.check_own()?;
        check_len("dweight", self.weight.len(), dweight.len())?;
        check_len("dbias", self.bias.len(), dbias.len())?;
        if saved.shape.is_empty() {
            dweight.fill(T::Compute::from_f64(0.0));
            dbias.fill(T::Compute::from_f64(0.0));
            return Ok(());
        }
        let (params, stats, from_batch) = (self.params()?, saved.stats(), saved.from_batch);
        let eps = self.config.eps;
        let job = Backward { x, dy, dx, dweight, dbias, params, stats, from_batch, eps };
        driver::backward(&self.backend, saved.shape, job, workspace);
        Ok(())
    }
}

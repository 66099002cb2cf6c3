//! The array API: `ndarray` views of any rank from 2 on, the feature axis where the config says.
//!
//! How a view lies in memory, and what has to be copied, is the business of `memory`.

use super::functions::{Strided, prepared};
use super::memory::InMemory;
use super::{BatchNorm, Error, Mode, Saved};
use crate::driver::{self, Workspace};
use crate::kernel::Backend;
use crate::maths::Params;
use crate::num::Element;
use crate::tensor::Shape;
use ndarray::{Array, Array1, ArrayView, Dimension};

/// The gradients of a backward.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T: Element, D: Dimension> {
    /// ∂L/∂x, of the input's dimensions.
    pub dx: Array<T, D>,
    /// ∂L/∂γ, shape (C,); of length 0 for a layer without affine part.
    pub dweight: Array1<T::Compute>,
    /// ∂L/∂β, likewise.
    pub dbias: Array1<T::Compute>,
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// The training forward: y = γ·x̂ + β with the batch's statistics, which are then committed. Returns y, of
    /// x's dimensions, and the state for [`backward`](Self::backward).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Features`], [`Error::OneValue`] where there is a single value per feature, and
    /// [`Error::Length`] or [`Error::Strided`] where a parameter was replaced by one that does not fit.
    pub fn forward<D: Dimension>(
        &mut self,
        x: ArrayView<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        let (y, saved) = self.forward_uncommitted(x)?;
        self.commit(&saved)?;
        Ok((y, saved))
    }

    /// As [`forward`](Self::forward), but leaves the running statistics to [`commit`](Self::commit).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_uncommitted<D: Dimension>(
        &self,
        x: ArrayView<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        self.forward_array(Mode::Train, x)
    }

    /// The evaluation forward: y = γ·x̂ + β with the running statistics, or the batch's where none are tracked.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::OneValue`] only where batch statistics are taken.
    pub fn forward_eval<D: Dimension>(&self, x: ArrayView<'_, T, D>) -> Result<Array<T, D>, Error> {
        self.forward_eval_saved(x).map(|(y, _)| y)
    }

    /// As [`forward_eval`](Self::forward_eval), with the state for [`backward_eval`](Self::backward_eval): a frozen
    /// layer inside a network that is trained.
    ///
    /// # Errors
    /// As [`forward_eval`](Self::forward_eval).
    pub fn forward_eval_saved<D: Dimension>(
        &self,
        x: ArrayView<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        self.forward_array(Mode::Eval, x)
    }

    /// The backward of a training forward, from the state it saved, the same `x` and the gradient `dy` = ∂L/∂y:
    ///
    /// dβ = Σdy, dγ = Σdy·x̂, dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ)
    ///
    /// γ is taken as it is now: update the parameters after the backward.
    ///
    /// # Errors
    /// [`Error::Dims`] where `dy` has other dimensions than `x`, [`Error::SavedShape`] where `x` has not the shape
    /// of the forward, [`Error::SavedMode`] for the state of an evaluation, [`Error::Features`], [`Error::Shape`].
    pub fn backward<D: Dimension>(
        &self,
        saved: &Saved<T>,
        x: ArrayView<'_, T, D>,
        dy: ArrayView<'_, T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        self.backward_array(Mode::Train, saved, x, dy)
    }

    /// The backward of an evaluation forward: running statistics are constants, so dx = γ·invstd·dy; where none
    /// are tracked the batch's were used, and dx is that of training.
    ///
    /// # Errors
    /// As [`backward`](Self::backward), with the state of an evaluation expected.
    pub fn backward_eval<D: Dimension>(
        &self,
        saved: &Saved<T>,
        x: ArrayView<'_, T, D>,
        dy: ArrayView<'_, T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        self.backward_array(Mode::Eval, saved, x, dy)
    }

    fn forward_array<D: Dimension>(
        &self,
        mode: Mode,
        x: ArrayView<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        self.check_array(&x)?;
        let (weight, bias) = self.params()?;
        let params = Params { weight: weight.unwrap_or_default(), bias: bias.unwrap_or_default() };
        let mut saved = Saved::default();
        let input = InMemory::new(x.into_dyn(), self.config.layout);
        let mut result = input.result();
        self.with_running(mode, |running| {
            let (shape, x, y) = (input.shape(), input.strips(), result.strips_mut());
            let step = Strided { shape, mode, x, y, params, running, eps: self.config.eps };
            driver::run(&self.backend, prepared(step, &mut saved)?, &mut Workspace::default());
            Ok::<_, Error>(())
        })?;
        Ok((result.into_array(), saved))
    }

    fn backward_array<D: Dimension>(
        &self,
        mode: Mode,
        saved: &Saved<T>,
        x: ArrayView<'_, T, D>,
        dy: ArrayView<'_, T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        self.check_array(&x)?;
        if x.shape() != dy.shape() {
            let (expected, got) = (x.shape().to_vec(), dy.shape().to_vec());
            return Err(Error::Dims { what: "dy", expected, got });
        }
        let x = InMemory::new(x.into_dyn(), self.config.layout);
        if x.shape() != saved.shape() {
            return Err(Error::SavedShape { what: "x", expected: saved.shape(), got: x.shape() });
        }
        self.check_saved(saved, mode)?;
        let (weight, _) = self.params()?;
        let dy = x.like(dy.into_dyn());
        let mut dx = x.result();
        let mut dweight = Array1::from_elem(self.weight.len(), T::Compute::default());
        let mut dbias = dweight.clone();
        // Both arrays are fresh, hence contiguous.
        if let (Some(dweight), Some(dbias)) = (dweight.as_slice_mut(), dbias.as_slice_mut()) {
            let (inputs, out) = ([x.strips(), dy.strips()], Some(dx.strips_mut()));
            let step = saved.back(inputs, out, weight.unwrap_or_default(), dweight, dbias);
            let step = driver::Backward { whole: true, ..step };
            driver::run(&self.backend, step, &mut Workspace::default());
        }
        Ok(Gradients { dx: dx.into_array(), dweight, dbias })
    }

    fn check_array<D: Dimension>(&self, x: &ArrayView<'_, T, D>) -> Result<(), Error> {
        let shape = Shape::from_dims(x.shape(), self.config.layout)?;
        self.check_features("x", shape.features())
    }
}

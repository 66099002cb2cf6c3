//! The array API: `ndarray` arrays and views of any rank from 2 on, the feature axis where the config says.
//!
//! How an array lies in memory, and what has to be copied, is the business of `memory`.

use super::checked::{Strided, StridedBack};
use super::functions::Forward;
use super::memory::{Fresh, InMemory};
use super::{BatchNorm, Config, Error, Kept, Mode, Options, Saved, Sizes};
use crate::driver::{Target, Workspace};
use crate::kernel::Backend;
use crate::maths::Params;
use crate::num::Element;
use crate::tensor::Shape;
use ndarray::{Array, Array1, ArrayRef, ArrayView, CowArray, Dimension};

/// The gradients of a backward, in fresh arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T: Element, D: Dimension> {
    /// ∂L/∂x, of the input's dimensions.
    pub dx: Array<T, D>,
    /// ∂L/∂γ, shape (C,); of length 0 for a layer without γ, or where it is frozen.
    pub dweight: Array1<T::Compute>,
    /// ∂L/∂β, likewise of β.
    pub dbias: Array1<T::Compute>,
    /// ∂L/∂residual, of the input's dimensions, where the forward added one.
    pub dresidual: Option<Array<T, D>>,
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// The training forward: y = γ·x̂ + β with the batch's statistics, which are then committed; with the running ones where
    /// they are [frozen](crate::Frozen). Returns y, of x's dimensions, and the state for [`backward`](Self::backward). `x` is
    /// `&array`, `&array.view()` or `&array.slice(…)`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Features`], [`Error::OneValue`] where there is a single value per feature, unless
    /// the config's [`one_value`](Config::one_value) takes it, and [`Error::Length`] or [`Error::Strided`] where a parameter was
    /// replaced by one that does not fit.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (y, saved) = bn.forward(&array![[1.0], [3.0]])?; // (N, C)
    /// assert!((y[[1, 0]] - 1.0).abs() < 1e-5); // (3 − 2)/√(1 + eps)
    /// assert_eq!(saved.mean(), [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward<D: Dimension>(&mut self, x: &ArrayRef<T, D>) -> Result<(Array<T, D>, Saved<T>), Error> {
        let (y, saved) = self.forward_uncommitted(x)?;
        self.commit(&saved)?;
        Ok((y, saved))
    }

    /// As [`forward`](Self::forward), but leaves the running statistics to [`commit`](Self::commit).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (_y, saved) = bn.forward_uncommitted(&array![[1.0], [f32::NAN]])?;
    /// if saved.mean().iter().all(|mean| mean.is_finite()) {
    ///     bn.commit(&saved)?;
    /// }
    /// assert_eq!(bn.running, BatchNorm::<f32>::new(1)?.running); // as before
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_uncommitted<D: Dimension>(
        &self,
        x: &ArrayRef<T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        self.forward_array(Mode::Train, x, Options::default())
    }

    /// The evaluation forward: y = γ·x̂ + β with the running statistics, or the batch's where none are tracked.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::OneValue`] only where batch statistics are taken.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let bn = BatchNorm::<f32>::new(2)?; // running mean 0 and variance 1
    /// let y = bn.forward_eval(&array![[3.0, -1.0]])?; // a single sample will do
    /// assert!((y[[0, 0]] - 3.0).abs() < 1e-4);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval<D: Dimension>(&self, x: &ArrayRef<T, D>) -> Result<Array<T, D>, Error> {
        self.forward_eval_saved(x).map(|(y, _)| y)
    }

    /// As [`forward_eval`](Self::forward_eval), with the state for [`backward_eval`](Self::backward_eval). A layer
    /// that is to stay like that in a network that is trained is [frozen](Self::set_frozen).
    ///
    /// # Errors
    /// As [`forward_eval`](Self::forward_eval).
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Mode};
    /// use ndarray::array;
    ///
    /// let bn = BatchNorm::<f32>::new(1)?;
    /// let (_y, saved) = bn.forward_eval_saved(&array![[1.0], [3.0]])?;
    /// assert_eq!((saved.mode(), saved.mean()), (Mode::Eval, &[0.0][..])); // the running mean
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_saved<D: Dimension>(
        &self,
        x: &ArrayRef<T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        self.forward_array(Mode::Eval, x, Options::default())
    }

    /// The backward of a training forward, from the state it saved, the same `x` and the gradient `dy` = ∂L/∂y:
    ///
    /// dβ = Σdy, dγ = Σdy·x̂, dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ), or γ·invstd·dy where the forward's statistics were frozen.
    ///
    /// γ is taken as it is now: update the parameters after the backward. x may lie otherwise in memory than in the
    /// forward.
    ///
    /// # Errors
    /// [`Error::Dims`] where `dy` has other dimensions than `x`, [`Error::SavedShape`] where `x` has not the shape
    /// of the forward, [`Error::SavedMode`] for the state of an evaluation, [`Error::EmptySaved`], [`Error::Features`],
    /// [`Error::Shape`].
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let x = array![[1.0], [3.0], [5.0]];
    /// let (_y, saved) = bn.forward(&x)?;
    /// let g = bn.backward(&saved, &x, &array![[1.0], [1.0], [1.0]])?;
    /// assert_eq!(g.dbias, array![3.0]); // Σdy
    /// assert!(g.dx.iter().all(|dx| dx.abs() < 1e-6)); // a constant dy moves β alone
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward<D: Dimension>(
        &self,
        saved: &Saved<T>,
        x: &ArrayRef<T, D>,
        dy: &ArrayRef<T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        self.backward_array(Mode::Train, saved, [x, dy], Kept::default())
    }

    /// The backward of an evaluation forward: running statistics are constants, so dx = γ·invstd·dy; where none
    /// are tracked the batch's were used, and dx is that of training.
    ///
    /// # Errors
    /// As [`backward`](Self::backward), with the state of an evaluation expected.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let bn = BatchNorm::<f32>::new(1)?; // γ = 1, running variance 1
    /// let x = array![[1.0], [3.0]];
    /// let (_y, saved) = bn.forward_eval_saved(&x)?;
    /// let g = bn.backward_eval(&saved, &x, &array![[1.0], [0.0]])?;
    /// assert!((g.dx[[0, 0]] - 1.0).abs() < 1e-5 && g.dx[[1, 0]] == 0.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_eval<D: Dimension>(
        &self,
        saved: &Saved<T>,
        x: &ArrayRef<T, D>,
        dy: &ArrayRef<T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        self.backward_array(Mode::Eval, saved, [x, dy], Kept::default())
    }

    /// The evaluation forward whose y goes over x, with [`Options`]: y = f(γ·x̂ + β + residual).
    ///
    /// Where x lies in standard order, nothing of its size is allocated. Any other view is worked on beside, and assigned. y has the
    /// bits of [`forward_eval_with`](Self::forward_eval_with). There is no state for a backward, which would read x.
    ///
    /// # Errors
    /// As [`forward_eval_with`](Self::forward_eval_with). x is then as it was.
    ///
    /// ```
    /// use batchnorm::{Activation, BatchNorm, Options};
    /// use ndarray::array;
    ///
    /// let bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
    /// let mut x = array![[-1.0], [9.0]];
    /// bn.forward_eval_over(&mut x, Options::default().activation(Activation::Relu6))?;
    /// assert_eq!(x, array![[0.0], [6.0]]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_over<D: Dimension>(
        &self,
        x: &mut ArrayRef<T, D>,
        options: Options<ArrayView<'_, T, D>, ArrayView<'_, bool, D::Smaller>>,
    ) -> Result<(), Error> {
        if !x.is_standard_layout() {
            let (y, _) = self.forward_array(Mode::Eval, x, options)?;
            x.assign(&y);
            return Ok(());
        }
        self.sizes(x)?;
        let shape = Shape::from_dims(x.shape(), self.config.layout)?;
        let options = options.with(
            |residual| {
                check_dims("the residual", x, &residual)?;
                Ok(match residual.is_standard_layout() {
                    true => residual.into(),
                    false => CowArray::from(residual.as_standard_layout().into_owned()),
                })
            },
            |mask| self.mask(x, mask),
        )?;
        let options = options
            .by_ref()
            .with(|residual| Ok(residual.as_slice().unwrap_or_default()), |mask| Ok(&mask[..]))?;
        let step = Forward { options, ..Forward::over(shape, x.as_slice_mut().unwrap_or_default()) };
        self.forward_eval_step(step, &mut Saved::default(), &mut Workspace::default())
    }

    pub(super) fn forward_array<D: Dimension>(
        &self,
        mode: Mode,
        x: &ArrayRef<T, D>,
        options: Options<ArrayView<'_, T, D>, ArrayView<'_, bool, D::Smaller>>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        let sizes = self.sizes(x)?;
        let (weight, bias) = self.params()?;
        let Config { eps, one_value, .. } = self.config;
        let params = Params { weight: weight.unwrap_or_default(), bias: bias.unwrap_or_default() };
        let mut saved = Saved::default();
        let input = InMemory::new(x.view().into_dyn(), self.config.layout);
        let options = options.with(
            |residual| {
                check_dims("the residual", x, &residual)?;
                Ok(input.like(residual.into_dyn()))
            },
            |mask| self.mask(x, mask),
        )?;
        // An entry of the first axis is as many samples as it has positions where these come before the feature.
        let positions = input.shape().outer() / x.shape()[0].max(1);
        let ghost = options.ghost.map(|samples| samples.saturating_mul(positions.max(1)));
        let options = Options { ghost, ..options };
        let mut result = input.result();
        self.with_running(mode, |running, renorm_by| {
            let options = options.by_ref().with(|residual| Ok(residual.strips()), |mask| Ok(&mask[..]))?;
            let (shape, x, y) = (input.shape(), input.strips(), Target::Fresh(result.strips_mut()));
            let step =
                Strided { shape, sizes, mode, x, y, params, running, eps, one_value, options, renorm_by };
            step.run(&self.backend, &mut saved, &mut Workspace::default())
        })?;
        Ok((result.into_array(), saved))
    }

    pub(super) fn backward_array<D: Dimension>(
        &self,
        mode: Mode,
        saved: &Saved<T>,
        [x, dy]: [&ArrayRef<T, D>; 2],
        kept: Kept<ArrayView<'_, T, D>, ArrayView<'_, bool, D::Smaller>>,
    ) -> Result<Gradients<T, D>, Error> {
        let sizes = self.sizes(x)?;
        check_dims("dy", x, dy)?;
        self.check_saved(saved, mode)?;
        if matches!(saved.sizes, Sizes::Array { .. }) && saved.sizes != sizes {
            return Err(Error::SavedShape { what: "x", expected: saved.sizes.clone(), got: sizes });
        }
        let Some(input) = InMemory::of_shape(x.view().into_dyn(), self.config.layout, saved.shape()) else {
            return Err(Error::SavedShape { what: "x", expected: saved.sizes.clone(), got: sizes });
        };
        let [weight, bias] = <[_; 2]>::from(self.params()?).map(Option::unwrap_or_default);
        let dy = input.like(dy.view().into_dyn());
        let kept = kept.with(
            |what, tensor| {
                check_dims(what, x, &tensor)?;
                Ok(input.like(tensor.into_dyn()))
            },
            |mask| self.mask(x, mask),
        )?;
        let kept = kept.by_ref().with(|_, tensor| Ok(tensor.strips()), |mask| Ok(&mask[..]))?;
        let mut dx = input.result();
        let mut dresidual = saved.done.residual.then(|| input.result());
        let [mut dweight, mut dbias] = self
            .config
            .learned()
            .map(|learned| Array1::from_elem(if learned { self.features } else { 0 }, T::Compute::default()));
        let step = StridedBack {
            x: input.strips(),
            dy: dy.strips(),
            weight,
            bias,
            kept,
            dx: Some(Target::Fresh(dx.strips_mut())),
            dresidual: dresidual.as_mut().map(Fresh::values),
            // Both arrays are fresh, hence contiguous.
            dweight: dweight.as_slice_mut().unwrap_or_default(),
            dbias: dbias.as_slice_mut().unwrap_or_default(),
            wide: &mut [],
            whole: !self.config.frozen.parameters(),
            given: None,
        };
        step.run(&self.backend, saved, &mut Workspace::default())?;
        Ok(Gradients { dx: dx.into_array(), dweight, dbias, dresidual: dresidual.map(Fresh::into_array) })
    }

    /// The values of a mask over x, whose dimensions are x's but for the feature axis: in either order of memory these stand in
    /// one order.
    fn mask<D: Dimension>(
        &self,
        x: &ArrayRef<T, D>,
        mask: ArrayView<'_, bool, D::Smaller>,
    ) -> Result<Vec<bool>, Error> {
        let mut expected = x.shape().to_vec();
        expected.remove(self.config.layout.axis(expected.len()));
        if mask.shape() != expected {
            let got = mask.shape().to_vec();
            return Err(Error::Dims { what: "the mask", expected, got });
        }
        Ok(mask.iter().copied().collect())
    }

    /// The sizes of an array that this layer takes.
    pub(super) fn sizes<D: Dimension>(&self, x: &ArrayRef<T, D>) -> Result<Sizes, Error> {
        let layout = self.config.layout;
        Shape::from_dims(x.shape(), layout)?;
        let sizes = Sizes::Array { dims: x.shape().to_vec(), layout };
        self.check_features("x", &sizes)?;
        Ok(sizes)
    }
}

/// Whether an array has x's dimensions.
fn check_dims<T, D: Dimension>(
    what: &'static str,
    x: &ArrayRef<T, D>,
    got: &ArrayRef<T, D>,
) -> Result<(), Error> {
    if x.shape() == got.shape() {
        return Ok(());
    }
    let (expected, got) = (x.shape().to_vec(), got.shape().to_vec());
    Err(Error::Dims { what, expected, got })
}

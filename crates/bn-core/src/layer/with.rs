//! Steps with options: an activation, a residual, a mask.

use super::checked::StridedBack;
use super::error::check_len;
use super::functions::{self, Backward, Forward};
use super::{BatchNorm, Config, Error, Gradients, Kept, Mode, Options, Saved};
use crate::driver::Workspace;
use crate::kernel::Backend;
use crate::num::Element;
use ndarray::{Array, ArrayRef, ArrayView, Dimension};

/// [`Options`] of arrays.
type ArrayOptions<'a, T, D> = Options<ArrayView<'a, T, D>, ArrayView<'a, bool, <D as Dimension>::Smaller>>;

/// [`Kept`] of arrays.
type ArrayKept<'a, T, D> = Kept<ArrayView<'a, T, D>, ArrayView<'a, bool, <D as Dimension>::Smaller>>;

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// As [`forward`](Self::forward), with [`Options`]: y = f(γ·x̂ + β + residual), over the valid positions, of x̂·r + d with
    /// [`renorm`](Options#structfield.renorm), by virtual batches with [`ghost`](Options#structfield.ghost).
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::Dims`] where the residual has not x's dimensions, or the mask not these without the
    /// feature axis; [`Error::Slope`]; [`Error::Options`] for options that are none or do not go together.
    ///
    /// ```
    /// use batchnorm::{Activation, BatchNorm, Options};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let options = Options::default().activation(Activation::LeakyRelu(0.1));
    /// let (y, _saved) = bn.forward_with(&array![[1.0], [3.0]], options)?;
    /// assert!((y[[0, 0]] + 0.1).abs() < 1e-5); // −1, times the slope
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_with<D: Dimension>(
        &mut self,
        x: &ArrayRef<T, D>,
        options: ArrayOptions<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        let (y, saved) = self.forward_uncommitted_with(x, options)?;
        self.commit(&saved)?;
        Ok((y, saved))
    }

    /// As [`forward_with`](Self::forward_with), but leaves the running statistics to [`commit`](Self::commit).
    ///
    /// # Errors
    /// As [`forward_with`](Self::forward_with).
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Options};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let valid = array![true, true, false];
    /// let x = array![[1.0], [3.0], [f32::NAN]];
    /// let (_y, saved) = bn.forward_uncommitted_with(&x, Options::default().mask(valid.view()))?;
    /// bn.commit(&saved)?;
    /// assert_eq!(saved.mean(), [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_uncommitted_with<D: Dimension>(
        &self,
        x: &ArrayRef<T, D>,
        options: ArrayOptions<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        self.forward_array(Mode::Train, x, options)
    }

    /// As [`forward_eval_saved`](Self::forward_eval_saved), with [`Options`].
    ///
    /// # Errors
    /// As [`forward_with`](Self::forward_with); [`Error::OneValue`] only where batch statistics are taken.
    ///
    /// ```
    /// use batchnorm::{Activation, BatchNorm, Options};
    /// use ndarray::array;
    ///
    /// let bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
    /// let options = Options::default().activation(Activation::Relu6);
    /// let (y, _saved) = bn.forward_eval_with(&array![[-1.0], [9.0]], options)?;
    /// assert_eq!(y, array![[0.0], [6.0]]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_with<D: Dimension>(
        &self,
        x: &ArrayRef<T, D>,
        options: ArrayOptions<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<T>), Error> {
        self.forward_array(Mode::Eval, x, options)
    }

    /// The backward of a forward with [`Options`], in training or evaluation, from what is [`Kept`] of it. dy is the gradient of
    /// the output behind the activation.
    ///
    /// # Errors
    /// As [`backward`](Self::backward); [`Error::Dims`] for what is kept; [`Error::Options`] where something is needed that is not.
    ///
    /// ```
    /// use batchnorm::{Activation, BatchNorm, Kept, Options};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (x, skip) = (array![[1.0], [3.0]], array![[0.0], [0.5]]);
    /// let options = Options::default().residual(skip.view()).activation(Activation::Relu);
    /// let (y, saved) = bn.forward_with(&x, options)?;
    /// let g = bn.backward_with(&saved, &x, &array![[1.0], [1.0]], Kept::default().y(y.view()))?;
    /// assert_eq!(g.dresidual, Some(array![[0.0], [1.0]])); // y is 0 and 1.5
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_with<D: Dimension>(
        &self,
        saved: &Saved<T>,
        x: &ArrayRef<T, D>,
        dy: &ArrayRef<T, D>,
        kept: ArrayKept<'_, T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        self.backward_array(saved.mode(), saved, [x, dy], kept)
    }

    /// As [`forward_into`](Self::forward_into), with the options of a [`functions::Forward`]. Its weight, bias, eps, one_value and
    /// renorm_by are the layer's, whatever stands there.
    ///
    /// # Errors
    /// As [`functions::train`]; [`Error::Features`]. Nothing is then written.
    ///
    /// ```
    /// use batchnorm::functions::Forward;
    /// use batchnorm::{Activation, BatchNorm, Options, Saved, Shape, Workspace};
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    /// let (x, mut y) = ([1.0, 3.0], [0.0; 2]);
    /// let options = Options::default().activation(Activation::Relu);
    /// let step = Forward { options, ..Forward::new(Shape::nc(2, 1)?, &x, &mut y) };
    /// bn.forward_step(step, &mut saved, &mut workspace)?;
    /// assert_eq!(y[0], 0.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_step(
        &mut self,
        step: Forward<'_, T>,
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.forward_uncommitted_step(step, saved, workspace)?;
        self.commit(saved)
    }

    /// As [`forward_step`](Self::forward_step), but leaves the running statistics to [`commit`](Self::commit).
    ///
    /// # Errors
    /// As [`forward_step`](Self::forward_step).
    ///
    /// ```
    /// use batchnorm::functions::Forward;
    /// use batchnorm::{BatchNorm, Saved, Shape, Workspace};
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (mut saved, mut workspace, mut y) = (Saved::default(), Workspace::default(), [0.0; 2]);
    /// let step = Forward::new(Shape::nc(2, 1)?, &[1.0, 3.0], &mut y);
    /// bn.forward_uncommitted_step(step, &mut saved, &mut workspace)?;
    /// bn.commit(&saved)?;
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_uncommitted_step(
        &self,
        step: Forward<'_, T>,
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.step_forward(Mode::Train, step, saved, workspace)
    }

    /// As [`forward_eval_into`](Self::forward_eval_into), with the options of a [`functions::Forward`].
    ///
    /// # Errors
    /// As [`functions::eval`]; [`Error::Features`]. Nothing is then written.
    ///
    /// ```
    /// use batchnorm::functions::Forward;
    /// use batchnorm::{BatchNorm, Options, Saved, Shape, Workspace};
    ///
    /// let bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
    /// let (mut saved, mut workspace, mut y) = (Saved::default(), Workspace::default(), [0.0]);
    /// let options = Options::default().residual(&[0.5][..]);
    /// let step = Forward { options, ..Forward::new(Shape::nc(1, 1)?, &[3.0], &mut y) };
    /// bn.forward_eval_step(step, &mut saved, &mut workspace)?;
    /// assert!((y[0] - 3.5).abs() < 1e-4);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_step(
        &self,
        step: Forward<'_, T>,
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.step_forward(Mode::Eval, step, saved, workspace)
    }

    /// The backward of a forward in training or evaluation, with what a [`functions::Backward`] asks for and has kept. Its weight and
    /// bias are the layer's, whatever stands there.
    ///
    /// # Errors
    /// As [`functions::backward`]; [`Error::Features`] for another layer's state, [`Error::Length`] for the gradient of a parameter
    /// that is frozen or absent. Nothing is then written.
    ///
    /// ```
    /// use batchnorm::functions::{Backward, Forward};
    /// use batchnorm::{Activation, BatchNorm, Options, Saved, Shape, Workspace};
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    /// let (x, mut y, mut dx) = ([1.0, 3.0], [0.0; 2], [0.0; 2]);
    /// let options = Options::default().activation(Activation::Relu);
    /// let step = Forward { options, ..Forward::new(Shape::nc(2, 1)?, &x, &mut y) };
    /// bn.forward_step(step, &mut saved, &mut workspace)?;
    /// let step = Backward { dx: Some((&mut dx).into()), ..Backward::new(&x, &[1.0, 0.0]) };
    /// bn.backward_step(step, &saved, &mut workspace)?;
    /// assert_eq!(dx, [0.0, 0.0]); // the first value does not pass the gate
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_step(
        &self,
        step: Backward<'_, T>,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let (weight, bias) = self.check_backward(&step, saved)?;
        let step = Backward { weight, bias, ..step };
        // The layer's other backwards have the sums of every feature looked at; so has this one, for equal bits.
        let whole = !self.config.frozen.parameters();
        let step = StridedBack { whole, ..step.checked(saved)? };
        step.run(&self.backend, saved, workspace)
    }

    /// γ and β of a backward, where the state is of such a layer and gradients are asked for that there are.
    pub(super) fn check_backward(
        &self,
        step: &Backward<'_, T>,
        saved: &Saved<T>,
    ) -> Result<super::OwnParams<'_, T>, Error> {
        self.check_saved(saved, saved.mode())?;
        let gradients = [("dweight", step.dweight.as_deref()), ("dbias", step.dbias.as_deref())];
        for ((what, got), learned) in gradients.into_iter().zip(self.config.learned()) {
            if let Some(got) = got.filter(|_| !learned) {
                check_len(what, 0, got.len())?;
            }
        }
        self.params()
    }

    pub(super) fn step_forward(
        &self,
        mode: Mode,
        step: Forward<'_, T>,
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.check_features("x", &super::Sizes::Slice(step.shape))?;
        let ((weight, bias), Config { eps, one_value, .. }) = (self.params()?, self.config);
        self.with_running(mode, |running, renorm_by| {
            let step = Forward { weight, bias, eps, one_value, renorm_by, ..step };
            functions::forward(&self.backend, mode, step, running, saved, workspace)
        })
    }
}

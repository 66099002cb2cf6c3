//! One call of the layer, and its backward.

use crate::fresh;
use crate::room::Room;
use batchnorm::functions::{self, Backward, Commit, Forward, Running};
use batchnorm::{
    Activation, DefaultBackend, Error, Kept, OneValue, Options, Output, RunningVar, Saved, Shape,
};
use std::sync::OnceLock;

/// What a forward reads. Slices of length C are as in [`Forward`].
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T: Room> {
    /// The input: as many elements as the step's shape, row-major.
    pub x: &'a [T],
    /// γ, of length C; `None` for 1.
    pub weight: Option<&'a [T::Compute]>,
    /// β, of length C; `None` for 0.
    pub bias: Option<&'a [T::Compute]>,
    /// What is added before the activation, of x's length.
    pub residual: Option<&'a [T]>,
}

impl<'a, T: Room> Inputs<'a, T> {
    /// x by itself, without parameters.
    #[must_use]
    pub fn new(x: &'a [T]) -> Self {
        Self { x, weight: None, bias: None, residual: None }
    }
}

/// Which gradients a backward is asked for. The others are not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// ∂L/∂x.
    pub x: bool,
    /// ∂L/∂γ.
    pub weight: bool,
    /// ∂L/∂β.
    pub bias: bool,
    /// ∂L/∂residual.
    pub residual: bool,
}

impl Wanted {
    /// All but that of a residual.
    pub const ALL: Self = Self { x: true, weight: true, bias: true, residual: false };
}

/// The gradients that a backward was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T: Room> {
    /// ∂L/∂x, as long as x.
    pub dx: Option<Vec<T>>,
    /// ∂L/∂γ, of length C.
    pub dweight: Option<Vec<T::Compute>>,
    /// ∂L/∂β, of length C.
    pub dbias: Option<Vec<T::Compute>>,
    /// ∂L/∂residual, as long as x.
    pub dresidual: Option<Vec<T>>,
}

/// One call of the layer: a graph's node holds it from the forward to the backward.
#[derive(Debug)]
pub struct Step<T: Room> {
    shape: Shape,
    eps: f64,
    /// The statistics, where they are constants.
    running: Option<[Vec<T::Compute>; 2]>,
    activation: Activation,
    one_value: OneValue,
    done: OnceLock<Done<T>>,
}

/// What a forward leaves for its backward. The parameters are copies: a framework may move its own in between.
#[derive(Debug)]
struct Done<T: Room> {
    saved: Saved<T>,
    weight: Option<Vec<T::Compute>>,
    bias: Option<Vec<T::Compute>>,
}

impl<T: Room> Step<T> {
    /// With the batch's statistics, over a tensor of this shape.
    #[must_use]
    pub fn train(shape: Shape, eps: f64) -> Self {
        let (activation, one_value) = (Activation::Identity, OneValue::Refused);
        Self { shape, eps, running: None, activation, one_value, done: OnceLock::new() }
    }

    /// With these statistics as constants: mean and variance, each of length C. For evaluation, and for frozen layers.
    #[must_use]
    pub fn eval(shape: Shape, eps: f64, running: [Vec<T::Compute>; 2]) -> Self {
        Self { running: Some(running), ..Self::train(shape, eps) }
    }

    /// With this activation behind it.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// With this answer to a batch of one value per feature.
    #[must_use]
    pub fn one_value(self, one_value: OneValue) -> Self {
        Self { one_value, ..self }
    }

    /// y = act(γ·x̂ + β + residual), as long as x. A second forward gives its output again, and leaves the state as it is.
    ///
    /// # Errors
    /// As [`functions::train`] and [`functions::eval`].
    pub fn forward(&self, inputs: Inputs<'_, T>) -> Result<Vec<T>, Error> {
        self.forward_in(Vec::new(), inputs)
    }

    /// As [`forward`](Self::forward), in the memory of a vector: what it holds is lost.
    ///
    /// # Errors
    /// Likewise.
    pub fn forward_in(
        &self,
        room: Vec<T>,
        Inputs { x, weight, bias, residual }: Inputs<'_, T>,
    ) -> Result<Vec<T>, Error> {
        let mut options = Options::default().activation(self.activation);
        options.residual = residual;
        let step = Forward {
            weight,
            bias,
            eps: self.eps,
            one_value: self.one_value,
            options,
            ..Forward::new(self.shape, x, Output::default())
        };
        let running = self.running.as_ref().map(|[mean, var]| Running { mean, var });
        let mut saved = Saved::default();
        let y = T::with(|workspace| fresh::forward(room, step, running, (&mut saved, workspace)))?;
        let [weight, bias] = [weight, bias].map(|values| values.map(<[_]>::to_vec));
        self.done.get_or_init(|| Done { saved, weight, bias });
        Ok(y)
    }

    /// Weighs the batch's statistics into running ones, of which `kind` says which variance they have:
    /// r ← (1−momentum)·r + momentum·s.
    ///
    /// # Errors
    /// As [`functions::commit`]; [`Error::EmptySaved`] before a forward.
    pub fn commit(
        &self,
        kind: RunningVar,
        mean: &mut [T::Compute],
        var: &mut [T::Compute],
        momentum: f64,
    ) -> Result<(), Error> {
        let commit = Commit { momentum: Some(momentum), kind, ..Commit::new(mean, var) };
        functions::commit(&DefaultBackend::default(), &self.done()?.saved, commit)
    }

    /// The gradients that are wanted, of the forward's x; γ and β are the forward's, and its residual is not read again. `dy` is the
    /// gradient of its output. `y` is that output, where a residual was added. Else `None` is quicker: the kernels compute the gate
    /// again.
    ///
    /// # Errors
    /// As [`functions::backward`]; [`Error::EmptySaved`] before a forward.
    pub fn backward(
        &self,
        x: &[T],
        y: Option<&[T]>,
        dy: &[T],
        wanted: Wanted,
    ) -> Result<Gradients<T>, Error> {
        self.backward_in(|_| Vec::new(), x, y, dy, wanted)
    }

    /// As [`backward`](Self::backward), with ∂L/∂x and ∂L/∂residual in the memory of vectors that `room` gives for so many elements: what
    /// they hold is lost.
    ///
    /// # Errors
    /// Likewise.
    pub fn backward_in(
        &self,
        room: impl Fn(usize) -> Vec<T>,
        x: &[T],
        y: Option<&[T]>,
        dy: &[T],
        wanted: Wanted,
    ) -> Result<Gradients<T>, Error> {
        let Done { saved, weight, bias } = self.done()?;
        let features = self.shape.features();
        let zeros = |wanted: bool| wanted.then(|| vec![T::Compute::default(); features]);
        let (mut dweight, mut dbias) = (zeros(wanted.weight), zeros(wanted.bias));
        // It must hold values: those of the memory's last use will do.
        let mut dresidual = wanted.residual.then(|| room(x.len()));
        dresidual.iter_mut().for_each(|values| values.resize(x.len(), T::default()));
        let mut kept = Kept::default();
        kept.y = y;
        let step = Backward {
            weight: weight.as_deref(),
            bias: bias.as_deref(),
            kept,
            dweight: dweight.as_deref_mut(),
            dbias: dbias.as_deref_mut(),
            dresidual: dresidual.as_deref_mut(),
            ..Backward::new(x, dy)
        };
        let dx = wanted.x.then(|| room(x.len()));
        let dx = T::with(|workspace| fresh::backward(dx, step, (saved, workspace)))?;
        Ok(Gradients { dx, dweight, dbias, dresidual })
    }

    fn done(&self) -> Result<&Done<T>, Error> {
        self.done.get().ok_or(Error::EmptySaved)
    }
}

//! The layer: parameters, running statistics, and the steps of training and evaluation.

mod arrays;
mod memory;
#[cfg(feature = "serde")]
mod serial;
mod slices;

pub use arrays::Gradients;
pub use slices::Grads;

use crate::config::Config;
use crate::driver::Params;
use crate::element::{Element, Real};
use crate::error::Error;
use crate::exec::Backend;
use crate::running::RunningStats;
use crate::saved::{Mode, Saved};
use crate::shape::Shape;
use ndarray::Array1;

/// Batch normalization over the feature axis of a tensor of elements `T`, run by the backend `B`.
///
/// Training, per feature over the n values of the batch (Ioffe and Szegedy, <https://arxiv.org/abs/1502.03167>,
/// algorithm 1):
///
/// ```text
/// μ = Σx/n    σ² = Σ(x−μ)²/n    invstd = 1/√(σ²+eps)    x̂ = (x−μ)·invstd    y = γ·x̂ + β
/// dβ = Σdy    dγ = Σdy·x̂       dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ)
/// ```
///
/// Evaluation puts the running statistics in place of μ and σ², and takes them for constants:
/// dx = γ·invstd·dy.
///
/// The array methods ([`forward`](Self::forward), [`backward`](Self::backward), …) take `ndarray` views and
/// return new arrays; the slice methods ([`forward_into`](Self::forward_into), …) write into the caller's
/// buffers and allocate nothing once their workspace exists.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Element, B> {
    /// γ, shape (C,): 1 at first. Of length 0 in a layer without affine part.
    pub weight: Array1<T::Compute>,
    /// β, shape (C,): 0 at first. Of length 0 in a layer without affine part.
    pub bias: Array1<T::Compute>,
    /// The running statistics; `None` where they are not tracked.
    pub running: Option<RunningStats<T::Compute>>,
    features: usize,
    config: Config,
    backend: B,
}

impl<T: Element, B: Backend + Default> BatchNorm<T, B> {
    /// A layer for `features` features with PyTorch's defaults, see [`Config`].
    ///
    /// # Errors
    /// None with the defaults; the signature is that of [`with_config`](Self::with_config).
    pub fn new(features: usize) -> Result<Self, Error> {
        Self::with_config(features, Config::default())
    }

    /// A layer for `features` features.
    ///
    /// # Errors
    /// [`Error::Eps`] and [`Error::Momentum`] where the config holds no usable number;
    /// [`Error::TooLarge`] where as many parameters do not fit in memory.
    pub fn with_config(features: usize, config: Config) -> Result<Self, Error> {
        Self::with_backend(features, config, B::default())
    }
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// As [`with_config`](Self::with_config), with a backend made by the caller.
    ///
    /// # Errors
    /// As [`with_config`](Self::with_config).
    pub fn with_backend(features: usize, config: Config, backend: B) -> Result<Self, Error> {
        config.check()?;
        Shape::new(1, features, size_of::<f64>())?;
        let len = if config.affine { features } else { 0 };
        Ok(Self {
            weight: Array1::from_elem(len, T::Compute::from_f64(1.0)),
            bias: Array1::from_elem(len, T::Compute::default()),
            running: config.track_running_stats.then(|| RunningStats::new(features)),
            features,
            config,
            backend,
        })
    }

    /// C, the number of features.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The settings the layer was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Weighs the statistics of a training forward into the running ones. It is apart from the forward, so that
    /// a forward computed again (activation checkpointing) is not counted twice. Without tracked statistics,
    /// and for an empty batch, nothing changes.
    ///
    /// # Errors
    /// [`Error::SavedMode`] for the state of an evaluation, [`Error::Features`] for another layer's state,
    /// [`Error::Length`] where the running statistics were replaced by ones of another length.
    pub fn commit(&mut self, saved: &Saved<T>) -> Result<(), Error> {
        self.check_saved(saved, Mode::Train)?;
        self.check_own()?;
        if let Some(running) = self.running.as_mut().filter(|_| saved.shape.count() > 0) {
            running.commit(&self.backend, saved, self.config.momentum, self.config.running_var);
        }
        Ok(())
    }

    /// γ and β as the driver takes them.
    fn params(&self) -> Result<Params<'_, T::Compute>, Error> {
        Ok(Params {
            weight: self.weight.as_slice().ok_or(Error::Strided { what: "weight" })?,
            bias: self.bias.as_slice().ok_or(Error::Strided { what: "bias" })?,
        })
    }

    /// Whether the public arrays still have the lengths they were made with.
    fn check_own(&self) -> Result<(), Error> {
        let params = self.params()?;
        let expected = if self.config.affine { self.features } else { 0 };
        check_len("weight", expected, params.weight.len())?;
        check_len("bias", expected, params.bias.len())?;
        if let Some(running) = &self.running {
            check_len("running_mean", self.features, running.mean.len())?;
            check_len("running_var", self.features, running.var.len())?;
        }
        Ok(())
    }

    fn check_features(&self, what: &'static str, got: usize) -> Result<(), Error> {
        match got == self.features {
            true => Ok(()),
            false => Err(Error::Features { what, expected: self.features, got }),
        }
    }

    fn check_saved(&self, saved: &Saved<T>, expected: Mode) -> Result<(), Error> {
        if saved.mode != expected {
            return Err(Error::SavedMode { expected, got: saved.mode });
        }
        self.check_features("the saved state", saved.shape.features())
    }
}

/// Whether a buffer has the length it must have.
fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

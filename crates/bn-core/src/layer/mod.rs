//! The layer: parameters, running statistics, and the steps of training and evaluation.

mod arrays;
mod config;
mod error;
pub mod functions;
mod memory;
pub mod parts;
mod running;
mod saved;
#[cfg(feature = "serde")]
mod serial;
mod slices;

pub use arrays::Gradients;
pub use config::{Config, RunningVar};
pub use error::Error;
pub use running::RunningStats;
pub use saved::{Mode, Saved};
pub use slices::Grads;

use crate::kernel::Backend;
use crate::num::{Element, Real};
use crate::tensor::Shape;
use functions::{Commit, Running, check_len};
use ndarray::Array1;
use running::filled;

/// γ and β, where the layer has them.
type OwnParams<'a, T> = (Option<&'a [<T as Element>::Compute]>, Option<&'a [<T as Element>::Compute]>);

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
    /// [`Error::Shape`] where as many parameters do not fit in memory.
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
            weight: filled(len, T::Compute::from_f64(1.0))?,
            bias: filled(len, T::Compute::default())?,
            running: match config.track_running_stats {
                true => Some(RunningStats::try_new(features)?),
                false => None,
            },
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
        self.params()?;
        let Config { momentum, running_var: kind, .. } = self.config;
        if let Some(running) = self.running.as_mut().filter(|_| saved.count > 0) {
            let RunningStats { mean, var, num_batches_tracked: batches } = running;
            *batches = batches.saturating_add(1);
            let (mean, var) = (contiguous(mean), contiguous(var));
            functions::commit(&self.backend, saved, Commit { mean, var, momentum, batches: *batches, kind })?;
        }
        Ok(())
    }

    /// γ and β as the functions take them: as long as they were made, as are the running statistics.
    fn params(&self) -> Result<OwnParams<'_, T>, Error> {
        let weight = self.weight.as_slice().ok_or(Error::Strided { what: "weight" })?;
        let bias = self.bias.as_slice().ok_or(Error::Strided { what: "bias" })?;
        let expected = if self.config.affine { self.features } else { 0 };
        check_len("weight", expected, weight.len())?;
        check_len("bias", expected, bias.len())?;
        if let Some(running) = &self.running {
            check_len("running_mean", self.features, running.mean.len())?;
            check_len("running_var", self.features, running.var.len())?;
        }
        Ok((Some(weight).filter(|_| self.config.affine), Some(bias).filter(|_| self.config.affine)))
    }

    /// Hands the running statistics that a forward in this mode takes to `forward`.
    fn with_running<R>(&self, mode: Mode, forward: impl FnOnce(Option<Running<'_, T::Compute>>) -> R) -> R {
        let Some(running) = self.running.as_ref().filter(|_| mode == Mode::Eval) else {
            return forward(None);
        };
        // A caller may have replaced them by arrays with a stride.
        let (mean, var) = (running.mean.as_standard_layout(), running.var.as_standard_layout());
        let [mean, var] = [&mean, &var].map(|array| array.as_slice().unwrap_or_default());
        forward(Some(Running { mean, var }))
    }

    fn check_features(&self, what: &'static str, got: usize) -> Result<(), Error> {
        match got == self.features {
            true => Ok(()),
            false => Err(Error::Features { what, expected: self.features, got }),
        }
    }

    fn check_saved(&self, saved: &Saved<T>, expected: Mode) -> Result<(), Error> {
        if saved.mode() != expected {
            return Err(Error::SavedMode { expected, got: saved.mode() });
        }
        self.check_features("the saved state", saved.shape().features())
    }
}

/// The elements of an array that a caller may have replaced by one with a stride; laid side by side then.
fn contiguous<R: Real>(array: &mut Array1<R>) -> &mut [R] {
    if !array.is_standard_layout() {
        *array = array.as_standard_layout().into_owned();
    }
    array.as_slice_mut().unwrap_or_default()
}

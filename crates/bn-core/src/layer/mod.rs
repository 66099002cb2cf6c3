//! The layer: parameters, running statistics, and the steps of training and evaluation.

mod activation;
mod affine;
mod arrays;
#[cfg(feature = "serde")]
mod bits;
mod checked;
#[cfg(feature = "safetensors")]
pub mod checkpoint;
mod commit;
mod config;
mod double;
mod error;
mod fold;
mod frozen;
pub mod functions;
mod ghost;
mod memory;
mod mode;
mod non_finite;
mod one_value;
mod optimize;
mod options;
pub mod parts;
mod presets;
pub mod ranks;
mod recalibrate;
mod renorm;
mod renormed;
mod running;
mod saved;
#[cfg(feature = "serde")]
mod serial;
mod sizes;
mod slices;
mod state;
#[cfg(feature = "safetensors")]
mod state_dict;
#[cfg(feature = "serde")]
mod stored;
mod to;
#[cfg(any(feature = "serde", feature = "safetensors"))]
mod values;
mod with;

pub use activation::Activation;
pub use affine::Affine;
pub use arrays::Gradients;
pub use config::{Config, RunningVar};
pub use double::{Cotangents, DoubleGradients};
pub use error::Error;
pub use fold::Folded;
pub use frozen::Frozen;
pub use mode::Mode;
pub use non_finite::NonFinite;
pub use one_value::{OneValue, Single};
pub use optimize::ParameterGradients;
pub use options::{Kept, Options};
pub use recalibrate::Recalibrate;
pub use renorm::Renorm;
pub use running::RunningStats;
pub use saved::Saved;
pub use sizes::Sizes;
pub use slices::Grads;

use crate::kernel::Backend;
use crate::num::{Element, Real};
use error::check_len;
use ndarray::Array1;
use running::{Running, filled};
use std::fmt;

/// γ and β, where the layer has them.
type OwnParams<'a, T> = (Option<&'a [<T as Element>::Compute]>, Option<&'a [<T as Element>::Compute]>);

/// Batch normalization over the feature axis of a tensor of elements `T`, run by the backend `B`.
///
/// A program names it `batchnorm::BatchNorm<T>`, which fills in the backend; that page has formulas, fields and a
/// table of the methods.
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
/// The array methods ([`forward`](Self::forward), [`backward`](Self::backward), …) take `ndarray` arrays and views by
/// reference, and return new arrays. The slice methods ([`forward_into`](Self::forward_into), …) write into the
/// caller's buffers, and allocate nothing once their workspace exists.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Element, B> {
    /// γ, shape (C,): 1 at first. Of length 0 where the layer does not scale, see [`Affine`].
    pub weight: Array1<T::Compute>,
    /// β, shape (C,): 0 at first. Of length 0 where the layer does not shift.
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
    /// [`Error::TooManyFeatures`] where memory does not hold as many parameters.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    ///
    /// let bn = BatchNorm::<f32>::new(64)?;
    /// assert_eq!((bn.weight[0], bn.bias[0]), (1.0, 0.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn new(features: usize) -> Result<Self, Error> {
        Self::with_config(features, Config::default())
    }

    /// A layer for `features` features.
    ///
    /// # Errors
    /// [`Error::Eps`] and [`Error::Momentum`] where the config holds no usable number; [`Error::NothingToFreeze`] where it
    /// freezes statistics and tracks none; [`Error::TooManyFeatures`] where memory does not hold as many parameters.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Config, Layout};
    ///
    /// let config = Config::default().eps(1e-3).layout(Layout::ChannelsLast);
    /// let bn = BatchNorm::<f32>::with_config(64, config)?;
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_config(features: usize, config: Config) -> Result<Self, Error> {
        Self::with_backend(features, config, B::default())
    }
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// As [`with_config`](Self::with_config), with a backend made by the caller.
    ///
    /// # Errors
    /// As [`with_config`](Self::with_config).
    ///
    /// ```
    /// use batchnorm::backend::Scalar;
    /// use batchnorm::{BatchNorm, Config};
    ///
    /// let bn = BatchNorm::<f32, _>::with_backend(64, Config::default(), Scalar)?;
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_backend(features: usize, config: Config, backend: B) -> Result<Self, Error> {
        config.check()?;
        check_room(features)?;
        let len = |has: bool| if has { features } else { 0 };
        Ok(Self {
            weight: filled(len(config.affine.scales()), T::Compute::from_f64(1.0))?,
            bias: filled(len(config.affine.shifts()), T::Compute::default())?,
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
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!(BatchNorm::<f32>::new(64)?.features(), 64);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The settings of the layer.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!(BatchNorm::<f32>::new(64)?.config().momentum, Some(0.1));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// γ and β as the functions take them: as long as they were made, as are the running statistics.
    fn params<'a>(&'a self) -> Result<OwnParams<'a, T>, Error> {
        let param = |what, param: &'a Array1<T::Compute>, has: bool| {
            let param = param.as_slice().ok_or(Error::Strided { what })?;
            check_len(what, if has { self.features } else { 0 }, param.len())?;
            Ok::<_, Error>(has.then_some(param))
        };
        let weight = param("weight", &self.weight, self.config.affine.scales())?;
        let bias = param("bias", &self.bias, self.config.affine.shifts())?;
        if self.running.is_none() && self.config.frozen.statistics() {
            return Err(Error::NothingToFreeze);
        }
        if let Some(running) = &self.running {
            check_len("running_mean", self.features, running.mean.len())?;
            check_len("running_var", self.features, running.var.len())?;
            // None stand for zeros.
            if !running.left_out.is_empty() {
                check_len("left_out", self.features, running.left_out.len())?;
            }
        }
        Ok((weight, bias))
    }

    /// Hands the running statistics that a forward in this mode takes to `forward`, and those that are tracked.
    fn with_running<R>(
        &self,
        mode: Mode,
        forward: impl FnOnce(Option<Running<'_, T::Compute>>, Option<Running<'_, T::Compute>>) -> R,
    ) -> R {
        let taken = mode == Mode::Eval || self.config.frozen.statistics();
        let Some(running) = self.running.as_ref() else {
            return forward(None, None);
        };
        // A caller may have replaced them by arrays with a stride.
        let (mean, var) = (running.mean.as_standard_layout(), running.var.as_standard_layout());
        let [mean, var] = [&mean, &var].map(|array| array.as_slice().unwrap_or_default());
        let tracked = Running { mean, var };
        forward(taken.then_some(tracked), Some(tracked))
    }

    fn check_features(&self, what: &'static str, got: &Sizes) -> Result<(), Error> {
        match got.features() == self.features {
            true => Ok(()),
            false => Err(Error::Features { what, expected: self.features, got: got.clone() }),
        }
    }

    fn check_saved(&self, saved: &Saved<T>, expected: Mode) -> Result<(), Error> {
        saved.check(expected)?;
        self.check_features("the saved state", &saved.sizes)
    }
}

/// What it is, as PyTorch prints it, and what runs it:
/// `BatchNorm<f32>(64, eps=1e-5, momentum=0.1, affine=true, track_running_stats=true) on rayon+dispatch`. Settings that PyTorch
/// does not have are named where they are not the default.
impl<T: Element, B: Backend> fmt::Display for BatchNorm<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config {
            eps,
            momentum,
            affine,
            track_running_stats,
            running_var,
            one_value,
            non_finite,
            frozen,
            layout,
        } = self.config;
        write!(f, "BatchNorm<{}>({}, eps={eps:e}, momentum=", T::NAME, self.features)?;
        match momentum {
            Some(momentum) => write!(f, "{momentum}")?,
            None => f.write_str("None")?,
        }
        write!(f, ", affine={}, track_running_stats={track_running_stats}", affine.name())?;
        if running_var != RunningVar::default() {
            write!(f, ", running_var={running_var:?}")?;
        }
        if one_value != OneValue::default() {
            write!(f, ", one_value={one_value:?}")?;
        }
        if non_finite != NonFinite::default() {
            write!(f, ", non_finite={non_finite:?}")?;
        }
        if frozen != Frozen::default() {
            write!(f, ", frozen={frozen:?}")?;
        }
        if layout != crate::tensor::Layout::default() {
            write!(f, ", layout={layout:?}")?;
        }
        write!(f, ") on {}", self.backend.name())
    }
}

/// Whether an address space holds the statistics of so many features.
fn check_room(features: usize) -> Result<(), Error> {
    let bytes = features.checked_mul(size_of::<f64>()).and_then(|bytes| isize::try_from(bytes).ok());
    bytes.map_or(Err(Error::TooManyFeatures { got: features }), |_| Ok(()))
}

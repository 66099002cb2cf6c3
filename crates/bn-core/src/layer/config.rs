//! What a layer is made with.

use super::affine::Affine;
use super::error::Error;
use super::frozen::Frozen;
use super::non_finite::NonFinite;
use super::one_value::OneValue;
use crate::tensor::Layout;

/// How the batch's variance enters the running one. Normalizing always takes the biased variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RunningVar {
    /// Times n/(n−1), as PyTorch, candle and TensorFlow's fused kernel do.
    #[default]
    Unbiased,
    /// As it is, as ONNX, Keras, Flax and burn do.
    Biased,
}

/// A layer's settings, with PyTorch's defaults. They are checked when the layer is made. Those of other libraries:
/// [`keras`](Self::keras), [`flax`](Self::flax), [`onnx`](Self::onnx), [`tensorflow`](Self::tensorflow).
///
/// A method of each field's name sets it:
///
/// ```
/// use batchnorm::{BatchNorm, Config, Layout, RunningVar};
///
/// let config = Config::default()
///     .eps(1e-3)
///     .momentum(Some(0.01))
///     .running_var(RunningVar::Biased)
///     .layout(Layout::ChannelsLast);
/// let bn = BatchNorm::<f32>::with_config(64, config)?;
/// assert_eq!(bn.config().eps, 1e-3);
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// With the feature `serde`, a field that is missing has its default, and one that is not known is refused by name. Formats
/// without names, such as postcard, read what the same version wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Config {
    /// Added to the variance before its root is taken: invstd = 1/√(σ² + eps). Finite and > 0; 1e-5.
    pub eps: f64,
    /// The weight of the *new* statistic in the running one, from 0 to 1; 0.1. `None` for the cumulative average, with
    /// the weight 1/`num_batches_tracked`, where the batches that a feature [left out](NonFinite::LeftOut) do not count. Keras
    /// and Flax name the weight of the *old* one: their 0.99 is 0.01 here.
    pub momentum: Option<f64>,
    /// Which of γ and β the layer has; both.
    pub affine: Affine,
    /// Whether the layer keeps running statistics; true. Without, evaluation takes the batch's.
    pub track_running_stats: bool,
    /// Which variance is tracked; the unbiased one.
    pub running_var: RunningVar,
    /// What training does with a single value per feature; an error.
    pub one_value: OneValue,
    /// What a commit does with a feature whose batch is not finite; taken in.
    pub non_finite: NonFinite,
    /// What training leaves as it is; nothing. It can be set later: [`BatchNorm::set_frozen`](crate::BatchNorm::set_frozen).
    pub frozen: Frozen,
    /// Where the feature axis of an array stands; axis 1. The slice API takes a [`crate::Shape`] instead.
    pub layout: Layout,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: Some(0.1),
            affine: Affine::default(),
            track_running_stats: true,
            running_var: RunningVar::default(),
            one_value: OneValue::default(),
            non_finite: NonFinite::default(),
            frozen: Frozen::default(),
            layout: Layout::default(),
        }
    }
}

impl Config {
    /// With this [`eps`](Self#structfield.eps).
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// With this [`momentum`](Self#structfield.momentum).
    #[must_use]
    pub fn momentum(self, momentum: Option<f64>) -> Self {
        Self { momentum, ..self }
    }

    /// With γ and β, one of them, or none: [`affine`](Self#structfield.affine), an [`Affine`] or `true` and `false`.
    #[must_use]
    pub fn affine(self, affine: impl Into<Affine>) -> Self {
        Self { affine: affine.into(), ..self }
    }

    /// With running statistics, or without: [`track_running_stats`](Self#structfield.track_running_stats).
    #[must_use]
    pub fn track_running_stats(self, track_running_stats: bool) -> Self {
        Self { track_running_stats, ..self }
    }

    /// With this [`running_var`](Self#structfield.running_var).
    #[must_use]
    pub fn running_var(self, running_var: RunningVar) -> Self {
        Self { running_var, ..self }
    }

    /// With this [`one_value`](Self#structfield.one_value).
    #[must_use]
    pub fn one_value(self, one_value: OneValue) -> Self {
        Self { one_value, ..self }
    }

    /// With this [`non_finite`](Self#structfield.non_finite).
    #[must_use]
    pub fn non_finite(self, non_finite: NonFinite) -> Self {
        Self { non_finite, ..self }
    }

    /// With this [`frozen`](Self#structfield.frozen).
    #[must_use]
    pub fn frozen(self, frozen: Frozen) -> Self {
        Self { frozen, ..self }
    }

    /// With this [`layout`](Self#structfield.layout).
    #[must_use]
    pub fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// Whether the settings hold usable numbers and fit together.
    ///
    /// # Errors
    /// [`Error::Eps`], [`Error::Momentum`], and [`Error::NothingToFreeze`] for frozen statistics that are not tracked.
    ///
    /// ```
    /// use batchnorm::{Config, Error};
    ///
    /// assert_eq!(Config::default().momentum(Some(1.5)).check(), Err(Error::Momentum { got: 1.5 }));
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        check_eps(self.eps)?;
        check_momentum(self.momentum)?;
        match self.frozen.statistics() && !self.track_running_stats {
            true => Err(Error::NothingToFreeze),
            false => Ok(()),
        }
    }

    /// Whether γ and β have gradients.
    pub(super) fn learned(&self) -> [bool; 2] {
        [self.affine.scales(), self.affine.shifts()].map(|has| has && !self.frozen.parameters())
    }
}

/// Whether `eps` keeps the variance above zero.
pub(super) fn check_eps(got: f64) -> Result<(), Error> {
    if got.is_finite() && got > 0.0 { Ok(()) } else { Err(Error::Eps { got }) }
}

/// Whether `momentum` is a weight.
pub(super) fn check_momentum(momentum: Option<f64>) -> Result<(), Error> {
    match momentum {
        Some(got) if !(0.0..=1.0).contains(&got) => Err(Error::Momentum { got }),
        _ => Ok(()),
    }
}

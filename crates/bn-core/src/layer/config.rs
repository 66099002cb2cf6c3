//! What a layer is made with.

use super::error::Error;
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

/// A layer's settings, with PyTorch's defaults. They are checked when the layer is made.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// Added to the variance before its root is taken: invstd = 1/√(σ² + eps). Finite and > 0.
    pub eps: f64,
    /// The weight of the *new* statistic in the running one; `None` for the cumulative average, with the
    /// weight 1/`num_batches_tracked`. Finite.
    pub momentum: Option<f64>,
    /// Whether the layer scales by γ and shifts by β.
    pub affine: bool,
    /// Whether the layer keeps running statistics. Without, evaluation takes the batch's.
    pub track_running_stats: bool,
    /// Which variance is tracked.
    pub running_var: RunningVar,
    /// Where the feature axis of an array stands. The slice API takes a [`crate::Shape`] instead.
    pub layout: Layout,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            track_running_stats: true,
            running_var: RunningVar::default(),
            layout: Layout::default(),
        }
    }
}

impl Config {
    /// Whether the settings hold usable numbers.
    ///
    /// # Errors
    /// [`Error::Eps`] and [`Error::Momentum`].
    pub fn check(&self) -> Result<(), Error> {
        if !(self.eps.is_finite() && self.eps > 0.0) {
            return Err(Error::Eps { got: self.eps });
        }
        match self.momentum {
            Some(got) if !got.is_finite() => Err(Error::Momentum { got }),
            _ => Ok(()),
        }
    }
}

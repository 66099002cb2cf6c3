//! What to do with a single value per feature.

use super::mode::Mode;

/// What a forward with the batch's statistics does with a single value per feature (n = 1), whose variance is 0.
///
/// ```
/// use batchnorm::{BatchNorm, Config, OneValue};
/// use ndarray::array;
///
/// let x = array![[3.0, -2.0]]; // a last batch of one sample
/// assert!(BatchNorm::<f32>::new(2)?.forward(&x).is_err());
///
/// let mut bn = BatchNorm::<f32>::with_config(2, Config::default().one_value(OneValue::Bias))?;
/// bn.bias = array![0.5, 1.5];
/// let (y, saved) = bn.forward(&x)?;
/// assert_eq!(y, array![[0.5, 1.5]]);
/// let g = bn.backward(&saved, &x, &array![[1.0, 2.0]])?;
/// assert_eq!((g.dx, g.dbias), (array![[0.0, 0.0]], array![1.0, 2.0])); // dβ = dy
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OneValue {
    /// [`Error::OneValue`](crate::Error::OneValue), as PyTorch.
    #[default]
    Refused,
    /// y = β, as Keras, Flax, TensorFlow and ONNX compute it: x̂ = 0, hence dx = 0, dγ = 0 and dβ = dy. A commit takes in the
    /// value as the mean and 0 as the variance: Bessel's factor n/(n−1) counts as 1. A value that is not finite makes y NaN.
    /// With [`Options::renorm`](crate::Options#structfield.renorm) y = β + γ·d, and dγ = d·dβ.
    Bias,
}

/// Which values of a feature were only one, where an [`Error::OneValue`](crate::Error::OneValue) says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single {
    /// Those of the batch.
    Batch,
    /// Those that a mask leaves of it.
    Mask,
    /// Those of a ghost batch.
    Ghost,
}

impl Single {
    pub(super) fn of_what(self) -> &'static str {
        match self {
            Self::Batch => "in",
            Self::Mask => "that the mask leaves in",
            Self::Ghost => "in a ghost batch of 1 sample of",
        }
    }

    /// What to do.
    pub(super) fn instead(self, mode: Mode) -> &'static str {
        match (self, mode) {
            (Self::Batch | Self::Mask, Mode::Train) => {
                "use `forward_eval`, drop the last incomplete batch, or take y = β with `OneValue::Bias`"
            }
            (Self::Ghost, Mode::Train) => "use larger ghost batches, or take y = β with `OneValue::Bias`",
            (_, Mode::Eval) => {
                "without running statistics, evaluation takes the batch's, and `OneValue::Bias` makes y = β of one value"
            }
        }
    }
}

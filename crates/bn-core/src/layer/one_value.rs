//! What to do with a single value per feature.

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
    Bias,
}

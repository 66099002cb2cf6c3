//! The defaults of other libraries: what a network that was trained there, or is compared with one, needs.
//!
//! Each preset sets eps, momentum, the variance that is tracked and what one value per feature gives. Everything else is as in
//! [`Config::default`], the layout too: it follows from the data.

use super::config::{Config, RunningVar};
use super::one_value::OneValue;

impl Config {
    /// PyTorch's `torch.nn.BatchNorm1d`, `2d` and `3d`: eps 10⁻⁵; momentum 0.1, the weight of the *new* statistic; n/(n−1) in the
    /// running variance; an error for one value per feature. It is the default.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>, and `_verify_batch_size` in
    /// `torch/nn/functional.py` for the error.
    ///
    /// ```
    /// use batchnorm::Config;
    ///
    /// assert_eq!(Config::pytorch(), Config::default());
    /// ```
    #[must_use]
    pub fn pytorch() -> Self {
        let config = Self::default().eps(1e-5).momentum(Some(0.1));
        config.running_var(RunningVar::Unbiased).one_value(OneValue::Refused)
    }

    /// Keras 3's `keras.layers.BatchNormalization`: eps 10⁻³; momentum 0.99, there the weight of the *old* statistic, 0.01 here;
    /// the biased variance; y = β for one value per feature. Its feature axis is the last one:
    /// [`layout`](Self::layout)`(Layout::ChannelsLast)`.
    ///
    /// Keras 2, in TensorFlow up to 2.15, runs tensors of four axes on TensorFlow's fused kernel: [`tensorflow`](Self::tensorflow).
    ///
    /// Source: <https://keras.io/api/layers/normalization_layers/batch_normalization/>, and `ops.moments` in
    /// `keras/src/layers/normalization/batch_normalization.py` for the variance.
    ///
    /// ```
    /// use batchnorm::{Config, Layout};
    ///
    /// let config = Config::keras().layout(Layout::ChannelsLast);
    /// assert_eq!((config.eps, config.momentum), (1e-3, Some(0.01)));
    /// ```
    #[must_use]
    pub fn keras() -> Self {
        let config = Self::default().eps(1e-3).momentum(Some(0.01));
        config.running_var(RunningVar::Biased).one_value(OneValue::Bias)
    }

    /// Flax's `flax.linen.BatchNorm` and `flax.nnx.BatchNorm`: eps 10⁻⁵; momentum 0.99, there the weight of the *old* statistic,
    /// 0.01 here; the biased variance; y = β for one value per feature. Its feature axis is the last one, as in
    /// [`keras`](Self::keras).
    ///
    /// Source: <https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/normalization.html>, and `_compute_stats` in
    /// `flax/linen/normalization.py` for the variance.
    ///
    /// ```
    /// use batchnorm::Config;
    ///
    /// assert_eq!(Config::flax(), Config::keras().eps(1e-5));
    /// ```
    #[must_use]
    pub fn flax() -> Self {
        let config = Self::default().eps(1e-5).momentum(Some(0.01));
        config.running_var(RunningVar::Biased).one_value(OneValue::Bias)
    }

    /// ONNX's `BatchNormalization` with `training_mode` = 1, from operator set 15 on: eps 10⁻⁵; momentum 0.9, there the weight of
    /// the *old* statistic, 0.1 here; the population's variance, which is the biased one; y = β for one value per feature.
    ///
    /// Source: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.
    ///
    /// ```
    /// use batchnorm::{Config, RunningVar};
    ///
    /// let config = Config::onnx();
    /// assert_eq!((config.momentum, config.running_var), (Some(0.1), RunningVar::Biased));
    /// ```
    #[must_use]
    pub fn onnx() -> Self {
        let config = Self::default().eps(1e-5).momentum(Some(0.1));
        config.running_var(RunningVar::Biased).one_value(OneValue::Bias)
    }

    /// TensorFlow's `tf.compat.v1.layers.batch_normalization` on its fused kernel, which runs tensors of four axes: eps 10⁻³;
    /// momentum 0.99, there the weight of the *old* statistic, 0.01 here; n/(n−1) in the running variance; y = β for one value per
    /// feature, where the factor counts as 1. Its feature axis is the last one, as in [`keras`](Self::keras). The raw kernel,
    /// `tf.raw_ops.FusedBatchNormV3`, takes the new statistic alone: `momentum(Some(1.0))`.
    ///
    /// Source: <https://www.tensorflow.org/api_docs/python/tf/compat/v1/layers/batch_normalization>, and `rest_size_adjust` in
    /// `tensorflow/core/kernels/fused_batch_norm_op.cc` for the variance.
    ///
    /// ```
    /// use batchnorm::{Config, RunningVar};
    ///
    /// assert_eq!(Config::tensorflow(), Config::keras().running_var(RunningVar::Unbiased));
    /// ```
    #[must_use]
    pub fn tensorflow() -> Self {
        let config = Self::default().eps(1e-3).momentum(Some(0.01));
        config.running_var(RunningVar::Unbiased).one_value(OneValue::Bias)
    }
}

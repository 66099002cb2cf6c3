//! What to do with batches that are not finite.

/// What a commit does with a feature whose batch is not finite: with a NaN or an infinity among its values, or so wide that its
/// mean or its variance, as it is tracked, overflows the type of the statistics.
///
/// One NaN that is taken in stays in the running statistics for good, until
/// [`reset_running_stats`](crate::BatchNorm::reset_running_stats).
///
/// ```
/// use batchnorm::{BatchNorm, Config, NonFinite};
/// use ndarray::array;
///
/// let config = Config::default().non_finite(NonFinite::LeftOut);
/// let mut bn = BatchNorm::<f32>::with_config(2, config)?;
/// bn.forward(&array![[1.0, f32::NAN], [3.0, 0.5]])?;
/// let running = bn.running.as_ref().expect("tracked by default");
/// assert_eq!(running.mean, array![0.2, 0.0]); // the second feature as it was
/// assert_eq!((running.num_batches_tracked, &running.left_out), (1, &array![0, 1]));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NonFinite {
    /// Taken in, as PyTorch does: the feature's running statistics are then NaN or infinite.
    #[default]
    TakenIn,
    /// Left out of that feature's running mean and variance, which stay finite, and counted in
    /// [`RunningStats::left_out`](crate::RunningStats::left_out). Outputs and gradients are what they are.
    LeftOut,
}

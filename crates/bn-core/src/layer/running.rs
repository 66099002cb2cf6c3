//! Running statistics: what evaluation normalizes with.

use crate::num::Real;
use ndarray::Array1;

/// The running mean and variance, and how many batches went into them.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RunningStats<R> {
    /// The running mean, shape (C,); 0 at first.
    pub mean: Array1<R>,
    /// The running variance, shape (C,); 1 at first.
    pub var: Array1<R>,
    /// How many batches have been committed. PyTorch keeps it as an int64.
    pub num_batches_tracked: i64,
}

impl<R: Real> RunningStats<R> {
    /// The statistics of a new layer with `features` features.
    #[must_use]
    pub fn new(features: usize) -> Self {
        let var = Array1::from_elem(features, R::from_f64(1.0));
        Self { mean: Array1::from_elem(features, R::default()), var, num_batches_tracked: 0 }
    }
}

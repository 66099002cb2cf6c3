//! Running statistics: what evaluation normalizes with.

use super::error::Error;
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
    /// How many batches have been committed, those that a feature left out among them. PyTorch keeps it as an int64.
    pub num_batches_tracked: i64,
    /// How many of them each feature left out of its mean and variance, because they were not finite, shape (C,); 0 at first, and
    /// 0 where the layer takes them in: [`NonFinite`](crate::NonFinite). An array of length 0 stands for zeros.
    #[cfg_attr(feature = "serde", serde(default))]
    pub left_out: Array1<i64>,
}

impl<R: Real> RunningStats<R> {
    /// The statistics of a new layer with `features` features.
    ///
    /// ```
    /// use batchnorm::RunningStats;
    ///
    /// let stats = RunningStats::<f32>::new(3);
    /// assert_eq!((stats.mean[2], stats.var[2], stats.num_batches_tracked), (0.0, 1.0, 0));
    /// ```
    #[must_use]
    pub fn new(features: usize) -> Self {
        let var = Array1::from_elem(features, R::from_f64(1.0));
        let (mean, left_out) = (Array1::from_elem(features, R::default()), Array1::from_elem(features, 0));
        Self { mean, var, num_batches_tracked: 0, left_out }
    }

    /// The same, or an error where memory does not hold them.
    pub(super) fn try_new(features: usize) -> Result<Self, Error> {
        let var = filled(features, R::from_f64(1.0))?;
        let (mean, left_out) = (filled(features, R::default())?, filled(features, 0)?);
        Ok(Self { mean, var, num_batches_tracked: 0, left_out })
    }
}

/// An array of one value per feature, if memory holds it.
pub(super) fn filled<V: Clone>(features: usize, value: V) -> Result<Array1<V>, Error> {
    let mut values = Vec::new();
    let too_large = |_| Error::TooManyFeatures { got: features };
    values.try_reserve_exact(features).map_err(too_large)?;
    values.resize(features, value);
    Ok(values.into())
}

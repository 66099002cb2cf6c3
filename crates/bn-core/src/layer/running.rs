//! Running statistics: what evaluation normalizes with.

use super::error::{Error, check_len};
use crate::maths::Moments;
use crate::num::{Dd, Real, Wide};
use ndarray::Array1;

/// Running statistics to read.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a, R> {
    /// The running mean, of length C.
    pub mean: &'a [R],
    /// The running variance, likewise.
    pub var: &'a [R],
}

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

    /// The running statistics of several layers as one (federated averaging), with a weight for each:
    ///
    /// μ = Σw·μᵢ, σ² = Σw·(σᵢ² + (μᵢ−μ)²), the law of total variance; Σw = 1 after they were divided by their sum.
    ///
    /// Everything is computed in wide arithmetic and rounded once. `num_batches_tracked` is the sum of those that have a weight
    /// above 0: all the batches that went into the result; `left_out` likewise, feature by feature. So a cumulative average goes on as if one layer had seen them all.
    ///
    /// # Errors
    /// [`Error::Parts`] without any statistics, for a weight that is negative or not finite, and where all are 0;
    /// [`Error::Length`] where the numbers of features differ.
    ///
    /// ```
    /// use batchnorm::RunningStats;
    /// use ndarray::array;
    ///
    /// let of = |mean, var| RunningStats { mean: array![mean], var: array![var], num_batches_tracked: 10, ..RunningStats::new(1) };
    /// let all = RunningStats::merge(&[(&of(0.0_f32, 1.0), 3.0), (&of(4.0, 1.0), 1.0)])?;
    /// assert_eq!((all.mean[0], all.var[0]), (1.0, 4.0)); // 1 within, 3 between
    /// assert_eq!(all.num_batches_tracked, 20);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge(all: &[(&Self, f64)]) -> Result<Self, Error> {
        Self::merge_each(all, |_, weight, _| weight)
    }

    /// As [`merge`](Self::merge), with the weight that `of_feature` makes of a layer's for one of its features; where none is above 0,
    /// with the layer's own.
    fn merge_each(
        all: &[(&Self, f64)],
        of_feature: impl Fn(&Self, f64, usize) -> f64,
    ) -> Result<Self, Error> {
        let wrong = |expected: &str, got: String| Error::Parts { expected: expected.into(), got };
        let Some((first, _)) = all.first() else {
            return Err(wrong("running statistics to merge", "none".into()));
        };
        let features = first.mean.len();
        for (own, weight) in all {
            check_len("running_mean", features, own.mean.len())?;
            check_len("running_var", features, own.var.len())?;
            if !own.left_out.is_empty() {
                check_len("left_out", features, own.left_out.len())?;
            }
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(wrong("weights that are finite and at least 0", weight.to_string()));
            }
        }
        let most = all.iter().fold(0.0_f64, |most, (_, weight)| most.max(*weight));
        if most == 0.0 {
            return Err(wrong("a weight above 0", format!("{} of 0", all.len())));
        }
        let one = Dd::from_f64(1.0);
        let merged = (0..features).map(|f| {
            let (mut sum, mut weights) = (Moments::default(), 0.0);
            let some = all.iter().any(|(own, weight)| of_feature(own, *weight, f) > 0.0);
            for (own, weight) in all {
                let weight = if some { of_feature(own, *weight, f) } else { *weight };
                let moments = Moments::given::<R>(own.mean[f].to_f64(), own.var[f].to_f64());
                let weight = weight / most;
                sum = sum.merged::<R>(weights, moments, weight);
                weights += weight;
            }
            sum.rounded::<R>(one)
        });
        let merged = merged.collect::<Vec<[R; 2]>>();
        let weighed = all.iter().filter(|(_, weight)| *weight > 0.0);
        let batches = weighed.fold(0_i64, |sum, (own, _)| sum.saturating_add(own.num_batches_tracked));
        let [mean, var] = [0, 1].map(|i| merged.iter().map(|own| own[i]).collect());
        let mut left_out = Array1::from_elem(features, 0_i64);
        for (own, _) in all.iter().filter(|(_, weight)| *weight > 0.0) {
            left_out.iter_mut().zip(&own.left_out).for_each(|(sum, own)| *sum = sum.saturating_add(*own));
        }
        Ok(Self { mean, var, num_batches_tracked: batches, left_out })
    }

    /// As [`merge`](Self::merge), weighed by the numbers of batches: feature by feature, without those that it left out.
    ///
    /// # Errors
    /// As [`merge`](Self::merge): [`Error::Parts`] where no batch went into any of them.
    ///
    /// ```
    /// use batchnorm::RunningStats;
    /// use ndarray::array;
    ///
    /// let of = |mean, batches| RunningStats { mean: array![mean], num_batches_tracked: batches, ..RunningStats::new(1) };
    /// let all = RunningStats::merge_by_batches(&[&of(0.0_f32, 3), &of(4.0, 1)])?;
    /// assert_eq!((all.mean[0], all.var[0], all.num_batches_tracked), (1.0, 4.0, 4));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge_by_batches(all: &[&Self]) -> Result<Self, Error> {
        let weighed = all.iter().map(|own| (*own, own.num_batches_tracked as f64)).collect::<Vec<_>>();
        Self::merge_each(&weighed, |own, batches, f| {
            let left_out = own.left_out.get(f).copied().unwrap_or_default();
            (batches - left_out as f64).max(0.0)
        })
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

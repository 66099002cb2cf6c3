//! Running statistics: what evaluation normalizes with.

use crate::config::RunningVar;
use crate::element::{Element, Real};
use crate::saved::Saved;
use crate::wide::Wide;
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

    /// Weighs a batch in: r ← (1−m)·r + m·s, with m = `momentum`, or 1/(batches so far) where that is `None`.
    pub(crate) fn commit<T>(&mut self, batch: &Saved<T>, momentum: Option<f64>, kind: RunningVar)
    where
        T: Element<Compute = R>,
    {
        self.num_batches_tracked = self.num_batches_tracked.saturating_add(1);
        let one = R::Wide::from_f64(1.0);
        let weight = match momentum {
            Some(m) => R::Wide::from_f64(m),
            None => one / R::Wide::from_f64(self.num_batches_tracked as f64),
        };
        let n = batch.shape.count() as f64;
        let bessel = match kind {
            RunningVar::Unbiased => R::Wide::from_f64(n) / R::Wide::from_f64(n - 1.0),
            RunningVar::Biased => one,
        };
        let blend = |old: R, new: R::Wide| R::round((one - weight) * old.widen() + weight * new);
        for (f, (mean, var)) in self.mean.iter_mut().zip(&mut self.var).enumerate() {
            *mean = blend(*mean, batch.wide_mean(f));
            *var = blend(*var, batch.var[f] * bessel);
        }
    }
}

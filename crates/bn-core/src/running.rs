//! Running statistics: what evaluation normalizes with.

use crate::config::RunningVar;
use crate::element::{Element, Real};
use crate::exec::Backend;
use crate::saved::Saved;
use crate::wide::Wide;
use ndarray::{Array1, Zip};

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
    pub(crate) fn commit<T>(
        &mut self,
        backend: &impl Backend,
        batch: &Saved<T>,
        momentum: Option<f64>,
        kind: RunningVar,
    ) where
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
        let (mean, var) = (&mut self.mean, &mut self.var);
        backend.vectorize(
            #[inline(always)]
            || {
                Zip::from(mean).and(&batch.k).and(&batch.delta).for_each(
                    #[inline(always)]
                    |mean, &k, &delta| *mean = blend(weight, *mean, wide_mean(k, delta)),
                );
                Zip::from(var).and(&batch.var).for_each(
                    #[inline(always)]
                    |var, &batch| *var = blend(weight, *var, batch * bessel),
                );
            },
        );
    }
}

/// The mean k + δ with all its digits; δ of an infinite one is NaN.
#[inline(always)]
fn wide_mean<R: Real>(k: R, delta: f64) -> R::Wide {
    k.widen() + R::Wide::from_f64(if delta.is_finite() { delta } else { 0.0 })
}

#[inline(always)]
fn blend<R: Real>(weight: R::Wide, old: R, new: R::Wide) -> R {
    R::round((R::Wide::from_f64(1.0) - weight) * old.widen() + weight * new)
}

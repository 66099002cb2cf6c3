//! Sums of a backward, or of a double backward, that are known already.

use crate::maths::renorm::{Moved, weigh};
use crate::maths::{HardGrads, HardSums, Moments, Totals, WholeSums, plain};
use crate::num::{Real, Wide};

/// dβ and dγ, with what they came from where that was elsewhere.
pub(super) type Known<'a, R> = (&'a [Totals<R>], Option<Given<'a, R>>);

/// Sums from elsewhere, and what the statistics are from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a, R: Real> {
    pub(crate) totals: &'a [Totals<R>],
    /// dβ and dγ of features whose totals do not tell them; empty where there are none.
    pub(crate) hard: &'a [Option<HardGrads>],
    /// The moments that the statistics are from, where some leave the range; else empty.
    pub(crate) moments: &'a [Moments],
}

impl<R: Real> Given<'_, R> {
    pub(super) fn split_at(self, feature: usize) -> (Self, Self) {
        let (totals, totals1) = self.totals.split_at(feature);
        let (hard, hard1) = self.hard.split_at(feature.min(self.hard.len()));
        let (moments, moments1) = self.moments.split_at(feature.min(self.moments.len()));
        let tail = Self { totals: totals1, hard: hard1, moments: moments1 };
        (Self { totals, hard, moments }, tail)
    }

    /// Puts what `totals` do not tell of dβ and dγ into them. `found` gets these features.
    pub(super) fn tell(&self, totals: &mut [Totals<R>], mut found: impl FnMut(usize)) {
        for (f, grads) in self.hard.iter().enumerate() {
            if let Some(grads) = grads {
                totals[f] = plain::<R>(grads);
                found(f);
            }
        }
    }

    /// Puts dγ = r·Σdy·x̂ + d·Σdy of the features that `totals` do not tell into `dweight`, if it is wanted.
    pub(super) fn weigh(&self, moved: Moved<'_, R>, dweight: &mut [R]) {
        for ((f, grads), to) in self.hard.iter().enumerate().zip(dweight) {
            if let Some([sum, along]) = grads {
                let (v, e) = weigh(moved.get(f), *along, *sum);
                *to = R::from_f64(v.ldexp(e).to_f64());
            }
        }
    }
}

/// Sums over a whole batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<'a, R: Real> {
    pub(crate) totals: &'a [Totals<R>],
    /// Those of features whose totals do not tell them; empty where there are none.
    pub(crate) hard: &'a [Option<HardSums>],
}

impl<R: Real> Whole<'_, R> {
    fn split_at(self, feature: usize) -> (Self, Self) {
        let (totals, totals1) = self.totals.split_at(feature);
        let (hard, hard1) = self.hard.split_at(feature.min(self.hard.len()));
        (Self { totals, hard }, Self { totals: totals1, hard: hard1 })
    }

    /// Those of a feature, which may be too large for its totals, or not finite.
    pub(crate) fn get(&self, f: usize) -> HardSums {
        self.hard.get(f).copied().flatten().unwrap_or_else(|| HardSums::of::<R>(self.totals[f]))
    }
}

/// The sums of a double backward through the statistics of a batch that the tensors are a part of, see [`maths::second`](crate::maths::second).
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenSecond<'a, R: Real> {
    pub(crate) dy: Whole<'a, R>,
    pub(crate) v: Whole<'a, R>,
    /// Around `means`.
    pub(crate) both: Whole<'a, R>,
    pub(crate) means: &'a [R],
}

impl<R: Real> GivenSecond<'_, R> {
    pub(super) fn split_at(self, feature: usize) -> (Self, Self) {
        let ((dy, dy1), (v, v1)) = (self.dy.split_at(feature), self.v.split_at(feature));
        let ((both, both1), (means, means1)) = (self.both.split_at(feature), self.means.split_at(feature));
        let tail = Self { dy: dy1, v: v1, both: both1, means: means1 };
        (Self { dy, v, both, means }, tail)
    }

    /// Those of a hard feature.
    pub(crate) fn get(&self, f: usize) -> WholeSums {
        let pilot = self.means[f].to_f64();
        WholeSums { dy: self.dy.get(f), v: self.v.get(f), both: self.both.get(f), pilot }
    }
}

//! Sums of a backward that are known already.

use crate::maths::renorm::{Moved, weigh};
use crate::maths::{HardGrads, Moments, Totals, plain};
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

//! The statistics of a range of features, each number in an array of its own, so that loops over features become vectors.

use super::coef::Stats;
use crate::num::Real;

/// An array of each number of [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Arrays<K, W> {
    /// The means, rounded to the type.
    pub(crate) k: K,
    /// What the rounding left.
    pub(crate) delta: W,
    /// The biased variances.
    pub(crate) var: W,
    /// 1/√(σ² + eps).
    pub(crate) invstd: W,
}

/// Statistics that are kept.
pub(crate) type StatsVec<R> = Arrays<Vec<R>, Vec<<R as Real>::Wide>>;
/// Statistics to read.
pub(crate) type StatsRef<'a, R> = Arrays<&'a [R], &'a [<R as Real>::Wide]>;
/// Statistics to write.
pub(crate) type StatsMut<'a, R> = Arrays<&'a mut [R], &'a mut [<R as Real>::Wide]>;

impl<R: Real> StatsVec<R> {
    pub(crate) fn resize(&mut self, features: usize) {
        self.k.resize(features, R::default());
        self.delta.resize(features, R::Wide::default());
        self.var.resize(features, R::Wide::default());
        self.invstd.resize(features, R::Wide::default());
    }

    pub(crate) fn as_ref(&self) -> StatsRef<'_, R> {
        Arrays { k: &self.k, delta: &self.delta, var: &self.var, invstd: &self.invstd }
    }

    pub(crate) fn as_mut(&mut self) -> StatsMut<'_, R> {
        Arrays { k: &mut self.k, delta: &mut self.delta, var: &mut self.var, invstd: &mut self.invstd }
    }
}

impl<R: Real> StatsRef<'_, R> {
    #[inline(always)]
    pub(crate) fn get(&self, f: usize) -> Stats<R> {
        Stats { k: self.k[f], delta: self.delta[f], var: self.var[f], invstd: self.invstd[f] }
    }

    #[inline(always)]
    pub(crate) fn split_at(self, f: usize) -> (Self, Self) {
        let ((k, k1), (delta, delta1)) = (self.k.split_at(f), self.delta.split_at(f));
        let ((var, var1), (invstd, invstd1)) = (self.var.split_at(f), self.invstd.split_at(f));
        (Self { k, delta, var, invstd }, Self { k: k1, delta: delta1, var: var1, invstd: invstd1 })
    }
}

impl<R: Real> StatsMut<'_, R> {
    #[inline(always)]
    pub(crate) fn set(&mut self, f: usize, s: &Stats<R>) {
        (self.k[f], self.delta[f], self.var[f], self.invstd[f]) = (s.k, s.delta, s.var, s.invstd);
    }

    /// All zeros.
    pub(crate) fn clear(&mut self) {
        self.k.fill(R::default());
        self.delta.fill(R::Wide::default());
        self.var.fill(R::Wide::default());
        self.invstd.fill(R::Wide::default());
    }

    pub(crate) fn reborrow(&mut self) -> StatsMut<'_, R> {
        Arrays { k: self.k, delta: self.delta, var: self.var, invstd: self.invstd }
    }

    pub(crate) fn as_ref(&self) -> StatsRef<'_, R> {
        Arrays { k: self.k, delta: self.delta, var: self.var, invstd: self.invstd }
    }

    pub(crate) fn split_at(self, f: usize) -> (Self, Self) {
        let ((k, k1), (delta, delta1)) = (self.k.split_at_mut(f), self.delta.split_at_mut(f));
        let ((var, var1), (invstd, invstd1)) = (self.var.split_at_mut(f), self.invstd.split_at_mut(f));
        (Self { k, delta, var, invstd }, Self { k: k1, delta: delta1, var: var1, invstd: invstd1 })
    }
}

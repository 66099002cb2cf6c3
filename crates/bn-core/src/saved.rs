//! What a forward leaves for its backward: O(C) numbers, the shape and the mode.

use crate::coef::Stats;
use crate::element::{Element, Real};
use crate::shape::Shape;
use std::fmt;

/// Which forward was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// With the batch's statistics, which depend on x: the gradient goes through them.
    #[default]
    Train,
    /// Evaluation: with the running statistics, or with the batch's where none are tracked.
    Eval,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Train => "training",
            Mode::Eval => "evaluation",
        })
    }
}

/// The state a forward saves for the backward: per feature the mean (as the pair k + δ), the variance and
/// invstd = 1/√(σ² + eps), together with the shape and the mode. The input itself is passed again.
///
/// An empty one, `Saved::default()`, can be handed to any forward; it is filled in place and allocates only
/// when the number of features grows.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved<T: Element> {
    pub(crate) shape: Shape,
    pub(crate) mode: Mode,
    /// Whether the statistics are the batch's: the gradient then goes through them.
    pub(crate) from_batch: bool,
    pub(crate) k: Vec<T::Compute>,
    pub(crate) delta: Vec<f64>,
    pub(crate) var: Vec<<T::Compute as Real>::Wide>,
    pub(crate) invstd: Vec<<T::Compute as Real>::Wide>,
}

impl<T: Element> Default for Saved<T> {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            mode: Mode::default(),
            from_batch: false,
            k: Vec::new(),
            delta: Vec::new(),
            var: Vec::new(),
            invstd: Vec::new(),
        }
    }
}

impl<T: Element> Saved<T> {
    /// The shape of the forward's tensor.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The mode of the forward.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The mean of each feature, as it was used: the batch's or the running one. Shape (C,).
    pub fn mean(&self) -> impl ExactSizeIterator<Item = T::Compute> {
        self.k.iter().copied()
    }

    /// The biased variance of each feature, as it was used: the batch's or the running one. Shape (C,).
    pub fn var(&self) -> impl ExactSizeIterator<Item = T::Compute> {
        self.var.iter().map(|&v| T::Compute::round(v))
    }

    pub(crate) fn reset(&mut self, shape: Shape, mode: Mode, from_batch: bool) {
        (self.shape, self.mode, self.from_batch) = (shape, mode, from_batch);
        self.k.resize(shape.features(), Default::default());
        self.delta.resize(shape.features(), 0.0);
        self.var.resize(shape.features(), Default::default());
        self.invstd.resize(shape.features(), Default::default());
    }

    pub(crate) fn stats(&self) -> StatsRef<'_, T::Compute> {
        StatsRef { k: &self.k, delta: &self.delta, var: &self.var, invstd: &self.invstd }
    }

    pub(crate) fn stats_mut(&mut self) -> StatsMut<'_, T::Compute> {
        StatsMut { k: &mut self.k, delta: &mut self.delta, var: &mut self.var, invstd: &mut self.invstd }
    }
}

/// The statistics of a range of features, to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatsRef<'a, T: Real> {
    pub(crate) k: &'a [T],
    pub(crate) delta: &'a [f64],
    pub(crate) var: &'a [T::Wide],
    pub(crate) invstd: &'a [T::Wide],
}

impl<T: Real> StatsRef<'_, T> {
    #[inline(always)]
    pub(crate) fn get(&self, f: usize) -> Stats<T> {
        Stats { k: self.k[f], delta: self.delta[f], var: self.var[f], invstd: self.invstd[f] }
    }

    #[inline(always)]
    pub(crate) fn split_at(&self, f: usize) -> (Self, Self) {
        let ((k, k1), (delta, delta1)) = (self.k.split_at(f), self.delta.split_at(f));
        let ((var, var1), (invstd, invstd1)) = (self.var.split_at(f), self.invstd.split_at(f));
        (Self { k, delta, var, invstd }, Self { k: k1, delta: delta1, var: var1, invstd: invstd1 })
    }
}

/// The statistics of a range of features, to write.
#[derive(Debug)]
pub(crate) struct StatsMut<'a, T: Real> {
    pub(crate) k: &'a mut [T],
    pub(crate) delta: &'a mut [f64],
    pub(crate) var: &'a mut [T::Wide],
    pub(crate) invstd: &'a mut [T::Wide],
}

impl<T: Real> StatsMut<'_, T> {
    #[inline(always)]
    pub(crate) fn set(&mut self, f: usize, s: &Stats<T>) {
        (self.k[f], self.delta[f], self.var[f], self.invstd[f]) = (s.k, s.delta, s.var, s.invstd);
    }

    pub(crate) fn reborrow(&mut self) -> StatsMut<'_, T> {
        StatsMut { k: self.k, delta: self.delta, var: self.var, invstd: self.invstd }
    }

    pub(crate) fn as_ref(&self) -> StatsRef<'_, T> {
        StatsRef { k: self.k, delta: self.delta, var: self.var, invstd: self.invstd }
    }

    pub(crate) fn split_at(self, f: usize) -> (Self, Self) {
        let ((k, k1), (delta, delta1)) = (self.k.split_at_mut(f), self.delta.split_at_mut(f));
        let ((var, var1), (invstd, invstd1)) = (self.var.split_at_mut(f), self.invstd.split_at_mut(f));
        (Self { k, delta, var, invstd }, Self { k: k1, delta: delta1, var: var1, invstd: invstd1 })
    }
}

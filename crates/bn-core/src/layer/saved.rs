//! What a forward leaves for its backward: O(C) numbers, the shape and the mode.

use crate::maths::StatsVec;
use crate::num::{Element, Real};
use crate::tensor::Shape;
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
    pub(super) shape: Shape,
    pub(super) mode: Mode,
    /// Whether the statistics are the batch's: the gradient then goes through them.
    pub(super) from_batch: bool,
    /// The values of a feature that the statistics are of.
    pub(super) count: usize,
    pub(super) eps: f64,
    pub(super) stats: StatsVec<T::Compute>,
}

impl<T: Element> Default for Saved<T> {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            mode: Mode::default(),
            from_batch: false,
            count: 0,
            eps: 0.0,
            stats: StatsVec::<T::Compute>::default(),
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
        self.stats.k.iter().copied()
    }

    /// The biased variance of each feature, as it was used: the batch's or the running one. Shape (C,).
    pub fn var(&self) -> impl ExactSizeIterator<Item = T::Compute> {
        self.stats.var.iter().map(|&v| T::Compute::round(v))
    }

    /// Makes room for the statistics of a forward. Of an empty batch there are none: they are zeros.
    pub(super) fn reset(&mut self, shape: Shape, mode: Mode, from_batch: bool, eps: f64) {
        (self.shape, self.mode, self.from_batch, self.eps) = (shape, mode, from_batch, eps);
        self.count = shape.count();
        if shape.is_empty() {
            self.stats.resize(0);
        }
        self.stats.resize(shape.features());
    }
}

//! What steps with options keep from one to the next.

use crate::maths::{Moments, StatsMut, StatsVec, Totals};
use crate::num::{Element, Real};

/// What a gate needs that the caller has not; made where it is needed, and kept.
#[derive(Clone, Debug)]
pub(crate) struct GateRoom<T: Element> {
    passed: Vec<T>,
    y: Vec<T>,
    stats: StatsVec<T::Compute>,
}

impl<T: Element> Default for GateRoom<T> {
    fn default() -> Self {
        Self { passed: Vec::new(), y: Vec::new(), stats: StatsVec::<T::Compute>::default() }
    }
}

impl<T: Element> GateRoom<T> {
    /// For what passes a gate and, where it is not known, for the output that tells it, with statistics: of tensors of `len`
    /// elements.
    pub(crate) fn get(
        &mut self,
        len: usize,
        features: usize,
    ) -> (&mut [T], &mut [T], StatsMut<'_, T::Compute>) {
        let Self { passed, y, stats } = self;
        let of = |own: &mut Vec<T>| {
            if own.len() < len {
                own.resize(len, T::default());
            }
        };
        of(passed);
        of(y);
        stats.resize(features);
        (&mut passed[..len], &mut y[..len], stats.as_mut())
    }
}

/// What is gathered over the virtual batches of a step, and what one of them gives.
#[derive(Clone, Debug)]
pub(crate) struct SumsRoom<R: Real> {
    pub(crate) moments: Vec<Moments>,
    pub(crate) all: Vec<Totals<R>>,
    pub(crate) own: Vec<Totals<R>>,
}

impl<R: Real> Default for SumsRoom<R> {
    fn default() -> Self {
        Self { moments: Vec::new(), all: Vec::new(), own: Vec::new() }
    }
}

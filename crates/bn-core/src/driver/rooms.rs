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
    /// What an activation's backward makes unless the caller has it: what passes the gate, the output that tells it, and its
    /// statistics. See [`room`] for the tensors.
    pub(crate) fn get(&mut self, features: usize) -> (&mut Vec<T>, &mut Vec<T>, StatsMut<'_, T::Compute>) {
        let Self { passed, y, stats } = self;
        stats.resize(features);
        (passed, y, stats.as_mut())
    }
}

/// So many elements of a buffer that is kept. New ones are made as zeros: for f32 and f64 the system gives them, page by page
/// as they are touched, so that a buffer which nobody uses costs nothing.
pub(crate) fn room<T: Element>(buf: &mut Vec<T>, len: usize) -> &mut [T] {
    if buf.len() < len {
        *buf = vec![T::default(); len];
    }
    &mut buf[..len]
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

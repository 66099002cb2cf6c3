//! What is folded at once, where a kernel goes over several such units in one call.

use super::acc::Acc;
use std::ops::Range;

/// The lanes of a block of runs, and where they are handed on: a unit is `rows` strips, or of a single strip `run` values of each
/// feature. So that a kernel need not be left between them.
pub struct Units<'a> {
    /// The lanes of a unit, zeros before its first element.
    pub acc: Acc<'a>,
    /// The strips of a unit.
    pub rows: usize,
    /// The values of a run that are in a unit: fewer than the run has only where `rows` is 1.
    pub run: usize,
    /// Takes the lanes of a unit and leaves zeros.
    pub done: &'a mut dyn FnMut(&mut Acc<'_>),
}

impl Units<'_> {
    /// Hands on the lanes: their unit has been summed.
    #[inline]
    pub fn done(&mut self) {
        (self.done)(&mut self.acc);
    }

    /// The units of `rows` strips with runs of `inner` values in their order: which strips, and which values of their runs.
    #[inline(always)]
    pub fn each(
        &self,
        rows: usize,
        inner: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let (height, len) = (self.rows.max(1), self.run.clamp(1, inner.max(1)));
        (0..rows).step_by(height).flat_map(move |row| {
            let strips = row..rows.min(row + height);
            (0..inner).step_by(len).map(move |at| (strips.clone(), at..inner.min(at + len)))
        })
    }
}

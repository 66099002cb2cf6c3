//! What is folded at once, where a kernel goes over several such units in one call.

use super::acc::Acc;
use super::backend::Kernels;
use super::ops::Sum;
use super::tile::{Fetch, Tile, Walk};
use crate::num::{Element, Real};
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

    /// Adds the values `run` of the strips `rows`.
    pub(super) fn sum<T: Element>(
        &mut self,
        kernels: &(impl Kernels<T> + ?Sized),
        tile: Tile,
        sum: &Sum<'_, T>,
        (rows, run): (Range<usize>, Range<usize>),
    ) {
        let Walk::Runs { inner } = tile.walk else { unreachable!("units are of runs") };
        if run.len() == inner {
            let sum = sum.over::<T>(|strips| strips.rows_range(rows.clone()), |pilots| pilots);
            return kernels.sum(tile, &sum, Fetch::Near, self.acc.from_lane(0));
        }
        for f in 0..tile.features {
            sum_piece(kernels, sum, f, inner, (rows.start, run.clone()), (Fetch::Near, &mut self.acc));
        }
    }
}

/// Adds the values `run` of feature `f` in strip `row` to its lanes.
pub(crate) fn sum_piece<T: Element>(
    kernels: &(impl Kernels<T> + ?Sized),
    sum: &Sum<'_, T>,
    f: usize,
    inner: usize,
    (row, run): (usize, Range<usize>),
    (fetch, acc): (Fetch, &mut Acc<'_>),
) {
    let cols = f * inner + run.start..f * inner + run.end;
    let sum = sum.over::<T>(|strips| strips.piece(row, cols.clone()), |pilots| &pilots[f..=f]);
    let tile = Tile { features: 1, walk: Walk::Runs { inner: run.len() } };
    kernels.sum(tile, &sum, fetch, acc.from_lane(f * T::Compute::LANES));
}

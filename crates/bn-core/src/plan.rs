//! The plan: how a tensor is cut, from its shape and element type alone.
//!
//! Two kinds of cut must not be confused. **Numeric** ones decide which elements share a virtual lane and in
//! which order partial sums are merged: [`Spread`] and `segments`. They follow from the shape and the type, so that
//! no machine or number of threads changes a bit. **Schedule**: `block`, the number of features reduced and then
//! mapped while they are still in cache, and `far`. Features do not touch each other, so any block gives the same bits.

use crate::element::Real;
use crate::kernels::{Fetch, Tile, Walk};
use crate::shape::Shape;
use std::ops::Range;

/// Virtual lanes of one kernel call: two planes of as many f64 (four for f64 data) fit L1.
const MAX_LANES: usize = 2048;
/// What a block of features may occupy to be still in L2 when it is mapped, in bytes, together with the block
/// that is fetched meanwhile.
const BLOCK_BYTES: usize = 400 << 10;
/// The same of long runs, whose next block is summed meanwhile.
pub const RUN_BLOCK_BYTES: usize = 300 << 10;
/// Tensors of more bytes had better be fetched from far ahead: rows of values side by side, short and long runs.
const FAR_ROW_BYTES: usize = 8 << 20;
const FAR_SHORT_RUN_BYTES: usize = 32 << 20;
const FAR_RUN_BYTES: usize = 64 << 20;
/// Features that are counted as one group where segments are made of rows of values side by side.
const GROUP: usize = 256;
/// Rows of few features are dealt to as many accumulators as make a row of about this length.
const PHASE_ROW: usize = 1024;
/// Runs of a feature up to this length are summed position by position, down the strips.
const SHORT_RUN: usize = 256;
/// A segment of the batch has at least this many elements, or the merging shows.
const SEGMENT_LEN: usize = 1 << 16;
/// Segments are made until features times segments give this many jobs.
const SEGMENT_JOBS: usize = 64;

/// How the elements of a feature are spread over virtual lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Long runs: element i of a run goes to lane i mod `LANES`. The kernels walk [`Walk::Rows`].
    Run,
    /// Short runs: every position of a run is a lane, so that the kernels see one long row and no tails.
    Positions(usize),
    /// One value to a row: rows are dealt in turn to this many lanes; more than one where rows are short.
    Phases(usize),
}

/// How a tensor of one shape and type is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The shape that is walked: the tensor's, but for one feature, whose values are rows of one.
    pub shape: Shape,
    /// The lanes of a feature.
    pub spread: Spread,
    /// The batch is summed in this many parts, merged in a tree of halves.
    pub segments: usize,
    /// Features to a block.
    pub block: usize,
    /// Whether the tensor is too large for the caches.
    pub far: bool,
}

/// What a kernel gets in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the strips hold.
    pub tile: Tile,
    /// Where in a row of coefficients, spread over the lanes of a row, those of the strips begin.
    pub start: usize,
    /// How many strips.
    pub rows: usize,
    /// The length of a strip.
    pub len: usize,
}

impl Plan {
    /// The plan for tensors of `shape` with elements computed in `T`.
    pub fn new<T: Real>(shape: Shape) -> Self {
        let (count, features) = (shape.count(), shape.features());
        // A shape with the same product as a valid one is valid.
        let walked = if features == 1 { Shape::new(count, 1, 1).unwrap_or(shape) } else { shape };
        let spread = match walked.inner() {
            1 => Spread::Phases((PHASE_ROW / features.max(1)).min(count / 16).max(1)),
            inner if inner <= SHORT_RUN => Spread::Positions(inner),
            _ => Spread::Run,
        };
        let (block, groups) = match spread {
            Spread::Run => (run_block::<T>(count, RUN_BLOCK_BYTES), features),
            // Powers of two, so that blocks of whole strips begin where cache lines do.
            Spread::Positions(inner) => {
                (power_below(fitting::<T>(count, BLOCK_BYTES).clamp(1, MAX_LANES / inner)), features)
            }
            // Whole pages of a row, or joined rows: narrower pieces of it that stay in L2 were measured to be slower.
            Spread::Phases(_) => (MAX_LANES / 2, features.div_ceil(GROUP)),
        };
        let most = (walked.outer() / phases_of(spread)).max(1);
        let segments = (shape.len() / SEGMENT_LEN).min(SEGMENT_JOBS / groups.max(1)).clamp(1, most);
        let far_bytes = match spread {
            Spread::Run => FAR_RUN_BYTES,
            Spread::Positions(_) => FAR_SHORT_RUN_BYTES,
            Spread::Phases(_) => FAR_ROW_BYTES,
        };
        let far = shape.len() * size_of::<T>() > far_bytes;
        Self { shape: walked, spread, segments, block, far }
    }

    /// The same with blocks of long runs that take up to `bytes` bytes.
    #[must_use]
    pub fn with_run_blocks<T: Real>(self, bytes: usize) -> Self {
        match self.spread {
            Spread::Run => Self { block: run_block::<T>(self.shape.count(), bytes), ..self },
            _ => self,
        }
    }

    /// Whether strips with gaps between them can be walked as they are.
    pub fn takes_strides(&self, shape: Shape) -> bool {
        self.phases() == 1 && self.shape == shape
    }

    /// Rows that are joined to one.
    pub fn phases(&self) -> usize {
        phases_of(self.spread)
    }

    /// How often a feature's coefficients stand in a row: once per lane but in long runs.
    pub fn copies(&self) -> usize {
        match self.spread {
            Spread::Run => 1,
            Spread::Positions(n) | Spread::Phases(n) => n,
        }
    }

    /// Spreads `values`, one per feature, over `row` as the lanes of a row are.
    pub fn spread_over<V: Copy>(&self, values: &[V], row: &mut [V]) {
        match self.spread {
            Spread::Run | Spread::Phases(_) => {
                for phase in row.chunks_exact_mut(values.len().max(1)) {
                    phase.copy_from_slice(values);
                }
            }
            Spread::Positions(n) => {
                for (run, v) in row.chunks_exact_mut(n).zip(values) {
                    run.fill(*v);
                }
            }
        }
    }

    /// The virtual lanes that `features` features take.
    pub fn lanes<T: Real>(&self, features: usize) -> usize {
        match self.spread {
            Spread::Run => features * T::LANES,
            Spread::Positions(n) | Spread::Phases(n) => features * n,
        }
    }

    /// The columns of the features `features`.
    pub fn columns(&self, features: Range<usize>) -> Range<usize> {
        features.start * self.shape.inner()..features.end * self.shape.inner()
    }

    /// The rows of segment `i`, a whole number of phases but for the last one's end.
    pub fn segment(&self, i: usize) -> Range<usize> {
        let phases = self.phases();
        let groups = self.shape.outer() / phases;
        let bound = |i: usize| (groups * i / self.segments) * phases;
        let end = if i + 1 == self.segments { self.shape.outer() } else { bound(i + 1) };
        bound(i)..end
    }

    /// What `rows` strips of `len` elements are handed to the kernels in, from the first element on. With phases, rows
    /// are joined, and what is left over makes a shorter one.
    ///
    /// With a `shift`, the rows begin so many elements late, and what is before the first of them is a part of its own.
    /// So they begin with a cache line where the tensor does not. Strips must then lie one behind the other.
    pub fn parts(&self, rows: usize, len: usize, shift: usize) -> [Part; 3] {
        let part = |walk: Walk, features, start, rows, len| {
            let tile = Tile { features, walk, fetch: Fetch::Near };
            Part { tile, start, rows, len }
        };
        let lanes = |start, rows, len| part(Walk::Lanes, len, start, rows, len);
        let none = lanes(0, 0, 0);
        if let Spread::Run = self.spread {
            let inner = self.shape.inner();
            return [part(Walk::Rows { inner }, len / inner, 0, rows, len), none, none];
        }
        let (joined, all) = ((len * self.phases()).max(1), rows * len);
        let head = shift.min(all);
        let (body, rest) = ((all - head) / joined, (all - head) % joined);
        [
            lanes(joined - shift, usize::from(head > 0), head),
            lanes(0, body, joined),
            lanes(0, usize::from(rest > 0), rest),
        ]
    }
}

/// Features of `count` elements that `bytes` bytes hold.
fn fitting<T>(count: usize, bytes: usize) -> usize {
    bytes / (count.max(1) * size_of::<T>())
}

/// Features to a block of long runs.
fn run_block<T: Real>(count: usize, bytes: usize) -> usize {
    fitting::<T>(count, bytes).clamp(1, MAX_LANES / T::LANES)
}

fn phases_of(spread: Spread) -> usize {
    if let Spread::Phases(n) = spread { n } else { 1 }
}

/// The largest power of two that is not above `n` ≥ 1.
fn power_below(n: usize) -> usize {
    1 << n.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(outer: usize, features: usize, inner: usize) -> Plan {
        Plan::new::<f32>(Shape::new(outer, features, inner).unwrap())
    }

    #[test]
    fn segments_cover_the_rows_once() {
        for (outer, features, inner) in
            [(400_000, 1, 1), (100_352, 3, 1), (32, 3, 50_176), (7, 5, 3), (0, 4, 1)]
        {
            let plan = plan(outer, features, inner);
            let mut next = 0;
            for i in 0..plan.segments {
                let rows = plan.segment(i);
                assert_eq!(rows.start, next);
                assert!(rows.end == plan.shape.outer() || rows.len().is_multiple_of(plan.phases()));
                next = rows.end;
            }
            assert_eq!(next, plan.shape.outer(), "{plan:?}");
        }
    }

    #[test]
    fn few_features_get_phases_and_segments() {
        let one = plan(400_000, 1, 1);
        assert_eq!((one.spread, one.segments > 1), (Spread::Phases(1024), true));
        assert_eq!(plan(32, 1, 12_544).shape, Shape::new(32 * 12_544, 1, 1).unwrap());
        assert_eq!(plan(4, 5, 1).spread, Spread::Phases(1));
        assert_eq!(plan(4096, 1024, 1).spread, Spread::Phases(1));
        assert_eq!(plan(32, 2048, 49).spread, Spread::Positions(49));
        assert_eq!(plan(32, 64, 12_544).spread, Spread::Run);
        assert_eq!(plan(32, 64, 12_544).segments, 1);
    }

    #[test]
    fn a_kernel_call_stays_within_its_lanes() {
        for (outer, features, inner) in [(32, 2048, 49), (32, 64, 12_544), (128, 5000, 1), (1000, 100, 1)] {
            let shape = Shape::new(outer, features, inner).unwrap();
            let (single, double) = (Plan::new::<f32>(shape), Plan::new::<f64>(shape));
            assert!(single.lanes::<f32>(single.block.min(features)) <= MAX_LANES, "{single:?}");
            assert!(double.lanes::<f64>(double.block.min(features)) <= MAX_LANES, "{double:?}");
            let large = single.with_run_blocks::<f32>(usize::MAX);
            assert!(large.lanes::<f32>(large.block.min(features)) <= MAX_LANES, "{large:?}");
        }
    }

    #[test]
    fn joined_rows_are_never_cut() {
        for features in (1..1100).step_by(7) {
            for count in (1..2000).step_by(13) {
                let plan = plan(count, features, 1);
                assert!(plan.phases() == 1 || plan.block >= features, "({count}, {features}): {plan:?}");
            }
        }
    }

    #[test]
    fn parts_cover_a_block_once_and_keep_its_coefficients() {
        for (outer, features, inner) in
            [(4096, 1024, 1), (70, 16, 1), (3, 1024, 1), (2, 16, 1), (9, 8, 49), (9, 8, 300), (5, 0, 1)]
        {
            let plan = plan(outer, features, inner);
            let len = features * inner;
            for shift in if plan.spread == Spread::Run { 0..1 } else { 0..16.min(len + 1) } {
                let (row, mut at) = ((len * plan.phases()).max(1), 0);
                for part in plan.parts(outer, len, shift) {
                    for _ in 0..part.rows {
                        // The row of coefficients is rotated by as much as the rows are shifted.
                        assert!(part.len <= row && (part.start + shift) % row == at % row, "{part:?}");
                        at += part.len;
                    }
                }
                assert_eq!(at, outer * len, "{plan:?}, {shift}");
            }
        }
    }

    #[test]
    fn values_are_spread_as_lanes_are() {
        let mut plan = plan(4, 3, 2);
        let mut row = [0; 6];
        plan.spread_over(&[1, 2, 3], &mut row);
        assert_eq!(row, [1, 1, 2, 2, 3, 3]);
        plan.spread = Spread::Phases(2);
        plan.spread_over(&[1, 2, 3], &mut row);
        assert_eq!(row, [1, 2, 3, 1, 2, 3]);
        plan.spread = Spread::Run;
        plan.spread_over(&[1, 2, 3], &mut row[..3]);
        assert_eq!(row[..3], [1, 2, 3]);
    }
}

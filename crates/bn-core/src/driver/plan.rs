//! The numeric plan: which elements share a virtual lane, and in which order partial sums are merged.
//!
//! It follows from a tensor's shape and element type alone, so that no machine or number of threads changes a bit. What
//! changes none is no part of it: see [`cut`](super::cut).

use crate::kernel::{Spread, Tile, Walk};
use crate::num::Real;
use crate::tensor::{Shape, Strips, StripsMut};
use std::ops::Range;

/// Virtual lanes of one kernel call: two planes of as many f64 (four for f64 data) fit L1.
pub(super) const MAX_LANES: usize = 2048;
/// Features that are counted as one group where segments are made of rows of values side by side.
const SEGMENT_FEATURES: usize = 256;
/// Rows of few features are dealt to as many accumulators as make a row of about this length.
const PHASE_ROW: usize = 1024;
/// Runs of a feature up to this length are summed position by position, down the strips.
const SHORT_RUN: usize = 256;
/// A segment of the batch has at least this many elements, or the merging shows.
const SEGMENT_LEN: usize = 1 << 16;
/// Segments are made until features times segments give this many jobs.
const SEGMENT_JOBS: usize = 64;

/// How a tensor of one shape and type is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The shape that is walked: the tensor's, but for one feature, whose values are rows of one.
    pub(crate) shape: Shape,
    /// The lanes of a feature.
    pub(crate) spread: Spread,
    /// The batch is summed in this many parts, merged in a tree of halves.
    pub(crate) segments: usize,
}

/// What a kernel gets in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// What the strips hold.
    pub(crate) tile: Tile,
    /// Where in a row of coefficients, spread over the lanes of a row, those of the strips begin.
    pub(crate) start: usize,
    /// How many strips.
    pub(crate) rows: usize,
    /// The length of a strip.
    pub(crate) len: usize,
    /// Elements of the block that come before, where strips are joined or shifted; else they are taken as they are.
    pub(crate) before: Option<usize>,
}

impl Part {
    /// What of a block's strips belongs to it.
    pub(crate) fn of<'a, T: Copy>(&self, strips: Strips<'a, T>) -> Strips<'a, T> {
        let Some(before) = self.before else {
            return strips.rows_range(0..self.rows);
        };
        let all = strips.as_slice().unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"));
        let strips = Strips::from_slice(&all[before..], self.rows, self.len);
        strips.unwrap_or_else(|| unreachable!("a part lies within its block"))
    }
}

impl Plan {
    /// The plan for tensors of `shape`.
    pub(crate) fn new(shape: Shape) -> Self {
        let (count, features) = (shape.count(), shape.features());
        // A shape with the same product as a valid one is valid.
        let walked = if features == 1 { Shape::new(count, 1, 1).unwrap_or(shape) } else { shape };
        let spread = match walked.inner() {
            1 => Spread::Phases((PHASE_ROW / features.max(1)).min(count / 16).max(1)),
            inner if inner <= SHORT_RUN => Spread::Positions(inner),
            _ => Spread::Run,
        };
        // What segments are counted against: runs feature by feature, values side by side many at a time.
        let groups = match spread {
            Spread::Run | Spread::Positions(_) => features,
            Spread::Phases(_) => features.div_ceil(SEGMENT_FEATURES),
        };
        let most = (walked.outer() / phases_of(spread)).max(1);
        let segments = (shape.len() / SEGMENT_LEN).min(SEGMENT_JOBS / groups.max(1)).clamp(1, most);
        Self { shape: walked, spread, segments }
    }

    /// Whether strips with gaps between them can be walked as they are.
    pub(crate) fn takes_strides(&self, shape: Shape) -> bool {
        self.phases() == 1 && self.shape == shape
    }

    /// Rows that are joined to one.
    pub(crate) fn phases(&self) -> usize {
        phases_of(self.spread)
    }

    /// How often a feature's coefficients stand in a row: once per lane but in long runs.
    pub(crate) fn copies(&self) -> usize {
        match self.spread {
            Spread::Run => 1,
            Spread::Positions(n) | Spread::Phases(n) => n,
        }
    }

    /// Spreads `values`, one per feature, over `row` as the lanes of a row are.
    pub(crate) fn spread_over<V: Copy>(&self, values: &[V], row: &mut [V]) {
        match self.spread {
            Spread::Run | Spread::Phases(_) => {
                for phase in row.chunks_exact_mut(values.len().max(1)) {
                    phase.copy_from_slice(values);
                }
            }
            // Short runs with their length known: a feature of few values must not cost more than they do.
            Spread::Positions(2) => spread_runs::<V, 2>(values, row),
            Spread::Positions(3) => spread_runs::<V, 3>(values, row),
            Spread::Positions(4) => spread_runs::<V, 4>(values, row),
            Spread::Positions(n) => {
                for (run, v) in row.chunks_exact_mut(n).zip(values) {
                    run.fill(*v);
                }
            }
        }
    }

    /// The virtual lanes that `features` features take.
    pub(crate) fn lanes<T: Real>(&self, features: usize) -> usize {
        match self.spread {
            Spread::Run => features * T::LANES,
            Spread::Positions(n) | Spread::Phases(n) => features * n,
        }
    }

    /// The rows of segment `i`, a whole number of phases but for the last one's end.
    pub(crate) fn segment(&self, i: usize) -> Range<usize> {
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
    pub(crate) fn parts(&self, rows: usize, len: usize, shift: usize) -> [Part; 3] {
        let as_they_are = self.phases() == 1 && shift == 0;
        let part = |walk: Walk, features, start, rows, len, before| {
            let before = (!as_they_are).then_some(before);
            Part { tile: Tile { features, walk }, start, rows, len, before }
        };
        let columns = |start, rows, len, before| part(Walk::Columns, len, start, rows, len, before);
        let none = columns(0, 0, 0, 0);
        if let Spread::Run = self.spread {
            let inner = self.shape.inner();
            return [part(Walk::Runs { inner }, len / inner, 0, rows, len, 0), none, none];
        }
        let (joined, all) = ((len * self.phases()).max(1), rows * len);
        let head = shift.min(all);
        let (body, rest) = ((all - head) / joined, (all - head) % joined);
        [
            columns(joined - shift, usize::from(head > 0), head, 0),
            columns(0, body, joined, head),
            columns(0, usize::from(rest > 0), rest, all - rest),
        ]
    }

    /// `strips` of the tensor `shape` as they are walked; they must be contiguous where another shape is.
    pub(crate) fn walked<'a, T: Copy>(&self, shape: Shape, strips: Strips<'a, T>) -> Strips<'a, T> {
        if self.shape == shape {
            return strips;
        }
        strips
            .as_slice()
            .and_then(|s| self.shape.strips(s))
            .unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"))
    }

    /// As [`Plan::walked`], to write.
    pub(crate) fn walked_mut<'a, T: Copy>(&self, shape: Shape, strips: StripsMut<'a, T>) -> StripsMut<'a, T> {
        if self.shape == shape {
            return strips;
        }
        let output = strips.into_output().and_then(|to| self.shape.strips_mut(to));
        output.unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"))
    }

    /// A block's strips to write, as the kernels get them, see [`Plan::parts`].
    pub(crate) fn parts_mut<'a, T: Copy>(
        &self,
        parts: &[Part; 3],
        strips: StripsMut<'a, T>,
    ) -> [StripsMut<'a, T>; 3] {
        if parts[0].before.is_none() {
            let (first, behind) = strips.split_rows(parts[0].rows);
            let (second, third) = behind.split_rows(parts[1].rows);
            return [first, second, third];
        }
        let mut rest = strips.into_output().unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"));
        parts.map(|part| {
            let (values, behind) = std::mem::take(&mut rest).split_at(part.rows * part.len);
            rest = behind;
            let strips = StripsMut::from_output(values, part.rows, part.len);
            strips.unwrap_or_else(|| unreachable!("cut to length"))
        })
    }
}

pub(super) const NEEDS_CONTIGUOUS: &str = "strided strips reach the driver only where Plan::takes_strides";

fn phases_of(spread: Spread) -> usize {
    if let Spread::Phases(n) = spread { n } else { 1 }
}

/// Each value N times.
fn spread_runs<V: Copy, const N: usize>(values: &[V], row: &mut [V]) {
    for (run, v) in row.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *run = [*v; N];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(outer: usize, features: usize, inner: usize) -> Plan {
        Plan::new(Shape::new(outer, features, inner).unwrap())
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

//! The numeric plan: which elements share a virtual lane, and in which order partial sums are merged.
//!
//! It follows from features, inner and the place of a sample alone: no machine or number of threads changes a bit, and a part
//! of a batch has the sums that it has within the whole. What changes no bit is no part of it: see [`cut`](super::cut).

use super::tree::Tree;
use crate::kernel::{Spread, Tile, Walk};
use crate::num::Real;
use crate::tensor::{Held, Shape, Strips, StripsMut};
use std::ops::Range;

/// Virtual lanes of one kernel call: two planes of as many f64 (four for f64 data) fit L1.
pub(super) const MAX_LANES: usize = 2048;
/// Rows of few features are dealt to as many lanes as make a row of at most this length.
const PHASE_ROW: usize = 1024;
/// To more than so many, a power of two, only where rows are whole cache lines of f32, or as long as that makes a row of at most
/// [`SHORT_ROW`]: small batches must not be spread too thin.
const FEW_PHASES: usize = 4;
const WHOLE_LINES: usize = 16;
const SHORT_ROW: usize = 256;
/// Runs of a feature up to this length are summed position by position, down the strips.
const SHORT_RUN: usize = 256;
/// The strips of a leaf where each lane takes in one value of each: rows of values side by side, joined or not; fewer where many
/// rows are joined to a strip.
const LEAF_ROWS: usize = 128;
const LEAF_JOINED_ROWS: usize = 64;
/// A leaf of short runs has about so many values of a feature, but at least and at most so many samples.
const SHORT_LEAF: usize = 2048;
const SHORT_LEAF_SAMPLES: (usize, usize) = (32, LEAF_ROWS);
/// A leaf of several long runs has at most so many values of a feature.
const LONG_LEAF: usize = 8192;
/// The longest piece of a run: longer ones are cut. 112·112 is one.
const PIECE: usize = 12_800;

/// How many rows of so many features are joined.
fn phases(features: usize) -> usize {
    match PHASE_ROW / features.max(1) {
        few @ 0..FEW_PHASES => few.max(1),
        many if features.is_multiple_of(WHOLE_LINES) => 1 << many.ilog2(),
        _ => 1 << (SHORT_ROW / features.max(1)).max(FEW_PHASES).ilog2(),
    }
}

/// How a tensor of one shape and type is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The shape that is walked: the tensor's, but for one feature, whose values are rows of one.
    pub(crate) shape: Shape,
    /// The lanes of a feature.
    pub(crate) spread: Spread,
    /// In which order the sums of units are merged.
    pub(crate) tree: Tree,
    /// The rows of a leaf.
    leaf: usize,
    /// The length of a piece, in rows of one feature or values of a run; of a leaf's, where that is one piece.
    piece: usize,
}

/// What is summed and folded at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) rows: Range<usize>,
    /// Of a single row, these values of each feature's run; else all.
    pub(crate) run: Option<Range<usize>>,
}

/// The samples of a leaf in tensors of so many features with so many values in a sample.
pub(crate) fn leaf_samples(features: usize, inner: usize) -> usize {
    // A power of two, as the sizes of batches are.
    let values = |values: usize| 1 << (values / inner.max(1)).max(1).ilog2();
    match spread(features, inner) {
        Spread::Phases(phases) => values(leaf_rows(phases)),
        Spread::Positions(_) => values(SHORT_LEAF).clamp(SHORT_LEAF_SAMPLES.0, SHORT_LEAF_SAMPLES.1),
        Spread::Run => values(LONG_LEAF),
    }
}

/// The rows of a leaf or of a piece, where so many are joined.
fn leaf_rows(phases: usize) -> usize {
    phases * if phases > FEW_PHASES { LEAF_JOINED_ROWS } else { LEAF_ROWS }
}

fn spread(features: usize, inner: usize) -> Spread {
    match inner {
        // The values of a single feature are all one row.
        _ if features == 1 => Spread::Phases(phases(1)),
        1 => Spread::Phases(phases(features)),
        inner if inner <= SHORT_RUN => Spread::Positions(inner),
        _ => Spread::Run,
    }
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
        if strips.is_absent() {
            return Strips::absent(self.rows, self.len);
        }
        let all = strips.as_slice().unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"));
        let strips = Strips::from_slice(&all[before..], self.rows, self.len);
        strips.unwrap_or_else(|| unreachable!("a part lies within its block"))
    }
}

impl Plan {
    /// The plan for tensors of `shape`.
    pub(crate) fn new(shape: Shape) -> Self {
        let (features, inner) = (shape.features(), shape.inner());
        let (samples, spread) = (leaf_samples(features, inner), spread(features, inner));
        // A shape with the same product as a valid one is valid.
        let turned = features == 1;
        let walked = if turned { Shape::new(shape.count(), 1, 1).unwrap_or(shape) } else { shape };
        let (sample, piece) = match spread {
            Spread::Run => (inner, PIECE),
            Spread::Phases(phases) if turned => (inner, leaf_rows(phases)),
            Spread::Phases(_) | Spread::Positions(_) => (1, usize::MAX),
        };
        // A leaf of one long sample is cut, and one of several is not.
        let pieces = if samples == 1 { sample.div_ceil(piece).max(1) } else { 1 };
        let tree = Tree { leaves: shape.outer().div_ceil(samples), pieces };
        let leaf = if turned { samples * inner } else { samples };
        Self { shape: walked, spread, tree, leaf, piece }
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

    /// The most features of a block that a kernel call has lanes for.
    pub(crate) fn widest<T: Real>(&self) -> usize {
        match self.spread {
            Spread::Run => MAX_LANES / T::LANES,
            Spread::Positions(inner) => MAX_LANES / inner,
            // Whole pages of a row, or joined rows.
            Spread::Phases(_) => MAX_LANES / 2,
        }
    }

    /// The virtual lanes that `features` features take.
    pub(crate) fn lanes<T: Real>(&self, features: usize) -> usize {
        match self.spread {
            Spread::Run => features * T::LANES,
            Spread::Positions(n) | Spread::Phases(n) => features * n,
        }
    }

    /// What is folded at once as piece `piece` of leaf `leaf`.
    pub(crate) fn unit(&self, leaf: usize, piece: usize) -> Unit {
        let rows = leaf * self.leaf..((leaf + 1) * self.leaf).min(self.shape.outer());
        if self.tree.pieces == 1 {
            return Unit { rows, run: None };
        }
        let whole = if self.spread == Spread::Run { self.shape.inner() } else { rows.len() };
        let (start, end) = (piece * self.piece, ((piece + 1) * self.piece).min(whole));
        match self.spread {
            Spread::Run => Unit { rows, run: Some(start..end) },
            _ => Unit { rows: rows.start + start..rows.start + end, run: None },
        }
    }

    /// The strips of a unit and the values of a run in it, where the lanes are those of long runs.
    pub(crate) fn unit_of_runs(&self) -> (usize, usize) {
        (self.leaf, if self.tree.pieces == 1 { self.shape.inner() } else { self.piece })
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
        if strips.is_absent() {
            return Strips::absent(self.shape.outer(), self.shape.features() * self.shape.inner());
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

    /// As [`Plan::walked`], of strips that hold values.
    pub(crate) fn walked_held<'a, T: Copy>(&self, shape: Shape, held: Held<'a, T>) -> Held<'a, T> {
        if self.shape == shape {
            return held;
        }
        held.reshaped(self.shape).unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"))
    }

    /// As [`Plan::parts_mut`], likewise.
    pub(crate) fn parts_held<'a, T: Copy>(&self, parts: &[Part; 3], held: Held<'a, T>) -> [Held<'a, T>; 3] {
        if parts[0].before.is_none() {
            let (first, behind) = held.split_rows(parts[0].rows);
            let (second, third) = behind.split_rows(parts[1].rows);
            return [first, second, third];
        }
        let mut rest = held.into_slice().unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"));
        parts.map(|part| {
            let (values, behind) = std::mem::take(&mut rest).split_at_mut(part.rows * part.len);
            rest = behind;
            let held = Held::from_slice(values, part.rows, part.len);
            held.unwrap_or_else(|| unreachable!("cut to length"))
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
mod tests;

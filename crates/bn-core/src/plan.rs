//! The plan: how a tensor is cut, from its shape and element type alone.
//!
//! Two kinds of cut must not be confused. **Numeric** ones decide which elements share a virtual lane and in
//! which order partial sums are merged: [`Walk`], `phases` and `segments`. They follow from the shape and the
//! type, so that no machine or number of threads changes a bit. **Schedule**: `block`, the number of features
//! reduced and then mapped while they are still in cache. Features do not touch each other, so any block
//! gives the same bits.

use crate::element::Real;
use crate::kernels::{Tile, Walk};
use crate::shape::Shape;
use std::ops::Range;

/// Virtual lanes of one kernel call: two planes of as many f64 (four for f64 data) fit L1.
const MAX_LANES: usize = 1024;
/// What a block of features may occupy to be still in L2 when it is mapped, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// Where features stand side by side, fewer than this many to a row make DRAM pages and TLB the limit.
const MIN_ROW: usize = 256;
/// Rows of few features are dealt to as many accumulators as make a row of about this length.
const PHASE_ROW: usize = 256;
/// A segment of the batch has at least this many elements, or the merging shows.
const SEGMENT_LEN: usize = 1 << 16;
/// Segments are made until features times segments give this many jobs.
const SEGMENT_JOBS: usize = 64;

/// How a tensor of one shape and type is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The shape that is walked: the tensor's, but for one feature, whose values are rows of one.
    pub shape: Shape,
    /// Rows dealt in turn to this many accumulators of a feature; 1 but for few features side by side.
    pub phases: usize,
    /// The batch is summed in this many parts, merged in order.
    pub segments: usize,
    /// Features to a block.
    pub block: usize,
}

impl Plan {
    /// The plan for tensors of `shape` with elements computed in `T`.
    pub fn new<T: Real>(shape: Shape) -> Self {
        let count = shape.count();
        let (features, inner) =
            if shape.features() == 1 { (1, 1) } else { (shape.features(), shape.inner()) };
        let bytes = count.max(1) * size_of::<T>();
        let many = shape.len() / SEGMENT_LEN;
        // A shape of the same or a smaller product than a valid one is valid.
        let walked = if shape.features() == 1 { Shape::new(count, 1, 1).unwrap_or(shape) } else { shape };
        let (phases, block, groups) = if inner > 1 {
            let block = (BLOCK_BYTES / bytes).clamp(1, MAX_LANES / T::LANES);
            (1, block, features)
        } else {
            let phases = (PHASE_ROW / features.max(1)).min(count / 16).max(1);
            let block = (BLOCK_BYTES / bytes / MIN_ROW * MIN_ROW).clamp(MIN_ROW, MAX_LANES);
            (phases, block, features.div_ceil(MIN_ROW))
        };
        let segments = many.min(SEGMENT_JOBS / groups.max(1)).clamp(1, (walked.outer() / phases).max(1));
        Self { shape: walked, phases, segments, block }
    }

    /// Whether strips with gaps between them can be walked as they are.
    pub fn takes_strides(&self, shape: Shape) -> bool {
        self.phases == 1 && self.shape == shape
    }

    /// The virtual lanes that `features` features take.
    pub fn lanes<T: Real>(&self, features: usize) -> usize {
        match self.walk() {
            Walk::Rows { .. } => features * T::LANES,
            Walk::Lanes => features * self.phases,
        }
    }

    /// How the strips are walked.
    pub fn walk(&self) -> Walk {
        match self.shape.inner() {
            1 => Walk::Lanes,
            inner => Walk::Rows { inner },
        }
    }

    /// The columns of the features `features`.
    pub fn columns(&self, features: Range<usize>) -> Range<usize> {
        features.start * self.shape.inner()..features.end * self.shape.inner()
    }

    /// The rows of segment `i`, a whole number of phases but for the last one's end.
    pub fn segment(&self, i: usize) -> Range<usize> {
        let groups = self.shape.outer() / self.phases;
        let bound = |i: usize| (groups * i / self.segments) * self.phases;
        let end = if i + 1 == self.segments { self.shape.outer() } else { bound(i + 1) };
        bound(i)..end
    }

    /// The tiles that `rows` strips of `len` elements are handed to the kernels in: as (tile, strips,
    /// strip length), from the first row on. With phases, rows are joined to rows of virtual features, and
    /// what is left over makes a shorter one.
    pub fn tiles(&self, rows: usize, len: usize) -> [(Tile, usize, usize); 2] {
        let (walk, features) = (self.walk(), len / self.shape.inner().max(1));
        let tile =
            |features: usize, rows: usize| (Tile { features, walk }, rows, features * self.shape.inner());
        [
            tile(features * self.phases, rows / self.phases),
            tile(features * (rows % self.phases), usize::from(!rows.is_multiple_of(self.phases))),
        ]
    }
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
                assert!(rows.end == plan.shape.outer() || rows.len().is_multiple_of(plan.phases));
                next = rows.end;
            }
            assert_eq!(next, plan.shape.outer(), "{plan:?}");
        }
    }

    #[test]
    fn few_features_get_phases_and_segments() {
        let one = plan(400_000, 1, 1);
        assert_eq!((one.phases, one.segments > 1), (256, true));
        assert_eq!(plan(32, 1, 12_544).shape, Shape::new(32 * 12_544, 1, 1).unwrap());
        assert_eq!(plan(4, 5, 1).phases, 1);
        assert_eq!(plan(4096, 1024, 1).phases, 1);
        assert_eq!(plan(32, 64, 12_544).segments, 1);
    }

    #[test]
    fn a_kernel_call_stays_within_its_lanes() {
        for (outer, features, inner) in [(32, 2048, 49), (32, 64, 12_544), (128, 5000, 1), (1000, 100, 1)] {
            let shape = Shape::new(outer, features, inner).unwrap();
            for (plan, lanes) in [(Plan::new::<f32>(shape), 32), (Plan::new::<f64>(shape), 8)] {
                let block = plan.block.min(features);
                let per_feature = if inner > 1 { lanes } else { plan.phases };
                assert!(block * per_feature <= MAX_LANES, "{plan:?}");
            }
        }
    }
}

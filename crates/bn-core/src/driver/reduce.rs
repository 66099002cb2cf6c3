//! Sums of a block: kernels fill virtual lanes, segment by segment; the lanes are folded in one fixed tree.

use crate::element::Real;
use crate::kernels::{Acc, Plane};
use crate::plan::{Plan, tree};
use crate::wide::Wide;
use std::ops::Range;

/// Writes the two sums of each of `sums.len()` features. `kernel` adds a range of rows to the lanes it gets.
pub(super) fn reduce<R: Real>(
    plan: &Plan,
    lanes: &mut [f64],
    sums: &mut [(R::Wide, R::Wide)],
    mut kernel: impl FnMut(Range<usize>, Acc<'_>),
) {
    let features = sums.len();
    let width = plan.lanes::<R>(features);
    let used = &mut lanes[..2 * R::Wide::PARTS * width];
    sums.fill(Default::default());
    for segment in 0..plan.segments {
        used.fill(0.0);
        kernel(plan.segment(segment), planes::<R>(used, width));
        let acc = planes::<R>(used, width);
        let per_feature = width / features.max(1);
        for (f, (first, second)) in sums.iter_mut().enumerate() {
            let fold = |plane: &Plane<'_>| {
                tree(0, per_feature, &|i| plane.value::<R::Wide>(plan.lane::<R>(features, f, i)))
            };
            *first = *first + fold(&acc.first);
            *second = *second + fold(&acc.second);
        }
    }
}

/// The lanes as two planes of `width` sums, each with its remainders where the type has them.
fn planes<R: Real>(lanes: &mut [f64], width: usize) -> Acc<'_> {
    let (first, second) = lanes.split_at_mut(R::Wide::PARTS * width);
    let plane = |s| {
        let (hi, lo): (&mut [f64], _) = <[f64]>::split_at_mut(s, width);
        Plane { hi, lo }
    };
    Acc { first: plane(first), second: plane(second) }
}

impl Plane<'_> {
    fn value<W: Wide>(&self, lane: usize) -> W {
        W::from_parts(self.hi[lane], self.lo.get(lane).copied().unwrap_or(0.0))
    }
}

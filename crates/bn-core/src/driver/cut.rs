//! How a step is cut for its schedule: what changes its speed and no bit of it.
//!
//! A block is the features that are summed and then mapped while they are still in cache. Features do not touch each other,
//! so any block gives the same bits; so does any order, and whatever is fetched meanwhile.

use super::plan::{Part, Plan};
use crate::kernel::{Down, Fetch, Hints, Next, Schedule, Spread};
use crate::mem::LINE;
use crate::num::Element;
use crate::tensor::{Place, Shape, Strips};

/// How a step over a tensor of one shape and type is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) schedule: Schedule,
    /// The sums of a block are worth being shared out among so many jobs.
    pub(crate) shares: usize,
    /// Features to a block.
    pub(crate) block: usize,
    /// Whether outputs are written past the caches.
    pub(crate) stream: bool,
    /// Whether the kernels sum the next block while they map one.
    pub(crate) overlap: bool,
}

impl Cut {
    /// For a tensor of T.
    pub(crate) fn new<T: Element>(plan: &Plan, schedule: Schedule) -> Self {
        let fitting = schedule.block_bytes / (plan.shape.count().max(1) * size_of::<T::Compute>());
        let widest = plan.widest::<T::Compute>();
        let block = match plan.spread {
            Spread::Run => fitting.clamp(1, widest),
            // Powers of two, so that blocks of whole strips begin where cache lines do.
            Spread::Positions(_) => 1 << fitting.clamp(1, widest).ilog2(),
            Spread::Phases(_) => widest,
        };
        let (features, share) = (plan.shape.features(), schedule.share);
        let groups = match plan.spread {
            Spread::Run | Spread::Positions(_) => features,
            Spread::Phases(_) => features.div_ceil(share.group),
        };
        let most = (plan.shape.len() / share.least).min(share.sums / groups.max(1));
        let shares = most.clamp(1, plan.tree.units().max(1));
        let stream = plan.shape.len() * size_of::<T>() > schedule.stream_above;
        let overlap = schedule.turns.is_some() && stream && plan.spread == Spread::Run && shares == 1;
        Self { schedule, shares, block, stream, overlap }
    }

    /// The same for a block with so many hard features: their elements are put among others, one to a line, which had better be
    /// in a cache then.
    pub(crate) fn beside(&self, plan: &Plan, hard: usize) -> Self {
        let scattered = hard > 0 && matches!(plan.spread, Spread::Phases(_));
        Self { stream: self.stream && !scattered, ..*self }
    }

    /// What a block's sums fetch meanwhile, where there is a `next` one or not.
    pub(crate) fn fetch<T: Copy>(&self, next: [Option<Strips<'_, T>>; 2]) -> Fetch {
        let Schedule { sums: ahead, down, .. } = self.schedule;
        let behind = self.schedule.next == Next::Sums && next[0].is_some();
        Fetch { ahead, down: if behind { Down::Behind } else { down } }
    }

    /// What of the `next` block is fetched while this one is mapped. `summed` says that this one was summed before.
    pub(crate) fn ahead<'a, T: Copy>(
        &self,
        plan: &Plan,
        next: [Option<Strips<'a, T>>; 2],
        summed: bool,
    ) -> [Option<Strips<'a, T>>; 2] {
        match self.schedule.next {
            Next::Map | Next::MapHalf => {}
            Next::Sums if !summed => {}
            Next::Sums | Next::Nobody => return [None; 2],
        }
        let cols = self.block * plan.shape.inner();
        next.map(|next| next.map(|next| next.columns(0..cols.min(next.len()))))
    }

    /// How a part of a block goes about its memory. What is fetched meanwhile is what there is of the `next` block, or what lies
    /// behind each strip of the part.
    pub(crate) fn hints<'a, T: Copy>(&self, part: &Part, next: [Option<Strips<'a, T>>; 2]) -> Hints<'a, T> {
        // A beginning has no whole cache line, and a fence costs more than it.
        let stream = self.stream && part.start == 0;
        let sparse = next[0].is_some() && self.schedule.next == Next::MapHalf;
        Hints { stream, next, behind: self.schedule.behind, sparse }
    }
}

/// How many elements late the rows of a block begin where its maps write them, see [`Plan::parts`], and how many elements
/// of a row of coefficients then come before a cache line. Rows are shifted so that they begin with a line, where all of
/// them then do and nothing lies between them.
pub(crate) fn alignment<T>(plan: &Plan, out: Place, contiguous: bool) -> (usize, usize) {
    let line = LINE / size_of::<T>();
    let row = out.len * plan.phases();
    let aligned = matches!(plan.spread, Spread::Phases(_)) && row > line && row.is_multiple_of(line);
    if aligned && contiguous && out.contiguous { (out.lead % line, 0) } else { (0, out.lead) }
}

/// Whether strips of a tensor of `shape` can be walked with gaps between them.
pub(crate) fn takes_strides(shape: Shape) -> bool {
    Plan::new(shape).takes_strides(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::plan::MAX_LANES;
    use crate::driver::schedule::Kind;

    /// Those of all candidates, also where they are not meant for.
    fn schedules() -> impl Iterator<Item = Schedule> {
        Kind::ALL.into_iter().flat_map(Kind::candidates).map(|candidate| candidate.schedule)
    }

    #[test]
    fn a_kernel_call_stays_within_its_lanes() {
        for (outer, features, inner) in [(32, 2048, 49), (32, 64, 12_544), (128, 5000, 1), (1000, 100, 1)] {
            let plan = Plan::new(Shape::new(outer, features, inner).unwrap());
            for wanted in
                schedules().flat_map(|wanted| [wanted, Schedule { block_bytes: usize::MAX, ..wanted }])
            {
                let [single, double] =
                    [Cut::new::<f32>(&plan, wanted), Cut::new::<f64>(&plan, wanted)].map(|cut| cut.block);
                assert!(plan.lanes::<f32>(single.min(features)) <= MAX_LANES, "{plan:?}");
                assert!(plan.lanes::<f64>(double.min(features)) <= MAX_LANES, "{plan:?}");
            }
        }
    }

    #[test]
    fn joined_rows_are_never_cut() {
        for features in (1..1100).step_by(7) {
            for count in (1..2000).step_by(13) {
                let plan = Plan::new(Shape::new(count, features, 1).unwrap());
                for wanted in schedules() {
                    let block = Cut::new::<f32>(&plan, wanted).block;
                    assert!(plan.phases() == 1 || block >= features, "({count}, {features}): {plan:?}");
                }
            }
        }
    }
}

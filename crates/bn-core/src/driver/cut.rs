//! The schedule of a step: what changes its speed and no bit of it.
//!
//! A block is the features that are summed and then mapped while they are still in cache. Features do not touch each other,
//! so any block gives the same bits; so does any order, and whatever is fetched meanwhile.

use super::plan::{MAX_LANES, Part, Plan};
use crate::kernel::schedule::{L2_BYTES, Schedule};
use crate::kernel::{Fetch, Hints, Spread};
use crate::mem::LINE;
use crate::num::{Element, Real};
use crate::tensor::{Place, Shape, Strips};

/// What a block of features may occupy to be still in L2 when it is mapped, in bytes, together with the block
/// that is fetched meanwhile.
const BLOCK_BYTES: usize = 400 << 10;
/// Tensors of more bytes had better be fetched from far ahead: rows of values side by side, short and long runs.
const FAR_ROW_BYTES: usize = 8 << 20;
const FAR_SHORT_RUN_BYTES: usize = 32 << 20;
const FAR_RUN_BYTES: usize = 64 << 20;

/// Where there are few features, sums are shared out until they and the shares of each are so many jobs. Values side by side are
/// counted as groups of features.
const JOBS: usize = 64;
const GROUP: usize = 256;
/// A share has at least this many elements.
const SHARE: usize = 1 << 16;

/// How a step over a tensor of one shape and type is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The sums of a block are worth being shared out among so many jobs.
    pub(crate) shares: usize,
    /// Features to a block.
    pub(crate) block: usize,
    /// Whether the tensor is too large for the caches.
    pub(crate) far: bool,
    /// Whether outputs are written past the caches.
    pub(crate) stream: bool,
    /// Whether the kernels sum the next block while they map one.
    pub(crate) overlap: bool,
}

impl Cut {
    /// For a tensor of T, as its kernels want it.
    pub(crate) fn new<T: Element>(plan: &Plan, wanted: Schedule) -> Self {
        let (count, bytes) = (plan.shape.count(), plan.shape.len() * size_of::<T::Compute>());
        let (block, far_bytes) = match plan.spread {
            Spread::Run => (run_block::<T::Compute>(count, wanted.run_block_bytes), FAR_RUN_BYTES),
            // Powers of two, so that blocks of whole strips begin where cache lines do.
            Spread::Positions(inner) => {
                let fitting = fitting::<T::Compute>(count, BLOCK_BYTES).clamp(1, MAX_LANES / inner);
                (1 << fitting.ilog2(), FAR_SHORT_RUN_BYTES)
            }
            // Whole pages of a row, or joined rows: narrower pieces of it that stay in L2 were measured to be slower.
            Spread::Phases(_) => (MAX_LANES / 2, FAR_ROW_BYTES),
        };
        let stream = plan.shape.len() * size_of::<T>() > wanted.stream_above(plan.spread);
        let features = plan.shape.features();
        let groups = match plan.spread {
            Spread::Run | Spread::Positions(_) => features,
            Spread::Phases(_) => features.div_ceil(GROUP),
        };
        let shares = (plan.shape.len() / SHARE).min(JOBS / groups.max(1)).clamp(1, plan.tree.units().max(1));
        let overlap = wanted.overlap && plan.spread == Spread::Run && shares == 1;
        Self { shares, block, far: bytes > far_bytes, stream, overlap }
    }

    /// The same for a block with so many hard features: their elements are put among others, one to a line, which had better be
    /// in a cache then.
    pub(crate) fn beside(&self, plan: &Plan, hard: usize) -> Self {
        let scattered = hard > 0 && matches!(plan.spread, Spread::Phases(_));
        Self { stream: self.stream && !scattered, ..*self }
    }

    /// The columns of the next block, if it is worth fetching them while this one is in work: two blocks of every input must
    /// fit L2 side by side.
    fn next_in_l2<'a, T: Copy>(
        &self,
        plan: &Plan,
        next: Strips<'a, T>,
        inputs: usize,
    ) -> Option<Strips<'a, T>> {
        let cols = (self.block * plan.shape.inner()).min(next.len());
        (next.rows() * cols * size_of::<T>() * inputs * 2 <= L2_BYTES).then(|| next.columns(0..cols))
    }

    /// What a block's sums fetch meanwhile, `next` being what the block behind it reads.
    pub(crate) fn fetch<T: Copy>(&self, plan: &Plan, next: [Option<Strips<'_, T>>; 2]) -> Fetch {
        let inputs = next.iter().flatten().count();
        match next[0].and_then(|next| self.next_in_l2(plan, next, inputs)) {
            Some(_) if sums_fetch_next(plan) => Fetch::Behind,
            _ if self.far => Fetch::Far,
            _ => Fetch::Near,
        }
    }

    /// What the sums of the next block fetch while this one is mapped: into L1, but where L2 does not hold both blocks.
    pub(crate) fn fetch_beside<T: Copy>(next: [Option<Strips<'_, T>>; 2]) -> Fetch {
        let bytes = |strips: &Strips<'_, T>| 2 * strips.rows() * strips.len() * size_of::<T>();
        let fits = next.iter().flatten().map(bytes).sum::<usize>() <= L2_BYTES;
        if fits { Fetch::Near } else { Fetch::Far }
    }

    /// What of the next block is fetched while this one is mapped. `summed` says that this one was summed before.
    pub(crate) fn ahead<'a, T: Copy>(
        &self,
        plan: &Plan,
        next: [Option<Strips<'a, T>>; 2],
        summed: bool,
    ) -> [Option<Strips<'a, T>>; 2] {
        if summed && sums_fetch_next(plan) {
            return [None; 2];
        }
        let inputs = next.iter().flatten().count();
        next.map(|next| next.and_then(|next| self.next_in_l2(plan, next, inputs)))
    }

    /// How a part of a block goes about its memory. What is fetched meanwhile is what there is of the `next` block, or, where
    /// no cache holds the tensor, what lies behind each strip of the part.
    pub(crate) fn hints<'a, T: Copy>(
        &self,
        plan: &Plan,
        part: &Part,
        next: [Option<Strips<'a, T>>; 2],
    ) -> Hints<'a, T> {
        // A beginning has no whole cache line, and a fence costs more than it.
        let stream = self.stream && part.start == 0;
        let sparse = next[0].is_some() && plan.spread == Spread::Run;
        Hints { stream, next, behind: self.far, sparse }
    }
}

/// Whether the next block is fetched by the sums, which compute, and not by the map, which waits for memory anyway: the sums
/// of short runs go down the strips and need nothing fetched along them.
fn sums_fetch_next(plan: &Plan) -> bool {
    matches!(plan.spread, Spread::Positions(_))
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

/// Features of `count` elements that `bytes` bytes hold.
fn fitting<R>(count: usize, bytes: usize) -> usize {
    bytes / (count.max(1) * size_of::<R>())
}

/// Features to a block of long runs.
fn run_block<R: Real>(count: usize, bytes: usize) -> usize {
    fitting::<R>(count, bytes).clamp(1, MAX_LANES / R::LANES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_call_stays_within_its_lanes() {
        for (outer, features, inner) in [(32, 2048, 49), (32, 64, 12_544), (128, 5000, 1), (1000, 100, 1)] {
            let plan = Plan::new(Shape::new(outer, features, inner).unwrap());
            for run_block_bytes in [Schedule::PLAIN.run_block_bytes, usize::MAX] {
                let wanted = Schedule { run_block_bytes, ..Schedule::PLAIN };
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
                let block = Cut::new::<f32>(&plan, Schedule::PLAIN).block;
                assert!(plan.phases() == 1 || block >= features, "({count}, {features}): {plan:?}");
            }
        }
    }
}

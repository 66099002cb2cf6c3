//! A block's map as calls of the kernels: cut into the rows of a job, and into the parts whose tiles the kernels know.

use super::onto;
use super::pass::Pass;
use super::reduce::Merging;
use super::rows::map_rows;
use super::step::{Opening, Step};
use super::target::Target;
use super::workspace::{Scratch, set_of};
use crate::kernel::{Acc, KernelSet, Map, Out, Sum, Tile, Units, Walk};
use crate::num::{Element, Real};
use crate::tensor::{Strips, StripsMut};

impl<T: Element, K: KernelSet> Pass<'_, T, K> {
    /// The sum of the first `features` features of the block that begins where `next` does, if the kernels take it while
    /// they map a block of as many: of runs that are written past the caches by a single thread.
    pub(super) fn sum_beside<'s, S: Step<T>>(
        &self,
        next: &'s S,
        features: usize,
        (gates, hard): Opening<'s, T::Compute>,
    ) -> Option<Sum<'s, T>> {
        if !self.cut.overlap || next.features() < features {
            return None;
        }
        let used: &[usize] =
            if next.opens(self.set, features, (&mut *gates, hard)) { &[0, 1, 2] } else { &[] };
        let gates = gates.spread(used, self.plan, features, 0, 0);
        let cols = 0..features * self.plan.shape.inner();
        let sum = next.sum_beside(features, gates)?;
        Some(sum.over::<T>(|strips| strips.columns(cols.clone()), |pilots| pilots))
    }

    /// Maps a block and sums the next one meanwhile, unit by unit, into `scratch.beside`.
    pub(super) fn map_and_sum(
        &self,
        map: &Map<'_, T>,
        out: StripsMut<'_, T>,
        next: &Sum<'_, T>,
        scratch: &mut Scratch,
        features: usize,
    ) {
        let (plan, width) = (self.plan, features * T::Compute::LANES);
        let (rows, run) = plan.unit_of_runs();
        let tile = Tile { features, walk: Walk::Runs { inner: plan.shape.inner() } };
        let mut lanes = std::mem::take(&mut scratch.lanes);
        let mut acc = Acc::new(&mut lanes[..set_of::<T::Compute>(width)], width);
        acc.clear();
        let mut merging = Merging::new(plan.tree.root());
        let done = &mut |acc: &mut Acc<'_>| {
            merging.take(self, scratch, acc, features);
            acc.clear();
        };
        let turns = self.cut.schedule.turns.unwrap_or_else(|| unreachable!("a sum beside a map takes turns"));
        self.kernels.map_and_sum(tile, map, Out::Fresh(out), next, turns, Units { acc, rows, run, done });
        std::mem::swap(&mut scratch.beside, &mut scratch.waiting[0]);
        scratch.partials.extend(scratch.waiting.pop());
        scratch.lanes = lanes;
    }

    /// Maps a block, its rows shared out among `jobs`. Meanwhile what there is of `ahead` is fetched.
    pub(super) fn map(
        &self,
        map: &Map<'_, T>,
        out: Target<'_, T>,
        ahead: [Option<Strips<'_, T>>; 2],
        shift: usize,
        jobs: usize,
    ) {
        let (plan, rows) = (self.plan, 0..out.rows());
        map_rows(self.exec, (plan, self.cut), jobs, rows, out, &|rows, out| {
            let ahead = ahead.map(|ahead| ahead.map(|strips| strips.rows_range(rows.clone())));
            let parts = plan.parts(out.rows(), out.len(), shift);
            for (part, out) in parts.iter().zip(out.parts(plan, &parts)) {
                if part.rows == 0 {
                    continue;
                }
                let (start, features) = (part.start, part.tile.features);
                let map = map.over::<T>(
                    |strips| part.of(strips.rows_range(rows.clone())),
                    |coefs| &coefs[start..][..features],
                );
                match out {
                    Target::Fresh(out) => {
                        self.kernels.map(part.tile, &map, Out::Fresh(out), self.cut.hints(part, ahead));
                    }
                    held => onto::map((self.set, self.kernels), part.tile, &map, held),
                }
            }
        });
    }
}

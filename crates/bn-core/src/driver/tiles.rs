//! A block's map as calls of the kernels: cut into the rows of a job, and into the parts whose tiles the kernels know.

use super::cut::Cut;
use super::pass::Pass;
use super::plan::Unit;
use super::reduce;
use super::rows::map_rows;
use super::step::Step;
use super::workspace::Scratch;
use crate::kernel::{Backend, Map, Out, Sum, Tile, Walk};
use crate::num::{Element, Real};
use crate::tensor::{Strips, StripsMut};

impl<T: Element, B: Backend> Pass<'_, T, B> {
    /// The sum of the first `features` features of the block that begins where `next` does, if the kernels take it while
    /// they map a block of as many: of runs that are written past the caches by a single thread.
    pub(super) fn sum_beside<'s, S: Step<T>>(&self, next: &'s S, features: usize) -> Option<Sum<'s, T>> {
        if !self.cut.overlap || next.features() < features {
            return None;
        }
        let cols = 0..features * self.plan.shape.inner();
        let sum = next.sum_beside(features)?;
        Some(sum.over::<T>(|strips| strips.columns(cols.clone()), |pilots| pilots))
    }

    /// Maps a block and sums the next one meanwhile, unit by unit, into `scratch.beside`.
    pub(super) fn map_and_sum(
        &self,
        map: &Map<'_, T>,
        out: StripsMut<'_, T>,
        next: &Sum<'_, T>,
        scratch: &mut Scratch<T::Compute>,
        features: usize,
    ) {
        let (plan, inner) = (self.plan, self.plan.shape.inner());
        let fetch = Cut::fetch_beside(next.inputs());
        let (mut lanes, mut totals) = (std::mem::take(&mut scratch.lanes), std::mem::take(&mut scratch.beside));
        let mut out = out;
        reduce::each_unit(plan, plan.tree.root(), scratch, &mut totals[..features], &mut |unit, totals, add| {
            let mut acc = reduce::empty::<T::Compute>(plan, &unit, &mut lanes, features);
            let Unit { rows, run } = &unit;
            let mut own = out.rows_range(rows.clone());
            match run {
                None => {
                    let tile = Tile { features, walk: Walk::Runs { inner } };
                    let map = map.over::<T>(|strips| strips.rows_range(rows.clone()), |coefs| coefs);
                    let next = next.over::<T>(|strips| strips.rows_range(rows.clone()), |pilots| pilots);
                    self.kernels.map_and_sum(tile, &map, Out::Fresh(own), &next, fetch, acc);
                }
                Some(run) => {
                    let tile = Tile { features: 1, walk: Walk::Runs { inner: run.len() } };
                    for f in 0..features {
                        let cols = f * inner + run.start..f * inner + run.end;
                        let map = map.over::<T>(|strips| strips.piece(rows.start, cols.clone()), |coefs| &coefs[f..=f]);
                        let next = next.over::<T>(|strips| strips.piece(rows.start, cols.clone()), |pilots| &pilots[f..=f]);
                        let own = Out::Fresh(own.columns(cols.clone()));
                        self.kernels.map_and_sum(tile, &map, own, &next, fetch, acc.from_lane(f * T::Compute::LANES));
                    }
                }
            }
            reduce::fold::<T::Compute>(plan, &unit, &mut lanes, totals, add);
        });
        (scratch.lanes, scratch.beside) = (lanes, totals);
    }

    /// Maps a block, its rows shared out among `jobs`. Meanwhile what there is of `ahead` is fetched.
    pub(super) fn map(
        &self,
        map: &Map<'_, T>,
        out: StripsMut<'_, T>,
        ahead: [Option<Strips<'_, T>>; 2],
        shift: usize,
        jobs: usize,
    ) {
        let (plan, rows) = (self.plan, 0..out.rows());
        map_rows(self.backend.exec(), plan, jobs, rows, out, &|rows, out| {
            let ahead = ahead.map(|ahead| ahead.map(|strips| strips.rows_range(rows.clone())));
            let parts = plan.parts(out.rows(), out.len(), shift);
            for (part, out) in parts.iter().zip(plan.parts_mut(&parts, out)) {
                if part.rows == 0 {
                    continue;
                }
                let (start, features) = (part.start, part.tile.features);
                let map = map.over::<T>(
                    |strips| part.of(strips.rows_range(rows.clone())),
                    |coefs| &coefs[start..][..features],
                );
                let hints = self.cut.hints(plan, part, ahead);
                self.kernels.map(part.tile, &map, Out::Fresh(out), hints);
            }
        });
    }
}

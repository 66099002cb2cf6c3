//! The forward of a block: statistics, then y = (x−k)·a + b while the block is in cache.

use super::reduce::{self, reduce};
use super::{
    Job, Params, ahead, alignment, beside, columns, fetch, hints, map_rows, parts, parts_mut, run, walked,
    walked_mut,
};
use crate::coef::Stats;
use crate::element::{Element, Real};
use crate::exec::Backend;
use crate::kernels::{Acc, Affine, Kernels, Tile};
use crate::plan::{Part, Plan};
use crate::rescue;
use crate::saved::StatsMut;
use crate::shape::Shape;
use crate::strips::{Strips, StripsMut};
use crate::workspace::{Scratch, State, Workspace};
use std::ops::Range;

/// What a forward works on.
pub(crate) struct Forward<'a, T: Element> {
    pub(crate) x: Strips<'a, T>,
    pub(crate) y: StripsMut<'a, T>,
    pub(crate) params: Params<'a, T::Compute>,
    /// Where the statistics go; with `from_batch` unset they are given there.
    pub(crate) stats: StatsMut<'a, T::Compute>,
    pub(crate) from_batch: bool,
    pub(crate) eps: f64,
}

/// Runs a forward over a tensor of `shape`.
pub(crate) fn forward<T: Element, B: Backend>(
    backend: &B,
    shape: Shape,
    job: Forward<'_, T>,
    workspace: &mut Workspace<T>,
) {
    let kernels = T::Compute::kernels(backend);
    let plan = Plan::new::<T::Compute>(shape).with_run_blocks::<T::Compute>(kernels.run_block_bytes());
    let block = Block {
        kernels,
        plan: &plan,
        stream: shape.len() * size_of::<T>() > kernels.stream_above(plan.spread),
        job: Forward { x: walked(&plan, shape, job.x), y: walked_mut(&plan, shape, job.y), ..job },
    };
    run(backend, &plan, block, workspace.prepare(&plan, backend.exec()));
}

/// A range of features, with the plan and the kernels for them.
struct Block<'p, 'a, T: Element> {
    kernels: &'p dyn Kernels<T::Compute>,
    plan: &'p Plan,
    stream: bool,
    // Its own lifetime: ndarray's views are invariant in theirs.
    job: Forward<'a, T>,
}

impl<T: Element> Job<T::Compute> for Block<'_, '_, T> {
    fn features(&self) -> usize {
        self.job.stats.k.len()
    }

    fn split_at(self, feature: usize) -> (Self, Self) {
        let Self { kernels, plan, stream, job: Forward { x, y, params, stats, from_batch, eps } } = self;
        let col = feature * plan.shape.inner();
        let (y, y1) = y.split_columns(col);
        let (params, params1) = params.split_at(feature);
        let (stats, stats1) = stats.split_at(feature);
        let (x, x1) = (x.columns(0..col), x.columns(col..x.len()));
        let head = Forward { x, y, params, stats, from_batch, eps };
        let tail = Forward { x: x1, y: y1, params: params1, stats: stats1, from_batch, eps };
        (Self { kernels, plan, stream, job: head }, Self { kernels, plan, stream, job: tail })
    }

    fn run(
        mut self,
        backend: &impl Backend,
        scratches: &mut [Scratch<T::Compute>],
        next: Option<&Self>,
        summed: bool,
    ) -> bool {
        let (features, plan) = (self.features(), self.plan);
        let mut state = std::mem::take(&mut scratches[0].state);
        if self.job.from_batch {
            self.take_statistics(backend, scratches, &mut state, next, summed);
        }
        let job = &mut self.job;
        let (shift, lead) = alignment(plan, &job.y, job.x.as_slice().is_some());
        let (stats, State { coefs, unfit, .. }) = (job.stats.as_ref(), &mut state);
        backend.vectorize(
            #[inline(always)]
            || columns::affine(T::RANGE, stats, job.params, coefs.values(features), unfit),
        );
        for i in 0..3 {
            coefs.spread(i, plan, features, lead, shift);
        }
        let [k, a, b] = [0, 1, 2].map(|i| state.coefs.row(i, plan, features, lead));
        let (kernels, stream, x) = (self.kernels, self.stream, job.x);
        let alone = stream && job.from_batch && scratches.len() == 1;
        let beside = next.filter(|_| alone).and_then(|n| beside::<T>(plan, kernels, n.job.x, x.len()));
        if let Some(beside) = beside {
            let [(Part { tile, .. }, x), ..] = parts(plan, x, 0);
            let acc = reduce::empty::<T::Compute>(plan, &mut scratches[0].lanes, features);
            T::normalize_and_moments(kernels, tile, x, Affine { k, a, b }, job.y.reborrow(), beside, acc);
        } else {
            let next = next.and_then(|n| ahead(plan, n.job.x, 1, job.from_batch));
            map_rows(backend.exec(), plan, scratches.len(), 0..x.rows(), job.y.reborrow(), &|rows, y| {
                let next = next.map(|n| n.rows_range(rows.clone()));
                let parts = parts(plan, x.rows_range(rows), shift).into_iter().zip(parts_mut(plan, y, shift));
                for ((part, x), y) in parts {
                    if x.rows() > 0 {
                        let tile = part.tile;
                        let [k, a, b] = [k, a, b].map(|coef| &coef[part.start..][..tile.features]);
                        let hints = hints(plan, stream, &part, [next, None], [Some(x), None]);
                        T::normalize(kernels, tile, x, Affine { k, a, b }, y, hints);
                    }
                }
            });
        }
        for f in (0..features).filter(|&f| state.unfit[f]) {
            let cols = plan.columns(f..f + 1);
            let given = (!job.from_batch).then(|| job.stats.as_ref().get(f));
            let y = job.y.columns(cols.clone());
            let rescued = rescue::forward(job.x.columns(cols), given.as_ref(), job.eps, job.params.get(f), y);
            if let Some(stats) = rescued {
                job.stats.set(f, &stats);
            }
        }
        scratches[0].state = state;
        beside.is_some()
    }
}

impl<T: Element> Block<'_, '_, T> {
    /// Sums the block, a second time around the mean where the data ask for it.
    fn take_statistics(
        &mut self,
        backend: &impl Backend,
        scratches: &mut [Scratch<T::Compute>],
        State { sums, coefs, unfit }: &mut State<T::Compute>,
        next: Option<&Self>,
        summed: bool,
    ) {
        let (plan, job, kernels) = (self.plan, &mut self.job, self.kernels);
        let (n, features, x) = (plan.shape.count(), job.stats.k.len(), job.x);
        let sums = &mut sums[..features];
        let fetch = fetch(plan, next.map(|n| n.job.x), 1);
        let moments = |rows: Range<usize>, pilot: Option<&[T::Compute]>, mut acc: Acc<'_>| {
            for (Part { tile, .. }, x) in parts(plan, x.rows_range(rows), 0) {
                if x.rows() == 0 {
                    continue;
                }
                T::moments(
                    kernels,
                    Tile { fetch, ..tile },
                    x,
                    pilot.map(|k| &k[..tile.features]),
                    acc.from_lane(0),
                );
            }
        };
        if summed {
            reduce::fold::<T::Compute>(plan, &mut scratches[0].lanes, sums, false);
        } else {
            reduce(backend.exec(), plan, scratches, sums, &|rows, acc| moments(rows, None, acc));
        }
        let again = backend.vectorize(
            #[inline(always)]
            || columns::statistics(n, job.eps, sums, job.stats.reborrow(), unfit),
        );
        if !again {
            return;
        }
        let lead = job.y.lead();
        let [pilots, ..] = coefs.values(features);
        pilots.copy_from_slice(job.stats.k);
        coefs.spread(0, plan, features, lead, 0);
        let pilot = coefs.row(0, plan, features, lead);
        reduce(backend.exec(), plan, scratches, sums, &|rows, acc| moments(rows, Some(pilot), acc));
        for (f, &(first, second)) in sums.iter().enumerate().filter(|&(f, _)| unfit[f]) {
            let k = job.stats.k[f];
            job.stats.set(f, &Stats::from_sums(n, Some(k), first, second, job.eps).0);
        }
    }
}

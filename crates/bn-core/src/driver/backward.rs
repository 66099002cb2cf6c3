//! The backward of a block: dγ and dβ, then dx = (a·dy + c·(x−k)) + d while the block is in cache.

use super::reduce::{self, reduce};
use super::{
    Job, Params, ahead, alignment, beside, columns, fetch, hints, map_rows, parts, parts_mut, run, walked,
    walked_mut,
};
use crate::element::{Element, Real};
use crate::exec::Backend;
use crate::kernels::{Acc, Affine, GradAffine, Kernels, Tile};
use crate::plan::{Part, Plan};
use crate::rescue;
use crate::saved::StatsRef;
use crate::shape::Shape;
use crate::strips::{Strips, StripsMut};
use crate::workspace::{Scratch, State, Workspace};
use std::ops::Range;

/// What a backward works on.
pub(crate) struct Backward<'a, T: Element> {
    pub(crate) x: Strips<'a, T>,
    pub(crate) dy: Strips<'a, T>,
    pub(crate) dx: StripsMut<'a, T>,
    /// Empty where the layer has no affine part, as is `dbias`.
    pub(crate) dweight: &'a mut [T::Compute],
    pub(crate) dbias: &'a mut [T::Compute],
    pub(crate) params: Params<'a, T::Compute>,
    pub(crate) stats: StatsRef<'a, T::Compute>,
    /// Whether the statistics are the batch's, so that dx goes through them.
    pub(crate) from_batch: bool,
    pub(crate) eps: f64,
}

/// Runs a backward over a tensor of `shape`.
pub(crate) fn backward<T: Element, B: Backend>(
    backend: &B,
    shape: Shape,
    job: Backward<'_, T>,
    workspace: &mut Workspace<T>,
) {
    let kernels = T::Compute::kernels(backend);
    let plan = Plan::new::<T::Compute>(shape).with_run_blocks::<T::Compute>(kernels.run_block_bytes());
    let block = Block {
        kernels,
        plan: &plan,
        stream: shape.len() * size_of::<T>() > kernels.stream_above(plan.spread),
        job: Backward {
            x: walked(&plan, shape, job.x),
            dy: walked(&plan, shape, job.dy),
            dx: walked_mut(&plan, shape, job.dx),
            ..job
        },
    };
    run(backend, &plan, block, workspace.prepare(&plan, backend.exec()));
}

/// A range of features, with the plan and the kernels for them.
struct Block<'p, 'a, T: Element> {
    kernels: &'p dyn Kernels<T::Compute>,
    plan: &'p Plan,
    stream: bool,
    // Its own lifetime: ndarray's views are invariant in theirs.
    job: Backward<'a, T>,
}

/// Splits a slice that is empty where the layer has no affine part.
fn split_optional<R>(slice: &mut [R], at: usize) -> (&mut [R], &mut [R]) {
    slice.split_at_mut(at.min(slice.len()))
}

impl<T: Element> Job<T::Compute> for Block<'_, '_, T> {
    fn features(&self) -> usize {
        self.job.stats.k.len()
    }

    fn split_at(self, feature: usize) -> (Self, Self) {
        let Self { kernels, plan, stream, job } = self;
        let Backward { x, dy, dx, dweight, dbias, params, stats, from_batch, eps } = job;
        let col = feature * plan.shape.inner();
        let (dx, dx1) = dx.split_columns(col);
        let (dweight, dweight1) = split_optional(dweight, feature);
        let (dbias, dbias1) = split_optional(dbias, feature);
        let (params, params1) = params.split_at(feature);
        let (stats, stats1) = stats.split_at(feature);
        let (x, x1) = (x.columns(0..col), x.columns(col..x.len()));
        let (dy, dy1) = (dy.columns(0..col), dy.columns(col..dy.len()));
        let head = Backward { x, dy, dx, dweight, dbias, params, stats, from_batch, eps };
        let tail = Backward {
            x: x1,
            dy: dy1,
            dx: dx1,
            dweight: dweight1,
            dbias: dbias1,
            params: params1,
            stats: stats1,
            from_batch,
            eps,
        };
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
        self.take_gradients(backend, scratches, &mut state, next, summed);
        let contiguous = self.job.x.as_slice().is_some() && self.job.dy.as_slice().is_some();
        let (shift, lead) = alignment(plan, &self.job.dx, contiguous);
        for i in 0..4 {
            state.coefs.spread(i, plan, features, lead, shift);
        }
        let [k, a, c, d] = [0, 1, 2, 3].map(|i| state.coefs.row(i, plan, features, lead));
        let Backward { x, dy, ref mut dx, from_batch, .. } = self.job;
        let (kernels, stream) = (self.kernels, self.stream);
        let alone = stream && from_batch && scratches.len() == 1;
        let beside = next.filter(|n| alone && !n.off_centre(features)).and_then(|n| {
            let [x, dy] = [n.job.x, n.job.dy].map(|strips| beside::<T>(plan, kernels, strips, x.len()));
            Some([x?, dy?])
        });
        if let Some(beside) = beside {
            let [[(Part { tile, .. }, x), ..], [(_, dy), ..]] = [x, dy].map(|strips| parts(plan, strips, 0));
            let acc = reduce::empty::<T::Compute>(plan, &mut scratches[0].lanes, features);
            let affine = GradAffine { k, a, c, d };
            T::grad_input_and_sums(kernels, tile, [x, dy], affine, dx.reborrow(), beside, acc);
        } else {
            let next = next.map_or([None; 2], |n| [n.job.x, n.job.dy].map(|next| ahead(plan, next, 2, true)));
            map_rows(backend.exec(), plan, scratches.len(), 0..x.rows(), dx.reborrow(), &|rows, dx| {
                let next = next.map(|next| next.map(|n| n.rows_range(rows.clone())));
                let [x, dy] = [x, dy].map(|strips| parts(plan, strips.rows_range(rows.clone()), shift));
                for (((part, x), (_, dy)), dx) in x.into_iter().zip(dy).zip(parts_mut(plan, dx, shift)) {
                    if x.rows() == 0 {
                        continue;
                    }
                    let tile = part.tile;
                    let [k, a, c, d] = [k, a, c, d].map(|coef| &coef[part.start..][..tile.features]);
                    let hints = hints(plan, stream, &part, next, [Some(x), Some(dy)]);
                    if from_batch {
                        T::grad_input(kernels, tile, x, dy, GradAffine { k, a, c, d }, dx, hints);
                    } else {
                        // dx = a·dy: the other coefficients are zero, and x does not enter, be it NaN.
                        T::normalize(kernels, tile, dy, Affine { k: d, a, b: d }, dx, hints);
                    }
                }
            });
        }
        for f in (0..features).filter(|&f| state.unfit[f]) {
            self.rescue(f);
        }
        scratches[0].state = state;
        beside.is_some()
    }
}

impl<T: Element> Block<'_, '_, T> {
    /// Sums the block, writes dγ and dβ, and prepares the coefficients of dx.
    fn take_gradients(
        &mut self,
        backend: &impl Backend,
        scratches: &mut [Scratch<T::Compute>],
        State { sums, coefs, unfit }: &mut State<T::Compute>,
        next: Option<&Self>,
        summed: bool,
    ) {
        let (plan, job, kernels) = (self.plan, &mut self.job, self.kernels);
        let (n, features) = (plan.shape.count(), job.stats.k.len());
        let (lead, sums) = (job.dx.lead(), &mut sums[..features]);
        let [pilots, ..] = coefs.values(features);
        let off_centre = backend.vectorize(
            #[inline(always)]
            || columns::grad_pilots(job.from_batch, job.stats, pilots),
        );
        if off_centre {
            coefs.spread(0, plan, features, lead, 0);
        }
        let (x, dy) = (job.x, job.dy);
        let pilot = off_centre.then(|| coefs.row(0, plan, features, lead));
        let fetch = fetch(plan, next.map(|n| n.job.x), 2);
        let grad_sums = |rows: Range<usize>, mut acc: Acc<'_>| {
            let [x, dy] = [x, dy].map(|strips| parts(plan, strips.rows_range(rows.clone()), 0));
            for ((Part { tile, .. }, x), (_, dy)) in x.into_iter().zip(dy) {
                if x.rows() == 0 {
                    continue;
                }
                T::grad_sums(
                    kernels,
                    Tile { fetch, ..tile },
                    x,
                    dy,
                    pilot.map(|k| &k[..tile.features]),
                    acc.from_lane(0),
                );
            }
        };
        if summed {
            reduce::fold::<T::Compute>(plan, &mut scratches[0].lanes, sums, false);
        } else {
            reduce(backend.exec(), plan, scratches, sums, &grad_sums);
        }
        backend.vectorize(
            #[inline(always)]
            || {
                let coefs = coefs.values(features);
                columns::gradients(T::RANGE, n, job.from_batch, job.stats, job.params, sums, coefs, unfit);
                columns::round(sums, job.dbias, job.dweight);
            },
        );
    }

    /// Whether the sums of any of the first `features` features have a pilot.
    fn off_centre(&self, features: usize) -> bool {
        let stats = self.job.stats;
        (0..features.min(stats.k.len())).any(|f| stats.get(f).grad_pilot() != T::Compute::default())
    }

    fn rescue(&mut self, f: usize) {
        let job = &mut self.job;
        let cols = self.plan.columns(f..f + 1);
        let given = (!job.from_batch).then(|| job.stats.get(f));
        let (x, dy, dx) = (job.x.columns(cols.clone()), job.dy.columns(cols.clone()), job.dx.columns(cols));
        let rescued = rescue::backward(x, dy, given.as_ref(), job.eps, job.params.get(f).0, dx);
        if let (Some(grads), Some(dweight), Some(dbias)) =
            (rescued, job.dweight.get_mut(f), job.dbias.get_mut(f))
        {
            (*dweight, *dbias) = grads;
        }
    }
}

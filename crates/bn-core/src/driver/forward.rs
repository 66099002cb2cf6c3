//! The forward of a block: statistics, then y = (x−k)·a + b while the block is in cache.

use super::{Job, Params, parts, parts_mut, reduce::reduce, run, walked, walked_mut};
use crate::coef::Stats;
use crate::element::{Element, Real};
use crate::exec::Backend;
use crate::kernels::{Affine, Kernels};
use crate::plan::Plan;
use crate::rescue;
use crate::saved::StatsMut;
use crate::shape::Shape;
use crate::strips::{Strips, StripsMut};
use crate::workspace::{Scratch, Workspace};

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
    let plan = Plan::new::<T::Compute>(shape);
    let block = Block {
        kernels: T::Compute::kernels(backend),
        plan: &plan,
        job: Forward { x: walked(&plan, shape, job.x), y: walked_mut(&plan, shape, job.y), ..job },
    };
    run(backend.exec(), block, workspace.prepare(&plan, backend.exec()), plan.block);
}

/// A range of features, with the plan and the kernels for them.
struct Block<'p, 'a, T: Element> {
    kernels: &'p dyn Kernels<T::Compute>,
    plan: &'p Plan,
    // Its own lifetime: ndarray's views are invariant in theirs.
    job: Forward<'a, T>,
}

impl<T: Element> Job<T::Compute> for Block<'_, '_, T> {
    fn features(&self) -> usize {
        self.job.stats.k.len()
    }

    fn split_at(self, feature: usize) -> (Self, Self) {
        let Self { kernels, plan, job: Forward { x, y, params, stats, from_batch, eps } } = self;
        let col = feature * plan.shape.inner();
        let (y, y1) = y.split_columns(col);
        let (params, params1) = params.split_at(feature);
        let (stats, stats1) = stats.split_at(feature);
        let (x, x1) = (x.columns(0..col), x.columns(col..x.len()));
        let head = Forward { x, y, params, stats, from_batch, eps };
        let tail = Forward { x: x1, y: y1, params: params1, stats: stats1, from_batch, eps };
        (Self { kernels, plan, job: head }, Self { kernels, plan, job: tail })
    }

    fn run(mut self, scratch: &mut Scratch<T::Compute>) {
        let features = self.features();
        if self.job.from_batch {
            self.take_statistics(scratch);
        }
        let (plan, job) = (self.plan, &mut self.job);
        for f in 0..features {
            let stats = job.stats.as_ref().get(f);
            let (weight, bias) = job.params.get(f);
            let (a, b) = stats.affine(weight, bias);
            scratch.set_coefs(f, [stats.k, a, b, T::Compute::default()]);
            scratch.unfit[f] = !stats.fits(T::RANGE, a, b);
        }
        scratch.repeat_coefs(features, plan.phases);
        let [k, a, b, _] = scratch.coefs(features * plan.phases);
        for ((tile, x), y) in parts(plan, job.x).into_iter().zip(parts_mut(plan, job.y.reborrow())) {
            if x.rows() > 0 {
                let n = tile.features;
                T::normalize(self.kernels, tile, x, Affine { k: &k[..n], a: &a[..n], b: &b[..n] }, y);
            }
        }
        for f in (0..features).filter(|&f| scratch.unfit[f]) {
            let cols = plan.columns(f..f + 1);
            let given = (!job.from_batch).then(|| job.stats.as_ref().get(f));
            let y = job.y.columns(cols.clone());
            let rescued = rescue::forward(job.x.columns(cols), given.as_ref(), job.eps, job.params.get(f), y);
            if let Some(stats) = rescued {
                job.stats.set(f, &stats);
            }
        }
    }
}

impl<T: Element> Block<'_, '_, T> {
    /// Sums the block, a second time around the mean where the data ask for it.
    fn take_statistics(&mut self, scratch: &mut Scratch<T::Compute>) {
        let (plan, job) = (self.plan, &mut self.job);
        let n = plan.shape.count();
        let zero = T::Compute::default();
        let features = scratch.features(job.stats.k.len());

        reduce::<T::Compute>(plan, features.lanes, features.sums, |rows, mut acc| {
            for (tile, x) in parts(plan, job.x.rows_range(rows)) {
                T::moments(self.kernels, tile, x, None, acc.from_lane(0));
            }
        });
        let mut again = false;
        for (f, &(first, second)) in features.sums.iter().enumerate() {
            let (stats, recentre) = Stats::from_sums(n, zero, first, second, job.eps);
            job.stats.set(f, &stats);
            features.unfit[f] = recentre;
            features.pilot[f] = stats.k;
            again |= recentre;
        }
        if !again {
            return;
        }
        for phase in 1..plan.phases {
            features.pilot.copy_within(..features.sums.len(), phase * features.sums.len());
        }
        let pilot: &[_] = features.pilot;
        reduce::<T::Compute>(plan, features.lanes, features.sums, |rows, mut acc| {
            for (tile, x) in parts(plan, job.x.rows_range(rows)) {
                T::moments(self.kernels, tile, x, Some(&pilot[..tile.features]), acc.from_lane(0));
            }
        });
        for (f, &(first, second)) in features.sums.iter().enumerate().filter(|&(f, _)| features.unfit[f]) {
            job.stats.set(f, &Stats::from_sums(n, pilot[f], first, second, job.eps).0);
        }
    }
}

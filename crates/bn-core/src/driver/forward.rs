//! The forward: the batch's statistics, or given ones, then y = (x−k)·a + b.

use super::hard::{Hard, Renormed};
use super::plan::Plan;
use super::post::split_post;
use super::schedule::Task;
use super::step::{Doors, Settled, Step, split_columns, split_some};
use super::target::Target;
use super::workspace::{COEFS, State};
use crate::kernel::{Affine, KernelSet, Map, Post, Sum};
use crate::maths::renorm::{self, Moved, Taking};
use crate::maths::{Moments, Params, StatsMut, StatsRef, Totals, features};
use crate::num::{Element, Real};
use crate::tensor::{Place, Shape, Strips, StripsMut};

/// Where the statistics come from.
#[derive(Debug)]
pub(crate) enum Statistics<'a, T: Element> {
    /// Of the batch, to be put here.
    Batch(StatsMut<'a, T::Compute>),
    /// Those of the batch that x is a part of; with its moments where some leave the range, else with none.
    Pooled(StatsRef<'a, T::Compute>, &'a [Moments]),
    /// From elsewhere.
    Given(StatsRef<'a, T::Compute>),
}

/// What a forward works on.
#[derive(Debug)]
pub(crate) struct Forward<'a, T: Element> {
    pub(crate) shape: Shape,
    /// Absent where y goes over it, see [`Forward::x`].
    pub(crate) x: Strips<'a, T>,
    pub(crate) y: Target<'a, T>,
    pub(crate) post: Post<'a, T>,
    pub(crate) params: Params<'a, T::Compute>,
    pub(crate) stats: Statistics<'a, T>,
    pub(crate) eps: f64,
    /// The values of a feature that the statistics are of.
    pub(crate) count: usize,
    pub(crate) renorm: Option<Renorm<'a, T::Compute>>,
}

/// The renormalization of a batch's statistics.
#[derive(Debug)]
pub(crate) enum Renorm<'a, R: Real> {
    /// r and d as they were taken.
    By(Moved<'a, R>),
    /// To be taken.
    Take(Taking<'a, R>),
}

impl<R: Real> Renorm<'_, R> {
    fn split_at(self, feature: usize) -> (Self, Self) {
        match self {
            Self::By(moved) => {
                let (head, tail) = moved.split_at(feature);
                (Self::By(head), Self::By(tail))
            }
            Self::Take(taking) => {
                let (head, tail) = taking.split_at(feature);
                (Self::Take(head), Self::Take(tail))
            }
        }
    }

    fn read(&self) -> Moved<'_, R> {
        match self {
            Self::By(moved) => *moved,
            Self::Take(taking) => taking.read(),
        }
    }
}

impl<T: Element> Statistics<'_, T> {
    fn get(&self) -> StatsRef<'_, T::Compute> {
        match self {
            Self::Batch(stats) => stats.as_ref(),
            Self::Pooled(stats, _) | Self::Given(stats) => *stats,
        }
    }

    pub(super) fn reborrow(&mut self) -> Statistics<'_, T> {
        match self {
            Self::Batch(stats) => Statistics::Batch(stats.reborrow()),
            Self::Pooled(stats, moments) => Statistics::Pooled(*stats, moments),
            Self::Given(stats) => Statistics::Given(*stats),
        }
    }

    fn split_at(self, feature: usize) -> (Self, Self) {
        match self {
            Self::Batch(stats) => {
                let (head, tail) = stats.split_at(feature);
                (Self::Batch(head), Self::Batch(tail))
            }
            Self::Pooled(stats, moments) => {
                let (head, tail) = stats.split_at(feature);
                let (moments, moments1) = moments.split_at(feature.min(moments.len()));
                (Self::Pooled(head, moments), Self::Pooled(tail, moments1))
            }
            Self::Given(stats) => {
                let (head, tail) = stats.split_at(feature);
                (Self::Given(head), Self::Given(tail))
            }
        }
    }
}

impl<T: Element> Forward<'_, T> {
    /// x, wherever it is.
    pub(super) fn x(&self) -> Strips<'_, T> {
        Target::input(&self.x, Some(&self.y))
    }
}

impl<T: Element> Step<T> for Forward<'_, T> {
    type Before<'s>
        = Forward<'s, T>
    where
        Self: 's;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn task(&self) -> Task {
        match self.stats {
            Statistics::Batch(_) => Task::Forward,
            Statistics::Pooled(..) | Statistics::Given(_) => Task::Apply,
        }
    }

    fn empty(self) {}

    fn features(&self) -> usize {
        self.stats.get().k.len()
    }

    fn walked(self, plan: &Plan) -> Self {
        let post = self.post.with(|plus| plan.walked(self.shape, plus));
        Self { x: plan.walked(self.shape, self.x), y: self.y.walked(plan, self.shape), post, ..self }
    }

    fn split_at(self, feature: usize, col: usize) -> (Self, Self) {
        let Self { x, y, post, params, stats, renorm, .. } = self;
        let ((x, x1), (y, y1)) = (split_columns(x, col), y.split_columns(col));
        let (post, post1) = split_post(post, col);
        let ((params, params1), (stats, stats1)) = (params.split_at(feature), stats.split_at(feature));
        let (renorm, renorm1) = split_some(renorm, |renorm| renorm.split_at(feature));
        let tail =
            Self { x: x1, y: y1, post: post1, params: params1, stats: stats1, renorm: renorm1, ..self };
        (Self { x, y, post, params, stats, renorm, ..self }, tail)
    }

    fn reads(&self) -> [Option<Strips<'_, T>>; 2] {
        [Some(self.x()), self.post.reborrow().plus()]
    }

    fn out(&self) -> Option<Place> {
        Some(self.y.place())
    }

    fn sum<'s>(&'s self, pilot: Option<&'s [T::Compute]>, _: Doors<'s, T>) -> Option<Sum<'s, T>> {
        let summed = matches!(self.stats, Statistics::Batch(_));
        summed.then(|| Sum::Moments { x: self.x(), pilot })
    }

    fn sum_beside<'s>(&'s self, _: usize, gates: Doors<'s, T>) -> Option<Sum<'s, T>> {
        self.sum(None, gates)
    }

    fn settle(
        &mut self,
        kernels: &impl KernelSet,
        state: &mut State<T::Compute>,
        summed_again: bool,
    ) -> Settled {
        let Statistics::Batch(stats) = &mut self.stats else {
            return Settled::Yes;
        };
        settle_batch(kernels, stats.reborrow(), (self.count, self.eps), state, summed_again)
    }

    fn coefficients(&mut self, kernels: &impl KernelSet, State { coefs, hard, .. }: &mut State<T::Compute>) {
        let (stats, params) = (self.stats.get(), self.params);
        let from_batch = !matches!(self.stats, Statistics::Given(_));
        let [k, a, b, ..] = coefs.values(stats.k.len());
        if let Some(renorm) = &mut self.renorm {
            if let Renorm::Take(taking) = renorm {
                taking.take(stats);
            }
            return renorm::affine(stats, params, renorm.read(), [k, a, b], hard);
        }
        kernels.vectorize(
            #[inline(always)]
            || features::affine(from_batch, stats, params, [k, a, b], hard),
        );
    }

    fn used(&self) -> &'static [usize] {
        &[0, 1, 2]
    }

    fn map<'s>(
        &'s mut self,
        [k, a, b, ..]: [&'s [T::Compute]; COEFS],
        _: Doors<'s, T>,
    ) -> Option<(Map<'s, T>, Target<'s, T>)> {
        let (x, post) = (self.x.reborrow(), self.post.reborrow());
        let map = Map::Normalize { x, affine: Affine { k, a, b }, post };
        Some((map, self.y.reborrow()))
    }

    fn target(&mut self) -> Option<Target<'_, T>> {
        Some(self.y.reborrow())
    }

    fn hard(
        &mut self,
        hard: Hard<'_, impl KernelSet>,
        _: &[Totals<T::Compute>],
        mut beside: Option<StripsMut<'_, T>>,
    ) {
        let (x, y) = Target::ends(&self.x, Some(&mut self.y), &mut beside);
        let (x, params) = ((x, self.post.reborrow()), self.params);
        let y = y.unwrap_or_else(|| unreachable!("a forward has a map"));
        let moved = self.renorm.as_ref().map(Renorm::read);
        match &mut self.stats {
            // Those that the sums of f64 gave may be lost.
            Statistics::Batch(stats) if !T::Compute::sums_are_safe() => {
                let renormed = match &mut self.renorm {
                    None => Renormed::Not,
                    Some(Renorm::By(moved)) => Renormed::By(*moved),
                    Some(Renorm::Take(taking)) => Renormed::Anew(taking),
                };
                let batch = (self.count, self.eps);
                hard.forward_anew(x, y, (params, renormed), batch, &mut |f, found| stats.set(f, found));
            }
            Statistics::Pooled(stats, moments) => {
                hard.forward(x, y, (params, moved), *stats, (moments, self.eps));
            }
            stats => hard.forward(x, y, (params, moved), stats.get(), (&[], self.eps)),
        }
    }
}

/// Puts a batch's statistics into `stats`, or what its sums are to be taken around once more into the block's state.
pub(super) fn settle_batch<R: Real>(
    kernels: &impl KernelSet,
    mut stats: StatsMut<'_, R>,
    (n, eps): (usize, f64),
    State { totals, pilots, again, .. }: &mut State<R>,
    summed_again: bool,
) -> Settled {
    let totals = &totals[..stats.k.len()];
    if summed_again {
        features::recentred(n, eps, totals, stats, again);
        return Settled::Yes;
    }
    let off_centre = kernels.vectorize(
        #[inline(always)]
        || features::statistics(n, eps, totals, stats.reborrow(), again),
    );
    if !off_centre {
        return Settled::Yes;
    }
    pilots.values[..stats.k.len()].copy_from_slice(stats.k);
    Settled::Again
}

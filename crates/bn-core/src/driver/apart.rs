//! The sums of a part of a batch, apart from what becomes of them: node by node of the batch's tree.

use super::blocks::run;
use super::forward::Forward;
use super::hard::Hard;
use super::plan::{Plan, leaf_samples};
use super::schedule::Task;
use super::step::{Doors, Settled, Step, split_columns, split_optional, split_some};
use super::target::Target;
use super::tree;
use super::workspace::{COEFS, MaskRoom, State, Workspace};
use crate::kernel::{Backend, KernelSet, Map, Sum};
use crate::maths::{HardSums, StatsRef, Totals};
use crate::num::{Element, Real, Wide};
use crate::tensor::{Place, Shape, Strips, StripsMut};
use std::ops::Range;

/// Sums and nothing else, into a slice.
struct Summing<'a, T: Element> {
    shape: Shape,
    of: [Option<Strips<'a, T>>; 2],
    pilots: Option<&'a [T::Compute]>,
    totals: &'a mut [Totals<T::Compute>],
    /// Of the backward's sums: the statistics.
    stats: Option<StatsRef<'a, T::Compute>>,
    /// Of the backward's sums: those that the totals do not tell.
    hard: &'a mut [Option<HardSums>],
}

impl<T: Element> Step<T> for Summing<'_, T> {
    type Before<'s>
        = Forward<'s, T>
    where
        Self: 's;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn task(&self) -> Task {
        Task::Sums
    }

    fn empty(self) {
        self.totals.fill(Default::default());
    }

    fn features(&self) -> usize {
        self.totals.len()
    }

    fn walked(self, plan: &Plan) -> Self {
        Self { of: self.of.map(|of| of.map(|strips| plan.walked(self.shape, strips))), ..self }
    }

    fn split_at(self, feature: usize, col: usize) -> (Self, Self) {
        let [(x, x1), (dy, dy1)] = self.of.map(|of| split_some(of, |strips| split_columns(strips, col)));
        let (pilots, pilots1) = split_some(self.pilots, |pilots| pilots.split_at(feature));
        let (totals, totals1) = self.totals.split_at_mut(feature);
        let (stats, stats1) = split_some(self.stats, |stats| stats.split_at(feature));
        let ((hard, hard1), shape) = (split_optional(self.hard, feature), self.shape);
        let tail =
            Self { shape, of: [x1, dy1], pilots: pilots1, totals: totals1, stats: stats1, hard: hard1 };
        (Self { shape, of: [x, dy], pilots, totals, stats, hard }, tail)
    }

    fn reads(&self) -> [Option<Strips<'_, T>>; 2] {
        self.of.each_ref().map(|of| of.as_ref().map(Strips::reborrow))
    }

    fn out(&self) -> Option<Place> {
        None
    }

    fn pilots(&self, _: &impl KernelSet, pilots: &mut [T::Compute]) -> bool {
        let Some(own) = self.pilots else {
            return false;
        };
        pilots.copy_from_slice(own);
        true
    }

    fn sum<'s>(&'s self, pilot: Option<&'s [T::Compute]>, _: Doors<'s, T>) -> Option<Sum<'s, T>> {
        match self.reads() {
            [Some(x), Some(dy)] => Some(Sum::Grads { x, dy, pilot, gate: None }),
            [Some(x), None] => Some(Sum::Moments { x, pilot }),
            _ => None,
        }
    }

    fn settle(&mut self, _: &impl KernelSet, state: &mut State<T::Compute>, _: bool) -> Settled {
        self.totals.copy_from_slice(&state.totals[..self.totals.len()]);
        Settled::Yes
    }

    fn coefficients(&mut self, _: &impl KernelSet, State { totals, hard, .. }: &mut State<T::Compute>) {
        let backward = self.stats.is_some();
        for (hard, (first, second)) in hard.iter_mut().zip(&totals[..self.totals.len()]) {
            let (first, second) = (first.to_f64(), second.to_f64());
            let told = match T::Compute::sums_are_safe() {
                true => first.is_finite(),
                false => T::Compute::fits(first) & T::Compute::fits(second) & T::Compute::sum_fits(second),
            };
            *hard = backward & !told;
        }
    }

    fn used(&self) -> &'static [usize] {
        &[]
    }

    fn map<'s>(
        &'s mut self,
        _: [&'s [T::Compute]; COEFS],
        _: Doors<'s, T>,
    ) -> Option<(Map<'s, T>, Target<'s, T>)> {
        None
    }

    fn hard(
        &mut self,
        hard: Hard<'_, impl KernelSet>,
        totals: &[Totals<T::Compute>],
        _: Option<StripsMut<'_, T>>,
    ) {
        if let ([Some(x), Some(dy)], Some(stats)) = (&self.of, self.stats) {
            let own = &mut *self.hard;
            let of = [x.reborrow(), dy.reborrow()];
            hard.gradient_sums(of, self.pilots, stats, totals, &mut |f, sums| own[f] = Some(sums));
        }
    }
}

/// The sums of a whole tensor, of x and dy as the backward has them, around `pilots`.
pub(super) fn sums<T: Element, B: Backend>(
    backend: &B,
    shape: Shape,
    [x, dy]: [&Strips<'_, T>; 2],
    pilots: &[T::Compute],
    totals: &mut [Totals<T::Compute>],
    workspace: &mut Workspace<T>,
) {
    let of = [Some(x.reborrow()), Some(dy.reborrow())];
    let step = Summing { shape, of, pilots: Some(pilots), totals, stats: None, hard: &mut [] };
    run(backend, step, workspace);
}

/// A part of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a, T: Element> {
    pub(crate) shape: Shape,
    /// x, or x and dy.
    pub(crate) of: [Option<&'a [T]>; 2],
    /// Which samples and positions exist; all without one.
    pub(crate) mask: Option<&'a [bool]>,
    /// Its first sample, as the batch counts them.
    pub(crate) first: usize,
    /// What the sums are taken around, or 0.
    pub(crate) pilots: Option<&'a [T::Compute]>,
    /// Of a backward: the statistics.
    pub(crate) stats: Option<StatsRef<'a, T::Compute>>,
}

/// The sums of a range of samples.
pub(crate) struct Summed<'s, R: Real> {
    pub(crate) samples: Range<usize>,
    /// The values of a feature that exist.
    pub(crate) count: usize,
    pub(crate) totals: &'s [Totals<R>],
    /// The backward's sums of features whose totals do not tell them, being out of range or not finite.
    pub(crate) hard: &'s [Option<HardSums>],
}

/// Sums a part of a batch. `put` gets the sums of each node: the samples of the batch that it covers.
///
/// A part that begins at a leaf has as many nodes as it takes to cover its leaves, so that they can be merged as in the whole; with
/// gaps in it, a node for each leaf. One that begins elsewhere is a single node.
pub(crate) fn sum_part<T: Element, B: Backend>(
    backend: &B,
    part: Part<'_, T>,
    workspace: &mut Workspace<T>,
    put: &mut dyn FnMut(Summed<'_, T::Compute>),
) {
    let Part { shape, first, mask, stats, .. } = part;
    let leaf = leaf_samples(shape.features(), shape.inner());
    let mut totals = vec![Totals::<T::Compute>::default(); shape.features()];
    let mut hard = vec![None; if stats.is_some() { shape.features() } else { 0 }];
    let mut sum = |rows: Range<usize>| {
        hard.fill(None);
        let count = part.sum_rows(backend, rows.clone(), (&mut totals, &mut hard), workspace);
        let samples = first + rows.start..first + rows.end;
        put(Summed { samples, count, totals: &totals, hard: &hard });
    };
    if shape.outer() == 0 {
        return;
    }
    if !first.is_multiple_of(leaf) {
        return sum(0..shape.outer());
    }
    let leaves = first / leaf..first / leaf + shape.outer().div_ceil(leaf);
    let mut node = |leaves: Range<usize>| {
        sum(leaves.start * leaf - first..(leaves.end * leaf - first).min(shape.outer()));
    };
    // Where values are missing the sums of a node are those of its leaves, however many of these a part has.
    match mask.is_some_and(|mask| mask.contains(&false)) {
        true => leaves.for_each(|leaf| node(leaf..leaf + 1)),
        false => tree::covering(leaves).for_each(node),
    }
}

/// How many nodes cover so many samples of a part from `first` on, once siblings have merged.
pub(crate) fn nodes(features: usize, inner: usize, first: usize, samples: usize) -> usize {
    let leaf = leaf_samples(features, inner);
    match (samples, first.is_multiple_of(leaf)) {
        (0, _) => 0,
        (_, false) => 1,
        (_, true) => tree::covering(first / leaf..first / leaf + samples.div_ceil(leaf)).count(),
    }
}

impl<T: Element> Part<'_, T> {
    /// The sums of some of its rows, and how many values of a feature they are of.
    fn sum_rows<B: Backend>(
        &self,
        backend: &B,
        rows: Range<usize>,
        (totals, hard): (&mut [Totals<T::Compute>], &mut [Option<HardSums>]),
        workspace: &mut Workspace<T>,
    ) -> usize {
        let &Self { shape, of, mask, pilots, stats, .. } = self;
        let (features, inner) = (shape.features(), shape.inner());
        let strip = features * inner;
        // A part of a tensor that has a shape has one too.
        let shape = Shape::new(rows.len(), features, inner).unwrap_or_default();
        let of = of.map(|of| of.and_then(|of| shape.strips(&of[rows.start * strip..rows.end * strip])));
        let gaps = mask.map(|mask| workspace.take_gaps(shape, &mask[rows.start * inner..rows.end * inner]));
        let Some(gaps) = gaps else {
            run(backend, Summing { shape, of, pilots, totals, stats, hard }, workspace);
            return shape.count();
        };
        let count = gaps.valid();
        if gaps.is_whole() {
            run(backend, Summing { shape, of, pilots, totals, stats, hard }, workspace);
        } else {
            let (shape, mut rooms) = (gaps.closed(features), workspace.take_rooms(1));
            let MaskRoom { workspace: own, buffers: [x, dy, ..] } = &mut rooms[0];
            let [of_x, of_dy] = of;
            let of = [(of_x, x), (of_dy, dy)].map(|(of, buf)| Some(gaps.gather(&of?, features, buf)));
            run(backend, Summing { shape, of, pilots, totals, stats, hard }, own);
            workspace.put_rooms(rooms);
        }
        workspace.put_gaps(gaps);
        count
    }
}

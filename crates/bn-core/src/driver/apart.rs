//! The sums of a part of a batch, apart from what becomes of them: node by node of the batch's tree.

use super::blocks::run;
use super::hard::Hard;
use super::plan::{Plan, leaf_samples};
use super::schedule::Task;
use super::step::{Settled, Step, split_columns, split_some};
use super::tree;
use super::workspace::{COEFS, State, Workspace};
use crate::kernel::{Backend, KernelSet, Map, Sum};
use crate::maths::Totals;
use crate::num::Element;
use crate::tensor::{Place, Shape, Strips, StripsMut};
use std::ops::Range;

/// Sums and nothing else, into a slice.
struct Summing<'a, T: Element> {
    shape: Shape,
    of: [Option<Strips<'a, T>>; 2],
    pilots: Option<&'a [T::Compute]>,
    totals: &'a mut [Totals<T::Compute>],
}

impl<T: Element> Step<T> for Summing<'_, T> {
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
        let tail = Self { shape: self.shape, of: [x1, dy1], pilots: pilots1, totals: totals1 };
        (Self { shape: self.shape, of: [x, dy], pilots, totals }, tail)
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

    fn sum<'s>(&'s self, pilot: Option<&'s [T::Compute]>) -> Option<Sum<'s, T>> {
        match self.reads() {
            [Some(x), Some(dy)] => Some(Sum::Grads { x, dy, pilot }),
            [Some(x), None] => Some(Sum::Moments { x, pilot }),
            _ => None,
        }
    }

    fn sum_beside(&self, _: usize) -> Option<Sum<'_, T>> {
        None
    }

    fn settle(&mut self, _: &impl KernelSet, state: &mut State<T::Compute>, _: bool) -> Settled {
        self.totals.copy_from_slice(&state.totals[..self.totals.len()]);
        Settled::Yes
    }

    fn coefficients(&mut self, _: &impl KernelSet, state: &mut State<T::Compute>) {
        state.hard.fill(false);
    }

    fn used(&self) -> &'static [usize] {
        &[]
    }

    fn map<'s>(&'s mut self, _: [&'s [T::Compute]; COEFS]) -> Option<(Map<'s, T>, StripsMut<'s, T>)> {
        None
    }

    fn hard(&mut self, _: Hard<'_, impl KernelSet>, _: &[Totals<T::Compute>]) {}
}

/// Takes the sums of a range of samples.
pub(crate) type PutSums<'p, R> = dyn FnMut(Range<usize>, &[Totals<R>]) + 'p;

/// Sums a part of a batch, whose first sample is that batch's sample `first`: x, or x and dy, around `pilots` or 0. `put` gets the
/// sums of each node: the samples of the batch that it covers.
///
/// A part that begins at a leaf has as many nodes as it takes to cover its leaves, so that they can be merged as in the whole. One
/// that begins elsewhere is a single node.
pub(crate) fn sum_part<T: Element, B: Backend>(
    backend: &B,
    (shape, of): (Shape, [Option<&[T]>; 2]),
    first: usize,
    pilots: Option<&[T::Compute]>,
    workspace: &mut Workspace<T>,
    put: &mut PutSums<'_, T::Compute>,
) {
    let (features, inner) = (shape.features(), shape.inner());
    let leaf = leaf_samples(features, inner);
    let mut totals = vec![Totals::<T::Compute>::default(); features];
    let strip = features * inner;
    let mut sum = |rows: Range<usize>| {
        // A part of a tensor that has a shape has one too.
        let shape = Shape::new(rows.len(), features, inner).unwrap_or_default();
        let of = of.map(|of| of.and_then(|of| shape.strips(&of[rows.start * strip..rows.end * strip])));
        run(backend, Summing { shape, of, pilots, totals: &mut totals }, workspace);
        put(first + rows.start..first + rows.end, &totals);
    };
    if shape.outer() == 0 {
        return;
    }
    if !first.is_multiple_of(leaf) {
        return sum(0..shape.outer());
    }
    let leaves = first / leaf..first / leaf + shape.outer().div_ceil(leaf);
    for node in tree::covering(leaves) {
        sum(node.start * leaf - first..(node.end * leaf - first).min(shape.outer()));
    }
}

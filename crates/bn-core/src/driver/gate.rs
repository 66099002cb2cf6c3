//! The gate of an activation in the backward: what of dy passes is put aside, block by block, before anything is summed.

use super::forward::{Forward, Renorm, Statistics};
use super::plan::Plan;
use super::post::split_post;
use super::step::{Doors, split_columns};
use super::target::Target;
use crate::kernel::{self, Affine, Clamp, Map, Post};
use crate::maths::renorm::Moved;
use crate::maths::{Params, StatsMut};
use crate::num::Element;
use crate::tensor::{Held, Shape, Strips, StripsMut};

/// A gate, and where dy goes that passes it.
#[derive(Debug)]
pub(crate) struct Gate<'a, T: Element> {
    pub(crate) clamp: Clamp<T::Compute>,
    /// Whether the kernels go through it, so that nothing is put aside.
    pub(crate) open: bool,
    /// Whether somebody asks for what passes, so that it is put aside anyhow.
    pub(crate) asked: bool,
    pub(crate) by: By<'a, T>,
    pub(crate) passed: Held<'a, T>,
}

/// What tells the gate.
#[derive(Debug)]
pub(crate) enum By<'a, T: Element> {
    /// The forward's output.
    Output(Strips<'a, T>),
    /// The same output, computed again.
    Again(Again<'a, T>),
}

/// What an output is computed from again, by the forward's own ways.
#[derive(Debug)]
pub(crate) struct Again<'a, T: Element> {
    pub(crate) y: Held<'a, T>,
    pub(crate) post: Post<'a, T>,
    pub(crate) bias: &'a [T::Compute],
    /// Room for the statistics of a batch.
    pub(crate) stats: StatsMut<'a, T::Compute>,
}

impl<'a, T: Element> Gate<'a, T> {
    pub(super) fn walked(self, plan: &Plan, shape: Shape) -> Self {
        let held = |held| plan.walked_held(shape, held);
        let by = match self.by {
            By::Output(y) => By::Output(plan.walked(shape, y)),
            By::Again(Again { y, post, bias, stats }) => {
                By::Again(Again { y: held(y), post: post.with(|plus| plan.walked(shape, plus)), bias, stats })
            }
        };
        Self { clamp: self.clamp, open: self.open, asked: self.asked, by, passed: held(self.passed) }
    }

    pub(super) fn split_at(self, feature: usize, col: usize) -> (Self, Self) {
        let Self { clamp, open, asked, by, passed } = self;
        let (passed, passed1) = passed.split_columns(col);
        let (by, by1) = match by {
            By::Output(y) => {
                let (y, y1) = split_columns(y, col);
                (By::Output(y), By::Output(y1))
            }
            By::Again(Again { y, post, bias, stats }) => {
                let ((y, y1), (post, post1)) = (y.split_columns(col), split_post(post, col));
                let (bias, bias1) = bias.split_at(feature.min(bias.len()));
                let (stats, stats1) = stats.split_at(feature);
                let tail = Again { y: y1, post: post1, bias: bias1, stats: stats1 };
                (By::Again(Again { y, post, bias, stats }), By::Again(tail))
            }
        };
        (Self { clamp, open, asked, by, passed }, Self { clamp, open, asked, by: by1, passed: passed1 })
    }

    /// Whether the kernels may go through it: then nobody sees what passes, and it has the same digits.
    pub(super) fn may_open(&self) -> bool {
        // What half types put aside is rounded, which shows behind a slope, and nowhere else.
        let rounded = T::NAME != <T::Compute as Element>::NAME && self.clamp.slope != T::Compute::default();
        !self.asked && !rounded
    }

    /// Its coefficients for the kernels, where they go through it.
    pub(super) fn of<'s>(&self, gates: Doors<'s, T>) -> Option<kernel::Gate<'s, T::Compute>> {
        self.open.then(|| self.through(gates))
    }

    /// Those coefficients with its activation.
    pub(super) fn through<'s>(&self, [k, a, b, ..]: Doors<'s, T>) -> kernel::Gate<'s, T::Compute> {
        kernel::Gate { affine: Affine { k, a, b }, clamp: self.clamp }
    }

    /// The map that lets dy pass.
    pub(super) fn map<'s>(&'s mut self, dy: Strips<'s, T>) -> (Map<'s, T>, StripsMut<'s, T>) {
        let y = match &self.by {
            By::Output(y) => y.reborrow(),
            By::Again(again) => again.y.read(),
        };
        (Map::Gated { dy, y, clamp: self.clamp }, self.passed.write())
    }
}

impl<T: Element> Again<'_, T> {
    /// The forward, with the statistics that it took.
    pub(super) fn forward<'s>(
        &'s mut self,
        (shape, x): (Shape, Strips<'s, T>),
        weight: &'s [T::Compute],
        stats: Option<Statistics<'s, T>>,
        (eps, count): (f64, usize),
        moved: Option<Moved<'s, T::Compute>>,
    ) -> Forward<'s, T> {
        let Self { y, post, bias, stats: own } = self;
        let (y, post, params) = (Target::Fresh(y.write()), post.reborrow(), Params { weight, bias });
        let stats = stats.unwrap_or(Statistics::Batch(own.reborrow()));
        Forward { shape, x, y, post, params, stats, eps, count, renorm: moved.map(Renorm::By) }
    }
}

//! Hard features: those whose numbers leave the safe range of their type, see [`crate::maths`].
//!
//! ```text
//! f32, f16, bf16      their sums are right in f64: only the map is done again, in f64
//! f64                 extents, sums and map in units of powers of two; statistics and sums from elsewhere are
//!                     taken as they are
//! ```
//!
//! 1. Whatever touches an element is done by the backend's kernels for f64, or in small loops that are compiled for its
//!    instruction set ([`window`]). Which features go together changes no bit.
//! 2. What is not finite is settled first: the ordinary step has given what it must be, but for the class of Σdy·x̂.

mod extent;
mod window;
mod work;

use super::backward::Needs;
use super::plan::Plan;
use crate::kernel::KernelSet;
use crate::maths::Stats;
use crate::num::{Dd, Element, Real};
use crate::tensor::{Strips, StripsMut};
use window::{Kind, Pieces, WIDTH, Window};
use work::{Slot, Work};

/// What hard features need; made where there is one, and kept.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pieces: Pieces,
    features: Vec<usize>,
    slots: Vec<Slot>,
}

impl Default for Desk {
    fn default() -> Self {
        let (features, slots) = (Vec::with_capacity(WIDTH), vec![Slot::default(); WIDTH]);
        Self { pieces: Pieces::default(), features, slots }
    }
}

/// How many hard features go together.
pub(super) fn fitting(plan: &Plan) -> usize {
    Window::fitting(plan.shape.inner())
}

/// Where hard features lie, and what they have.
pub(super) struct Hard<'h, K, R: Real> {
    pub(super) set: &'h K,
    /// Their numbers within the block, ascending, not more than [`fitting`].
    pub(super) features: &'h [usize],
    /// The columns of a feature.
    pub(super) inner: usize,
    /// Added to the variance.
    pub(super) eps: f64,
    /// The values of a feature.
    pub(super) count: usize,
    /// γ and β of a feature.
    pub(super) params: &'h dyn Fn(usize) -> (R, R),
}

/// The statistics of a feature.
type Known<'s, R> = &'s dyn Fn(usize) -> Stats<R>;
/// dβ and dγ of a feature, either where it was to be taken anew.
type Put<'s, R> = &'s mut dyn FnMut(usize, [Option<R>; 2]);

/// The tensors of a backward.
pub(super) struct Tensors<'t, T> {
    pub(super) x: Strips<'t, T>,
    pub(super) dy: Strips<'t, T>,
    pub(super) dx: Option<StripsMut<'t, T>>,
}

impl<K: KernelSet, R: Real> Hard<'_, K, R> {
    fn work<'d>(&self, desk: &'d mut Desk, inner: usize) -> Work<'d>
    where
        Self: 'd,
    {
        desk.features.clear();
        desk.features.extend_from_slice(self.features);
        let Desk { pieces, features, slots } = desk;
        Work { inner, pieces, features, slots }
    }

    /// y of these features, from known statistics.
    pub(super) fn forward<T: Element<Compute = R>>(
        &self,
        desk: &mut Desk,
        x: Strips<'_, T>,
        y: StripsMut<'_, T>,
        stats: Known<'_, R>,
    ) {
        let ([x, _], y, inner) = lengthened([x, x], Some(y), self.inner);
        let mut work = self.work(desk, inner);
        work.take_given(self.set, &x, stats);
        self.normalize(work, &x, y);
    }

    /// y of these features, and the batch's statistics, which are `found`: those of its sums may be lost.
    pub(super) fn forward_anew<T: Element<Compute = R>>(
        &self,
        desk: &mut Desk,
        x: Strips<'_, T>,
        y: StripsMut<'_, T>,
        found: &mut dyn FnMut(usize, &Stats<R>),
    ) {
        let ([x, _], y, inner) = lengthened([x, x], Some(y), self.inner);
        let mut work = self.work(desk, inner);
        work.take_statistics(self.set, &x, (self.count, self.eps), found);
        self.normalize(work, &x, y);
    }

    fn normalize<T: Element<Compute = R>>(
        &self,
        mut work: Work<'_>,
        x: &Strips<'_, T>,
        y: Option<StripsMut<'_, T>>,
    ) {
        for (slot, f) in work.each() {
            let (weight, bias) = (self.params)(f);
            slot.coef = slot.frame.affine(weight.to_f64(), bias.to_f64());
        }
        if let Some(mut y) = y {
            work.map(self.set, Kind::Normalize, [Some(x), None], &mut y);
        }
    }

    /// dx of these features through the batch's statistics. dβ and dγ are `known`, or taken anew with the statistics.
    pub(super) fn backward<T: Element<Compute = R>>(
        &self,
        desk: &mut Desk,
        Tensors { x, dy, dx }: Tensors<'_, T>,
        stats: Known<'_, R>,
        known: Option<&dyn Fn(usize) -> [Dd; 2]>,
        put: Put<'_, R>,
    ) {
        let ([x, dy], dx, inner) = lengthened([x, dy], dx, self.inner);
        let mut work = self.work(desk, inner);
        if let Some(known) = known {
            work.take_known(self.set, &x, &dy, stats, known);
        } else {
            work.take_statistics(self.set, &x, (self.count, self.eps), &mut |_, _| ());
            work.take_gradients(self.set, &x, &dy, put);
        }
        work.settle_classes(self.set, &x, &dy, put);
        let Some(mut dx) = dx else {
            return;
        };
        for (slot, f) in work.each() {
            let weight = (self.params)(f).0.to_f64();
            slot.coef = slot.frame.through(weight, self.count, slot.sums, slot.unit);
        }
        work.map(self.set, Kind::GradInput, [Some(&x), Some(&dy)], &mut dx);
    }

    /// dx = dy·a of these features, and the sums that are needed anew.
    pub(super) fn constants<T: Element<Compute = R>>(
        &self,
        desk: &mut Desk,
        Tensors { x, dy, dx }: Tensors<'_, T>,
        stats: Known<'_, R>,
        needs: Needs,
        put: Put<'_, R>,
    ) {
        let ([x, dy], dx, inner) = lengthened([x, dy], dx, self.inner);
        let mut work = self.work(desk, inner);
        match needs {
            Needs::None => (),
            Needs::Dy => work.take_dbias(self.set, &dy, put),
            Needs::Both => work.take_constant_gradients(self.set, &x, &dy, stats, put),
        }
        let Some(mut dx) = dx else {
            return;
        };
        work.take_units(self.set, &dy, stats);
        for (slot, f) in work.each() {
            slot.coef = slot.frame.constant((self.params)(f).0.to_f64(), slot.unit);
        }
        work.map(self.set, Kind::Scale, [None, Some(&dy)], &mut dx);
    }
}

/// Strips of a single value as one long strip, the inputs and the output alike; as they are where any has gaps. With it the
/// columns of a feature, `inner` before.
fn lengthened<'i, 'o, T: Copy>(
    inputs: [Strips<'i, T>; 2],
    out: Option<StripsMut<'o, T>>,
    inner: usize,
) -> ([Strips<'i, T>; 2], Option<StripsMut<'o, T>>, usize) {
    let rows = inputs[0].rows();
    let [first, second] = inputs.each_ref().map(|x| x.as_slice().filter(|_| x.len() == 1));
    let long = |all| Strips::from_slice(all, 1, rows);
    let gaps = out.as_ref().is_some_and(|out| !out.place().contiguous);
    let (Some(first), Some(second), false) = (first.and_then(long), second.and_then(long), gaps) else {
        return (inputs, out, inner);
    };
    let out = out.and_then(StripsMut::into_output).and_then(|all| StripsMut::from_output(all, 1, rows));
    ([first, second], out, rows)
}

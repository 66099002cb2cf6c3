//! Hard features: those whose numbers leave the safe range of their type, see [`crate::maths`].
//!
//! ```text
//! f32, f16, bf16      their sums are right in f64: the map alone is another one, in f64 ([`direct`])
//! f64                 extents, sums and map in units of powers of two ([`pieces`]); statistics and sums from
//!                     elsewhere are taken as they are
//! the double backward every type as f64, with sums in double-double ([`second`])
//! ```
//!
//! 1. Whatever touches an element is done by the backend's kernels for f64, or in small loops that are compiled for its
//!    instruction set. Which features go together changes no bit.
//! 2. What is not finite is settled first ([`class`]): where a sum is NaN, so is all that is mapped with it.
//! 3. The ordinary map leaves hard features alone, or is left out where a block has no others: it could take a hundred cycles
//!    for each product that is subnormal.

mod apart;
mod class;
mod direct;
mod extent;
mod pieces;
pub(super) mod second;
mod settle;
mod window;
mod work;

use super::given::Known;
use super::needs::Needs;
use super::plan::NEEDS_CONTIGUOUS;
use crate::kernel::{KernelSet, Post};
use crate::maths::frame::Frame;
use crate::maths::renorm::{Moved, Taking};
use crate::maths::{Moments, Params, Stats, StatsRef};
use crate::num::{Dd, Element, Real, Wide};
use crate::tensor::{Strips, StripsMut};
use pieces::{Inputs, Kind, Pieces};
use window::{WIDTH, Window};
use work::{Slot, Work};

/// What hard features need; made where there is one, and kept.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pieces: Pieces,
    features: Vec<usize>,
    lost: Vec<usize>,
    infinite: Vec<usize>,
    slots: Vec<Slot>,
}

impl Default for Desk {
    fn default() -> Self {
        let [features, lost, infinite] = [(); 3].map(|()| Vec::with_capacity(WIDTH));
        Self { pieces: Pieces::default(), features, lost, infinite, slots: vec![Slot::default(); WIDTH] }
    }
}

/// How many hard features of `inner` columns go together.
pub(super) fn fitting(inner: usize) -> usize {
    Window::fitting(inner)
}

/// Where hard features lie, and what they are worked on with.
pub(super) struct Hard<'h, K> {
    pub(super) set: &'h K,
    /// Their numbers within the block, ascending, not more than [`fitting`].
    pub(super) features: &'h [usize],
    /// The columns of a feature.
    pub(super) inner: usize,
    /// Whether the tensor is of one feature and rows of its values are joined.
    pub(super) long: bool,
    pub(super) desk: &'h mut Desk,
}

/// dβ and Σdy·x̂ of a feature, either where it was to be taken anew: each as a number and an exponent.
type Put<'s> = &'s mut dyn FnMut(usize, [Option<(Dd, i32)>; 2]);

/// What hard features are renormalized by.
pub(super) enum Renormed<'r, 'a, R: Real> {
    /// By nothing.
    Not,
    /// By what is known.
    By(Moved<'a, R>),
    /// By what is taken anew with the statistics.
    Anew(&'r mut Taking<'a, R>),
}

/// The tensors of a backward.
pub(super) struct Tensors<'t, T> {
    pub(super) x: Strips<'t, T>,
    pub(super) dy: Strips<'t, T>,
    pub(super) dx: Option<StripsMut<'t, T>>,
}

impl<T: Copy> Tensors<'_, T> {
    fn lengthened(self, long: bool) -> Self {
        let Self { x, dy, dx } = self;
        let dx = dx.map(|dx| lengthened_mut(dx, long));
        Self { x: lengthened(x, long), dy: lengthened(dy, long), dx }
    }
}

impl<'h, K: KernelSet> Hard<'h, K> {
    /// The same in work on such strips.
    fn work<T>(self, strips: &Strips<'_, T>) -> Work<'h, K> {
        let inner = if self.long { strips.len() } else { self.inner };
        let Desk { pieces, features, lost, infinite, slots } = self.desk;
        [&mut *features, lost, infinite].into_iter().for_each(Vec::clear);
        features.extend_from_slice(self.features);
        Work { set: self.set, inner, pieces, features, lost, infinite, slots }
    }

    /// y of these features, and what `post` makes of it, from known statistics and what they are moved by; with the moments they are from, or none, and eps.
    pub(super) fn forward<T: Element>(
        self,
        (x, post): (Strips<'_, T>, Post<'_, T>),
        y: StripsMut<'_, T>,
        params: (Params<'_, T::Compute>, Option<Moved<'_, T::Compute>>),
        stats: StatsRef<'_, T::Compute>,
        moments: (&[Moments], f64),
    ) {
        let (x, y) = (lengthened(x, self.long), lengthened_mut(y, self.long));
        let post = post.with(|plus| lengthened(plus, self.long));
        let mut work = self.work(&x);
        work.take_given(&x, stats, moments);
        work.normalize(params, (&x, &post), y);
    }

    /// y of these features, and the batch's statistics, which are `found`: those of its sums may be lost. `batch` is the number of
    /// values and eps.
    pub(super) fn forward_anew<T: Element>(
        self,
        (x, post): (Strips<'_, T>, Post<'_, T>),
        y: StripsMut<'_, T>,
        (params, renormed): (Params<'_, T::Compute>, Renormed<'_, '_, T::Compute>),
        batch: (usize, f64),
        found: &mut dyn FnMut(usize, &Stats<T::Compute>),
    ) {
        let (x, y) = (lengthened(x, self.long), lengthened_mut(y, self.long));
        let post = post.with(|plus| lengthened(plus, self.long));
        let mut work = self.work(&x);
        work.take_statistics(&x, batch, found);
        let moved = match renormed {
            Renormed::Not => None,
            Renormed::By(moved) => Some(moved),
            Renormed::Anew(taking) => {
                work.each().for_each(|(slot, f)| taking.take_framed(f, &slot.frame));
                Some(taking.read())
            }
        };
        work.normalize((params, moved), (&x, &post), y);
    }

    /// dx of these features through the batch's statistics. `totals` are dβ and Σdy·x̂. Those of f64 may be lost, and are taken anew with
    /// the statistics, unless they are `given` from elsewhere.
    pub(super) fn backward<T: Element>(
        self,
        tensors: Tensors<'_, T>,
        (params, moved): (Params<'_, T::Compute>, Option<Moved<'_, T::Compute>>),
        batch: (usize, f64),
        stats: StatsRef<'_, T::Compute>,
        (totals, given): Known<'_, T::Compute>,
        put: Put<'_>,
    ) {
        let Tensors { x, dy, mut dx } = tensors.lengthened(self.long);
        let mut work = self.work(&x);
        let overflowed =
            work.settle_classes([&x, &dy], (params, moved), stats, (totals, given), &mut dx, put);
        if given.is_some() || T::Compute::sums_are_safe() {
            work.take_known(&x, &dy, stats, (totals, given), batch);
        } else {
            if overflowed {
                // An x that is not finite ends what comes, but dβ does not depend on it.
                work.take_dy(&dy);
                work.take_dbias(&dy, put);
            }
            work.take_statistics(&x, batch, &mut |_, _| ());
            work.take_gradients(&x, &dy, put);
        }
        if let Some(mut dx) = dx {
            for (slot, f) in work.each() {
                let weight = params.get(f).0.to_f64();
                let r = moved.map_or(Dd::from_f64(1.0), |moved| moved.get(f)[0]);
                slot.coef = slot.frame.through((weight, r), batch.0, slot.sums, slot.unit);
            }
            work.map(Inputs::gradients(Kind::GradInput, Some(x), dy), &mut dx);
            work.fill_lost(&mut dx);
        }
    }

    /// dx = dy·a of these features, and the sums that are needed anew.
    pub(super) fn constants<T: Element>(
        self,
        tensors: Tensors<'_, T>,
        params: Params<'_, T::Compute>,
        stats: StatsRef<'_, T::Compute>,
        needs: Needs,
        put: Put<'_>,
    ) {
        let Tensors { x, dy, dx } = tensors.lengthened(self.long);
        let mut work = self.work(&x);
        work.take_dy(&dy);
        match needs {
            Needs::None => (),
            Needs::Dy => work.take_dbias(&dy, put),
            Needs::Both => work.take_constant_gradients(&x, &dy, stats, put),
        }
        if let Some(mut dx) = dx {
            for (slot, f) in work.each() {
                // x does not enter, whatever its unit.
                let frame = Frame::given(&stats.get(f), 0);
                slot.coef = frame.constant(params.get(f).0.to_f64(), slot.unit);
            }
            work.map(Inputs::gradients(Kind::Scale, None, dy), &mut dx);
        }
    }
}

/// Single values, one behind the other, as one long strip. Shapes alone decide whether they are, so that gaps change no bit.
fn lengthened<T: Copy>(strips: Strips<'_, T>, long: bool) -> Strips<'_, T> {
    if !long {
        return strips;
    }
    let long = strips.as_slice().and_then(|all| Strips::from_slice(all, 1, strips.rows()));
    long.unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"))
}

/// As [`lengthened`], to write.
fn lengthened_mut<T: Copy>(strips: StripsMut<'_, T>, long: bool) -> StripsMut<'_, T> {
    if !long {
        return strips;
    }
    let rows = strips.rows();
    let long = strips.into_output().and_then(|all| StripsMut::from_output(all, 1, rows));
    long.unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"))
}

//! Hard features in work: what is found out about each before its map, window by window.

use super::Put;
use super::class::{self, Asked, Class};
use super::direct::{fill_nan, map_one, map_window};
use super::extent::Extent;
use super::pieces::{Inputs, Kind, Pieces};
use super::window::{WIDTH, Window};
use crate::driver::given::Known;
use crate::kernel::{KernelSet, Post};
use crate::maths::frame::{Coef, Frame, double};
use crate::maths::renorm::Moved;
use crate::maths::{Moments, Params, Side, Stats, StatsRef};
use crate::num::wide::{exponent, ldexp};
use crate::num::{Dd, Element, Real, Wide};
use crate::tensor::{Strips, StripsMut};
use std::ops::Range;

/// What a double backward finds out about a feature beside its frame: sides of dy and v, and how far x reaches from its mean.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) dy: Side,
    pub(super) v: Side,
    pub(super) far: f64,
}

/// A feature.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) frame: Frame,
    pub(super) coef: Coef,
    pub(super) extent: Extent,
    /// Two sums as they are taken, then dβ and dγ in units of dy.
    pub(super) sums: [Dd; 2],
    /// The exponent of the unit of dy.
    pub(super) unit: i32,
    /// Σ of the dy that are not finite: 0 where there are none.
    pub(super) others: f64,
    /// Of the double backward.
    pub(super) second: Second,
}

impl Slot {
    /// dβ, from Σdy in units of dy.
    fn dbias(&self) -> (Dd, i32) {
        if self.others == 0.0 { (self.sums[0], self.unit) } else { (Dd::from_f64(self.others), 0) }
    }
}

/// What the statistics of a feature are.
pub(super) enum Taken<'s> {
    /// NaN, with the class of the mean.
    Lost(f64),
    /// These, in the unit of the frame.
    Found(&'s mut Slot, Stats<f64>),
}

/// Features with their slots, which stand in the same order.
pub(super) struct Work<'w, K> {
    pub(super) set: &'w K,
    pub(super) inner: usize,
    pub(super) pieces: &'w mut Pieces,
    pub(super) features: &'w mut Vec<usize>,
    /// Features whose results are all NaN.
    pub(super) lost: &'w mut Vec<usize>,
    /// Features whose Σdy is infinite, before they are mapped.
    pub(super) infinite: &'w mut Vec<usize>,
    pub(super) slots: &'w mut Vec<Slot>,
}

/// The exponent of the unit of what is at most this large.
pub(super) fn unit(largest: f64) -> i32 {
    if largest > 0.0 && largest.is_finite() { exponent(largest) } else { 0 }
}

/// The columns of feature `f`.
fn columns(f: usize, inner: usize) -> Range<usize> {
    f * inner..(f + 1) * inner
}

/// Makes `pieces` ready to read the window's features: x without its pilot and dy, each in its unit.
pub(super) fn take_to(pieces: &mut Pieces, window: &Window<'_>, slots: &[Slot]) {
    pieces.scales[0].set(window, |i| -slots[i].frame.unit);
    pieces.scales[1].set(window, |i| -slots[i].unit);
    window.spread(|i| slots[i].frame.k, &mut pieces.k);
}

impl<K: KernelSet> Work<'_, K> {
    /// Each feature's slot and its number.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (&mut Slot, usize)> {
        self.slots.iter_mut().zip(self.features.iter().copied())
    }

    /// Goes on with the features that are to be kept alone: the results of the others are all NaN.
    pub(super) fn retain(&mut self, keep: impl Fn(&Slot) -> bool) {
        let mut kept = 0;
        for i in 0..self.features.len() {
            if keep(&self.slots[i]) {
                self.features.swap(kept, i);
                self.slots.swap(kept, i);
                kept += 1;
            }
        }
        self.lost.extend(self.features.drain(kept..));
    }

    pub(super) fn extents<T: Element>(&mut self, of: &Strips<'_, T>) {
        self.each().for_each(|(slot, _)| slot.extent = Extent::default());
        let Self { set, inner, pieces, features, slots, .. } = self;
        for window in Window::of(features, *inner) {
            pieces.extents(*set, &window, of, |i, extent| slots[i].extent.join(extent));
        }
    }

    /// The sums of x around the frames' k, or of x and dy.
    pub(super) fn sum<T: Element>(&mut self, x: &Strips<'_, T>, dy: Option<&Strips<'_, T>>) {
        self.each().for_each(|(slot, _)| slot.sums = Default::default());
        let Self { set, inner, pieces, features, slots, .. } = self;
        for window in Window::of(features, *inner) {
            take_to(pieces, &window, slots);
            pieces.sum(*set, &window, x, dy, |i, lane| {
                for (sum, (hi, lo)) in slots[i].sums.iter_mut().zip(lane) {
                    *sum = *sum + Dd::from_parts(hi, lo);
                }
            });
        }
    }

    /// Frames of the batch's statistics, taken in units of their own and `found`. Features whose x is not finite are left out, with
    /// the class of their mean, which sums that overflowed may not have.
    pub(super) fn take_statistics<T: Element>(
        &mut self,
        x: &Strips<'_, T>,
        (n, eps): (usize, f64),
        found: &mut dyn FnMut(usize, &Stats<T::Compute>),
    ) {
        self.take_scaled(x, n, &mut |f, taken| match taken {
            Taken::Lost(class) => {
                let nan = <T::Compute as Real>::Wide::from_f64(f64::NAN);
                found(f, &Stats { k: T::Compute::from_f64(class), delta: nan, var: nan, invstd: nan });
            }
            Taken::Found(slot, stats) => {
                let (frame, kept) = Frame::of_batch(slot.frame.unit, &stats, eps);
                slot.frame = frame;
                found(f, &kept);
            }
        });
    }

    /// The batch's statistics in units of their own, without eps.
    pub(super) fn take_scaled<T: Element>(
        &mut self,
        x: &Strips<'_, T>,
        n: usize,
        found: &mut dyn FnMut(usize, Taken<'_>),
    ) {
        self.extents(x);
        for (slot, f) in self.each().filter(|(slot, _)| !slot.extent.is_finite()) {
            found(f, Taken::Lost(slot.extent.others));
        }
        self.retain(|slot| slot.extent.is_finite());
        for (slot, _) in self.each() {
            slot.frame = Frame::around_0(unit(slot.extent.largest()));
        }
        let stats = |slot: &Slot, pilot| {
            let [first, second] = slot.sums;
            Stats::<f64>::from_sums(n, pilot, first, second, 0.0).0
        };
        self.sum(x, None);
        for (slot, _) in self.each() {
            slot.frame.k = stats(slot, None).k;
        }
        self.sum(x, None);
        for (slot, f) in self.each() {
            let stats = stats(slot, Some(slot.frame.k));
            found(f, Taken::Found(slot, stats));
        }
    }

    /// Frames of known statistics; with the moments they are from, or none, and eps.
    pub(super) fn take_given<T: Element>(
        &mut self,
        x: &Strips<'_, T>,
        stats: StatsRef<'_, T::Compute>,
        (moments, eps): (&[Moments], f64),
    ) {
        // All that becomes of f32 fits f64 as it is.
        let scaled = !T::Compute::sums_are_safe();
        if scaled {
            self.extents(x);
        }
        for (slot, f) in self.each() {
            if let Some(moments) = moments.get(f).filter(|moments| moments.unit != 0) {
                slot.frame = moments.framed::<T::Compute>(eps).0;
                continue;
            }
            let stats = stats.get(f);
            let largest = slot.extent.largest().max(stats.k.to_f64().abs());
            slot.frame = Frame::given(&stats, if scaled { unit(largest) } else { 0 });
        }
    }

    /// The unit of dy, and what it has that is not finite.
    pub(super) fn take_dy<T: Element>(&mut self, dy: &Strips<'_, T>) {
        if T::Compute::sums_are_safe() {
            return self.each().for_each(|(slot, _)| slot.unit = 0);
        }
        self.extents(dy);
        for (slot, _) in self.each() {
            (slot.unit, slot.others) = (unit(slot.extent.largest()), slot.extent.others);
        }
    }

    /// Frames, units and sums that are known: dβ and dγ.
    pub(super) fn take_known<T: Element>(
        &mut self,
        x: &Strips<'_, T>,
        dy: &Strips<'_, T>,
        stats: StatsRef<'_, T::Compute>,
        (known, given): Known<'_, T::Compute>,
        (n, eps): (usize, f64),
    ) {
        let (hard, moments) = given.map_or((&[][..], &[][..]), |given| (given.hard, given.moments));
        self.take_given(x, stats, (moments, eps));
        self.take_dy(dy);
        let scaled = !T::Compute::sums_are_safe();
        for (slot, f) in self.each() {
            let plain = || [(double(known[f].0), 0), (double(known[f].1), 0)];
            let sums = hard.get(f).copied().flatten().unwrap_or_else(plain);
            if scaled {
                // The dy of a part may be nothing beside the means of the whole, be it in a unit of its own.
                let of = |v: f64, e: i32| (v != 0.0 && v.is_finite()).then(|| exponent(v) + e);
                let means = sums.map(|(v, e)| of(v.to_f64(), e - exponent(n as f64)));
                let own = of(slot.extent.largest(), 0);
                slot.unit = own.max(means[0]).max(means[1]).unwrap_or(0);
            }
            slot.sums = sums.map(|(sum, e)| sum.ldexp(e - slot.unit));
        }
    }

    /// dβ and dγ around the frames' k, of a dy that is finite.
    pub(super) fn take_gradients<T: Element>(&mut self, x: &Strips<'_, T>, dy: &Strips<'_, T>, put: Put<'_>) {
        self.take_dy(dy);
        self.sum(x, Some(dy));
        for (slot, f) in self.each() {
            // x̂ may be so small that dγ is nothing but in units of dy.
            let (dweight, power) = slot.frame.dweight_apart(slot.sums);
            put(f, [Some((slot.sums[0], slot.unit)), Some((dweight, power + slot.unit))]);
            slot.sums[1] = slot.frame.dweight(slot.sums, 0);
        }
    }

    /// dβ alone, of which the units are taken already.
    pub(super) fn take_dbias<T: Element>(&mut self, dy: &Strips<'_, T>, put: Put<'_>) {
        for (slot, _) in self.each() {
            slot.frame = Frame::around_0(slot.unit);
        }
        self.sum(dy, None);
        for (slot, f) in self.each() {
            put(f, [Some(slot.dbias()), None]);
        }
    }

    /// dβ and dγ, the statistics being constants; the units of dy are taken already.
    pub(super) fn take_constant_gradients<T: Element>(
        &mut self,
        x: &Strips<'_, T>,
        dy: &Strips<'_, T>,
        stats: StatsRef<'_, T::Compute>,
        put: Put<'_>,
    ) {
        self.take_given(x, stats, (&[], 0.0));
        self.sum(x, Some(dy));
        let finite = |slot: &Slot| slot.others == 0.0 && slot.extent.is_finite();
        let mut classes = [Class::default(); WIDTH];
        if !self.each().all(|(slot, _)| finite(slot)) {
            let (features, around) = (&*self.features, |f: usize| [stats.k[f].to_f64(), 0.0]);
            for window in Window::of(features, self.inner) {
                let classes = &mut classes[..features.len()];
                class::add(
                    self.set,
                    &window,
                    [&x.reborrow(), &dy.reborrow()],
                    |i| around(features[i]),
                    Asked::All,
                    classes,
                );
            }
        }
        for ((slot, f), class) in self.each().zip(classes) {
            let dweight = match finite(slot) {
                true => {
                    let (dweight, power) = slot.frame.dweight_apart(slot.sums);
                    (dweight, power + slot.unit)
                }
                // Of a class invstd is no more than a sign, 0 or NaN.
                false => (Dd::from_f64(class[1] * stats.invstd[f].to_f64()), 0),
            };
            put(f, [Some(slot.dbias()), Some(dweight)]);
        }
    }

    /// y of all features, of x̂·r + d where they are `moved`, and what `post` makes of it.
    pub(super) fn normalize<T: Element>(
        &mut self,
        (params, moved): (Params<'_, T::Compute>, Option<Moved<'_, T::Compute>>),
        (x, post): (&Strips<'_, T>, &Post<'_, T>),
        mut y: StripsMut<'_, T>,
    ) {
        for (slot, f) in self.each() {
            let (weight, bias) = params.get(f);
            // f64 holds all that becomes of f32, and has no extents of it.
            let direct = T::Compute::sums_are_safe();
            let from_mean = |v| ldexp(v, -slot.frame.unit) - slot.frame.k;
            let far = if direct { 1.0 } else { slot.extent.farthest(from_mean) };
            let (weight, bias) = (weight.to_f64(), bias.to_f64());
            slot.coef = match moved {
                Some(moved) => slot.frame.affine_moved(far, weight, bias, moved.get(f)),
                None => slot.frame.affine(far, weight, bias),
            };
        }
        if let Some(plus) = post.plus().filter(|_| !T::Compute::sums_are_safe()) {
            // What is added is in the units of the result, which leave it room.
            self.extents(&plus);
            for (slot, _) in self.each() {
                let Coef { a, b, out, .. } = slot.coef;
                let (own, shift) = (out.max(unit(slot.extent.largest())), |v, by| ldexp(v, by));
                let (a, b) = (shift(a, out - own), shift(b, out - own));
                (slot.coef, slot.unit) = (Coef { a, b, out: own, ..slot.coef }, own);
            }
        }
        self.map(Inputs::normalize(x.reborrow(), post.reborrow()), &mut y);
        self.fill_lost(&mut y);
    }

    /// Makes the results of the lost features NaN.
    pub(super) fn fill_lost<T: Element>(&mut self, out: &mut StripsMut<'_, T>) {
        self.lost.sort_unstable();
        Window::of(self.lost, self.inner).for_each(|window| fill_nan(&window, out));
    }

    /// Maps all features to `out` that are not lost.
    pub(super) fn map<T: Element>(&mut self, inputs: Inputs<'_, T>, out: &mut StripsMut<'_, T>) {
        let (kind, inner) = (inputs.kind, self.inner);
        if !T::Compute::sums_are_safe() {
            return self.map_scaled(inputs, out);
        }
        self.each().for_each(|(slot, _)| slot.coef = slot.coef.unscaled());
        let Self { set, pieces, features, slots, .. } = self;
        if features.len() == 1 || Window::fitting(inner) == 1 {
            for (slot, &f) in slots.iter().zip(&**features) {
                let Coef { delta, a, d, m, .. } = slot.coef;
                let coefs = [slot.frame.k, delta, a, kind.third(&slot.coef), d, m];
                map_one(*set, columns(f, inner), inputs, coefs, out);
            }
            return;
        }
        for window in Window::of(features, inner) {
            spread(pieces, kind, &window, slots);
            window.spread(|i| slots[i].frame.k, &mut pieces.k);
            let [delta, a, bc, d, m, ..] = pieces.coefs.each_ref().map(|row| &row[..]);
            map_window(*set, &window, inputs, [&pieces.k, delta, a, bc, d, m], out);
        }
    }

    /// The same in the units of the features.
    pub(super) fn map_scaled<T: Element>(&mut self, inputs: Inputs<'_, T>, out: &mut StripsMut<'_, T>) {
        let Self { set, inner, pieces, features, slots, .. } = self;
        for window in Window::of(features, *inner) {
            spread(pieces, inputs.kind, &window, slots);
            take_to(pieces, &window, slots);
            pieces.scales[2].set(&window, |i| slots[i].coef.out);
            pieces.map(*set, &window, inputs, out);
        }
    }
}

/// The coefficients of a window's columns.
fn spread(pieces: &mut Pieces, kind: Kind, window: &Window<'_>, slots: &[Slot]) {
    let [delta, a, bc, d, m, ..] = &mut pieces.coefs;
    window.spread(|i| slots[i].coef.delta, delta);
    window.spread(|i| slots[i].coef.a, a);
    window.spread(|i| kind.third(&slots[i].coef), bc);
    window.spread(|i| slots[i].coef.d, d);
    window.spread(|i| slots[i].coef.m, m);
}

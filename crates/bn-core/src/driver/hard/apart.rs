//! Hard features of a part of a batch: moments and sums in units of their own, without a map.

use super::class::{self, Asked, Class};
use super::window::{WIDTH, Window};
use super::work::{Slot, Taken, unit};
use super::{Hard, lengthened};
use crate::kernel::KernelSet;
use crate::maths::frame::Frame;
use crate::maths::{HardSums, Moments, StatsRef, Totals};
use crate::num::wide::{exponent, ldexp};
use crate::num::{Element, Real, Wide};
use crate::tensor::Strips;

/// A max |dy|·σ from which on no product of a backward underflows that counts: n·2⁻¹⁰⁷⁴ is then far below u·2⁻²⁰ of it.
const LARGE: f64 = 1e-270;

impl<K: KernelSet> Hard<'_, K> {
    /// The moments of these features over `n` values each.
    pub(in crate::driver) fn moments<T: Element>(
        self,
        x: Strips<'_, T>,
        n: usize,
        found: &mut dyn FnMut(usize, Moments),
    ) {
        let x = lengthened(x, self.long);
        self.work(&x).take_scaled(&x, n, &mut |f, taken| {
            let moments = match taken {
                Taken::Lost(class) => Moments::not_finite(T::Compute::from_f64(class).to_f64()),
                Taken::Found(slot, stats) => Moments::scaled::<T::Compute>(&stats, slot.frame.unit),
            };
            found(f, moments);
        });
    }

    /// The backward's sums around `pilots`, or 0, of those of these features whose `totals` do not tell them.
    pub(in crate::driver) fn gradient_sums<T: Element>(
        self,
        [x, dy]: [Strips<'_, T>; 2],
        pilots: Option<&[T::Compute]>,
        stats: StatsRef<'_, T::Compute>,
        totals: &[Totals<T::Compute>],
        found: &mut dyn FnMut(usize, HardSums),
    ) {
        let (x, dy) = (lengthened(x, self.long), lengthened(dy, self.long));
        let pilot = |f: usize| pilots.map_or(0.0, |pilots| pilots[f].to_f64());
        let mut work = self.work(&x);
        work.extents(&dy);
        let mut largest = [0.0; WIDTH];
        for ((slot, _), largest) in work.each().zip(&mut largest) {
            (*largest, slot.others) = (slot.extent.largest(), slot.extent.others);
        }
        work.extents(&x);
        // 1. Features that the totals do not tell, with units of x and dy.
        let mut told = [false; WIDTH];
        let finite = |slot: &Slot| slot.others == 0.0 && slot.extent.is_finite();
        for (i, (slot, f)) in work.each().enumerate() {
            let sums = [totals[f].0, totals[f].1].map(Wide::to_f64);
            let fits = sums.into_iter().all(T::Compute::fits);
            let nothing = largest[i] == 0.0 || slot.extent.farthest(|v| v - pilot(f)) == 0.0;
            let large = largest[i] * stats.var[f].to_f64().sqrt() >= LARGE;
            told[i] = finite(slot) && fits && (nothing || large);
            let far = slot.extent.largest().max(pilot(f).abs());
            slot.frame = Frame::around_0(unit(far));
            slot.frame.k = ldexp(pilot(f), -slot.frame.unit);
            slot.unit = if largest[i] > 0.0 { exponent(largest[i]) } else { 0 };
        }
        // 2. What the terms come to that are not finite.
        let mut classes = [Class::default(); WIDTH];
        if !work.each().all(|(slot, _)| finite(slot)) {
            let features = &*work.features;
            let around = |i: usize| [stats.k[features[i]].to_f64(), stats.delta[features[i]].to_f64()];
            for window in Window::of(features, work.inner) {
                let classes = &mut classes[..features.len()];
                class::add(work.set, &window, [&x, &dy], around, Asked::All, classes);
            }
        }
        // 3. The sums of the others.
        work.sum(&x, Some(&dy));
        for (i, (slot, f)) in work.each().enumerate().filter(|(i, _)| !told[*i]) {
            let [first, second] = slot.sums;
            let units = [slot.unit, slot.frame.unit + slot.unit];
            found(f, HardSums::new((first, units[0]), (second, units[1]), classes[i]));
        }
    }
}

//! Features of the backward whose Σdy is not finite, which are settled before the others.

use super::Put;
use super::class::{self, Asked, Class};
use super::pieces::{Inputs, Kind};
use super::window::{WIDTH, Window};
use super::work::Work;
use crate::driver::given::Known;
use crate::kernel::KernelSet;
use crate::maths::frame::{Coef, Frame};
use crate::maths::renorm::Moved;
use crate::maths::{Params, StatsRef};
use crate::num::{Dd, Element, Real, Wide};
use crate::tensor::{Strips, StripsMut};

impl<K: KernelSet> Work<'_, K> {
    /// Settles the features whose Σdy is not finite, and goes on with the others. The class of Σdy·x̂ is looked up, unless the sums
    /// are `given` from elsewhere. Whether a Σdy of finite dy has overflowed is returned.
    pub(super) fn settle_classes<T: Element>(
        &mut self,
        [x, dy]: [&Strips<'_, T>; 2],
        (params, moved): (Params<'_, T::Compute>, Option<Moved<'_, T::Compute>>),
        stats: StatsRef<'_, T::Compute>,
        (totals, given): Known<'_, T::Compute>,
        dx: &mut Option<StripsMut<'_, T>>,
        put: Put<'_>,
    ) -> bool {
        let Self { set, inner, features, lost, infinite, slots, .. } = self;
        // A Σdy that is known to be of finite terms may be too large for the type.
        let told = |f: usize| given.and_then(|given| *given.hard.get(f)?).map(|[dbias, _]| dbias.0);
        let given = given.is_some();
        features.retain(|&f| {
            let finite = told(f).map_or_else(|| totals[f].0.to_f64(), Wide::to_f64).is_finite();
            if !finite {
                lost.push(f);
            }
            finite
        });
        let known = given || T::Compute::sums_are_safe();
        let around = |f: usize| [stats.k[f].to_f64(), stats.delta[f].to_f64()];
        let asked = if known { Asked::Second } else { Asked::Both };
        let (mut classes, mut overflowed) = ([Class::default(); WIDTH], false);
        for window in Window::of(lost, *inner).filter(|_| !given) {
            class::add(*set, &window, [x, dy], |i| around(lost[i]), asked, &mut classes[..lost.len()]);
        }
        let mut classes = classes.into_iter();
        lost.retain(|&f| {
            let sums = [totals[f].0, totals[f].1].map(Wide::to_f64);
            let [first, second] = match (given, known, classes.next().unwrap_or_default()) {
                (true, ..) => sums,
                (false, true, class) => [sums[0], class[1]],
                (false, false, class) => class,
            };
            if first == 0.0 {
                features.push(f);
                overflowed = true;
                return false;
            }
            if !given {
                put(f, [first, second].map(|v| Some((Dd::from_f64(v), 0))));
            }
            if first.is_nan() | second.is_nan() {
                return true;
            }
            // Signs alone count, so that units do not.
            let weight = params.get(f).0.to_f64();
            let lost = moved.is_some_and(|moved| moved.get(f)[0].to_f64().is_nan());
            let weight = if lost { f64::NAN } else { weight };
            let a = if weight.is_finite() && weight != 0.0 { weight.signum() } else { weight };
            let ([k, delta], slot) = (around(f), &mut slots[infinite.len()]);
            (slot.frame, slot.unit) = (Frame::around_0(0), 0);
            slot.frame.k = k;
            slot.coef = Coef { delta, a, c: -(a * second), m: first, ..Coef::default() };
            infinite.push(f);
            false
        });
        features.sort_unstable();
        if let Some(dx) = dx {
            // They take the place of the others until they are mapped.
            std::mem::swap(self.features, self.infinite);
            self.map(Inputs::gradients(Kind::GradInput, Some(*x), *dy), dx);
            std::mem::swap(self.features, self.infinite);
        }
        overflowed
    }
}

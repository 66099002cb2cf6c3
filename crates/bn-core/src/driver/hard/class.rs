//! What terms that are not finite come to.

use super::Put;
use super::pieces::{Inputs, Kind, wide};
use super::window::{WIDTH, Window};
use super::work::Work;
use crate::kernel::KernelSet;
use crate::maths::frame::{Coef, Frame};
use crate::maths::{Params, StatsRef, Totals};
use crate::num::{Element, Real, Wide};
use crate::tensor::{Strips, StripsMut};

/// Σdy and Σdy·((x−k)−δ) over the terms of a feature that are not finite, beside which no other counts: 0 where there are none,
/// ±∞ or NaN. The sums of the kernels, which are around a pilot, do not tell the second one; those of f64 may have overflowed.
pub(super) type Class = [f64; 2];

/// Whether all are finite.
#[inline(always)]
fn all_finite<T: Element>(values: &[T]) -> bool {
    let (mut finite, zero) = (true, T::Compute::default());
    for v in values {
        finite &= v.to_compute() * zero == zero;
    }
    finite
}

/// Which terms may not be finite, and how much of the classes is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those of a dy that is not finite; the second class alone.
    Second,
    /// The same, both classes.
    Both,
    /// Both classes, of an x or k that is not finite too.
    All,
}

/// The classes of a window's features, added to those of the windows before. `around` are k and δ of each. No more is read than
/// tells what is asked for.
pub(super) fn add<T: Element>(
    set: &impl KernelSet,
    window: &Window<'_>,
    [x, dy]: [&Strips<'_, T>; 2],
    around: impl Fn(usize) -> [f64; 2],
    asked: Asked,
    classes: &mut [Class],
) {
    let is_told = |[first, second]: &Class| second.is_nan() & ((asked == Asked::Second) | first.is_nan());
    // Batch statistics are NaN where an x is not finite.
    let constants = asked == Asked::All;
    let centred = (0..classes.len()).all(|f| around(f)[0].is_finite());
    set.vectorize(
        #[inline(always)]
        || {
            let [mut own_x, mut own_dy] = [[T::default(); WIDTH]; 2];
            for rows in window.pieces(dy.rows(), WIDTH) {
                if classes.iter().all(is_told) {
                    return;
                }
                let len = rows.len() * window.width();
                window.gather(dy, rows.clone(), &mut own_dy[..len], |v| v);
                let finite = all_finite(&own_dy[..len]);
                if finite & !constants {
                    continue;
                }
                window.gather(x, rows, &mut own_x[..len], |v| v);
                if finite & centred & all_finite(&own_x[..len]) {
                    continue;
                }
                let width = window.width();
                for (x, dy) in own_x[..len].chunks_exact(width).zip(own_dy.chunks_exact(width)) {
                    for (column, (x, dy)) in x.iter().zip(dy).enumerate() {
                        let (x, dy) = (wide(*x), wide(*dy));
                        // A division, which few need.
                        let f = || window.feature(column);
                        let near = || x.is_finite() && (centred || around(f())[0].is_finite());
                        if !(dy.is_finite() && (!constants || near())) {
                            let f = f();
                            let ([k, delta], [first, second]) = (around(f), &mut classes[f]);
                            *first += if dy.is_finite() { 0.0 } else { dy };
                            // Of a finite x − k the sign alone counts.
                            *second += dy * ((x - k) - delta);
                        }
                    }
                }
            }
        },
    );
}

impl<K: KernelSet> Work<'_, K> {
    /// Settles the features whose Σdy is not finite, and goes on with the others. The class of Σdy·x̂ is looked up, unless the sums
    /// are `given` from elsewhere. Whether a Σdy of finite dy has overflowed is returned.
    pub(super) fn settle_classes<T: Element>(
        &mut self,
        [x, dy]: [&Strips<'_, T>; 2],
        params: Params<'_, T::Compute>,
        stats: StatsRef<'_, T::Compute>,
        (totals, given): (&[Totals<T::Compute>], bool),
        dx: &mut Option<StripsMut<'_, T>>,
        put: Put<'_, T::Compute>,
    ) -> bool {
        let Self { set, inner, features, lost, infinite, slots, .. } = self;
        features.retain(|&f| {
            let finite = totals[f].0.to_f64().is_finite();
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
            add(*set, &window, [x, dy], |i| around(lost[i]), asked, &mut classes[..lost.len()]);
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
                put(f, [first, second].map(|v| Some(T::Compute::from_f64(v))));
            }
            if first.is_nan() | second.is_nan() {
                return true;
            }
            // Signs alone count, so that units do not.
            let weight = params.get(f).0.to_f64();
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
            self.map(Inputs { kind: Kind::GradInput, x: Some(*x), dy: Some(*dy) }, dx);
            std::mem::swap(self.features, self.infinite);
        }
        overflowed
    }
}

//! What terms that are not finite come to.

use super::pieces::wide;
use super::window::{WIDTH, Window};
use crate::kernel::KernelSet;
use crate::num::Element;
use crate::tensor::Strips;

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

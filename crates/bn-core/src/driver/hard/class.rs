//! What dy that are not finite come to.

use super::pieces::wide;
use super::window::{WIDTH, Window};
use crate::kernel::KernelSet;
use crate::num::Element;
use crate::tensor::Strips;

/// Σdy and Σdy·((x−k)−δ) over the dy of a feature that are not finite, beside which no other counts: 0 where there are none,
/// ±∞ or NaN. The sums of the kernels, which are around a pilot, do not tell the second one.
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

/// The classes of a window's features, added to those of the windows before. `around` are k and δ of each. Where `known` says
/// that the first sum is known, no more is read than tells the second.
pub(super) fn add<T: Element>(
    set: &impl KernelSet,
    window: &Window<'_>,
    [x, dy]: [&Strips<'_, T>; 2],
    around: impl Fn(usize) -> [f64; 2],
    known: bool,
    classes: &mut [Class],
) {
    let is_told = |[first, second]: &Class| second.is_nan() & (known | first.is_nan());
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
                if all_finite(&own_dy[..len]) {
                    continue;
                }
                window.gather(x, rows, &mut own_x[..len], |v| v);
                for (i, (&x, &dy)) in own_x[..len].iter().zip(&own_dy).enumerate() {
                    if !wide(dy).is_finite() {
                        let f = window.feature(i % window.width());
                        let ([k, delta], [first, second]) = (around(f), &mut classes[f]);
                        *first += wide(dy);
                        *second += wide(dy) * ((wide(x) - k) - delta);
                    }
                }
            }
        },
    );
}

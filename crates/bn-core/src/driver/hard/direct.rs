//! Maps of hard features whose data f64 holds as they are: f32, f16 and bf16. A line is widened, mapped and rounded once.

use super::pieces::{Inputs, Kind, narrow, wide};
use super::window::{WIDTH, Window};
use crate::kernel::Clamp;
use crate::kernel::KernelSet;
use crate::num::Element;
use crate::tensor::StripsMut;
use std::ops::Range;

/// A coefficient of the elements of a line: one for all of them, or one for each.
pub(super) trait At: Copy {
    /// That of the first `n` elements.
    fn first(self, n: usize) -> Self;
    /// That of element `i`.
    fn at(self, i: usize) -> f64;
}

impl At for f64 {
    #[inline(always)]
    fn first(self, _: usize) -> Self {
        self
    }
    #[inline(always)]
    fn at(self, _: usize) -> f64 {
        self
    }
}

impl At for &[f64] {
    #[inline(always)]
    fn first(self, n: usize) -> Self {
        &self[..n]
    }
    #[inline(always)]
    fn at(self, i: usize) -> f64 {
        self[i]
    }
}

/// k, δ, a, then b or c, d and m of ((dy−m)·a + ((x−k)−δ)·c) + d, of ((x−k)−δ)·a + b, or of dy·a.
pub(super) type Coefs<C> = [C; 6];

#[inline(always)]
fn line<T: Element, C: At>(
    (kind, clamp): (Kind, Option<Clamp<f64>>),
    coefs: Coefs<C>,
    [x, dy]: [&[T]; 2],
    to: &mut [T],
) {
    let n = to.len();
    // Not `map`, which is not inlined everywhere.
    let [k, delta, a, bc, d, m] = coefs;
    let (k, delta, a, bc) = (k.first(n), delta.first(n), a.first(n), bc.first(n));
    let (d, m) = (d.first(n), m.first(n));
    match kind {
        Kind::Normalize => {
            let x = &x[..n];
            for i in 0..n {
                let b = if dy.is_empty() { bc.at(i) } else { bc.at(i) + wide(dy[i]) };
                let v = ((wide(x[i]) - k.at(i)) - delta.at(i)) * a.at(i) + b;
                to[i] = narrow(clamp.map_or(v, |clamp| clamp.of(v)));
            }
        }
        Kind::GradInput => {
            let (x, dy) = (&x[..n], &dy[..n]);
            for i in 0..n {
                let term = ((wide(x[i]) - k.at(i)) - delta.at(i)) * bc.at(i);
                to[i] = narrow(((wide(dy[i]) - m.at(i)) * a.at(i) + term) + d.at(i));
            }
        }
        Kind::Scale => {
            let dy = &dy[..n];
            for i in 0..n {
                to[i] = narrow(wide(dy[i]) * a.at(i));
            }
        }
    }
}

/// Maps `columns`, which are of one feature.
pub(super) fn map_one<T: Element>(
    set: &impl KernelSet,
    columns: Range<usize>,
    Inputs { kind, x, other, clamp }: Inputs<'_, T>,
    coefs: Coefs<f64>,
    out: &mut StripsMut<'_, T>,
) {
    set.vectorize(
        #[inline(always)]
        || {
            let mut mapped = [T::default(); WIDTH];
            for row in 0..out.rows() {
                let mut strip = out.strip_mut(row);
                for start in columns.clone().step_by(WIDTH) {
                    let part = start..columns.end.min(start + WIDTH);
                    let mapped = &mut mapped[..part.len()];
                    let inputs = [x, other].map(|of| of.map_or(&[][..], |of| &of.strip(row)[part.clone()]));
                    line((kind, clamp), coefs, inputs, mapped);
                    strip.copy(start, mapped);
                }
            }
        },
    );
}

/// Maps a window; the coefficients of its columns are repeated over their rows.
pub(super) fn map_window<T: Element>(
    set: &impl KernelSet,
    window: &Window<'_>,
    Inputs { kind, x, other, clamp }: Inputs<'_, T>,
    coefs: Coefs<&[f64]>,
    out: &mut StripsMut<'_, T>,
) {
    set.vectorize(
        #[inline(always)]
        || {
            let [mut own_x, mut own_other, mut mapped] = [[T::default(); WIDTH]; 3];
            for rows in window.pieces(out.rows(), WIDTH) {
                let len = rows.len() * window.width();
                for (from, to) in [(&x, &mut own_x), (&other, &mut own_other)] {
                    if let Some(from) = from {
                        window.gather(from, rows.clone(), &mut to[..len], |v| v);
                    }
                }
                let other = if other.is_some() { &own_other[..len] } else { &[] };
                line((kind, clamp), coefs, [&own_x[..len], other], &mut mapped[..len]);
                window.scatter(&mapped[..len], rows, out);
            }
        },
    );
}

/// Makes a window NaN.
pub(super) fn fill_nan<T: Element>(window: &Window<'_>, out: &mut StripsMut<'_, T>) {
    let nan = [narrow(f64::NAN); WIDTH];
    for rows in window.pieces(out.rows(), WIDTH) {
        window.scatter(&nan[..rows.len() * window.width()], rows, out);
    }
}

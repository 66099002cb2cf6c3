//! The map of the double backward, as [`linear`](super::linear) has the others.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, lines};
use super::linear::{Coef, Number, in_vectors, line, load, seen};
use super::vector::Vector;

/// (((v − l)·a + (dy − m)·b) + (x − k)·c) + d, K elements at a time.
pub(super) struct Second<'a, T, C, W, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    /// x, dy and v.
    pub(super) inputs: [&'a [T]; 3],
    /// k, a, b, c, d, m and l.
    pub(super) coefs: [C; 7],
}

impl<T, V, C, W, const K: usize> LineMap<T, V> for Second<'_, T, C, W, K>
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (by, [k, a, b, c, d, m, l]) = (self.by, seen::<T, V, C, _>(self.coefs, self.by));
        let (n, [x, dy, v]) = (n * (L / K), self.inputs);
        let (x, dy, v) =
            (lines::<T, K>(x, start, n), lines::<T, K>(dy, start, n), lines::<T, K>(v, start, n));
        let (k, a, b) = (k.lines::<K>(start, n), a.lines::<K>(start, n), b.lines::<K>(start, n));
        let (c, d) = (c.lines::<K>(start, n), d.lines::<K>(start, n));
        let (m, l) = (m.lines::<K>(start, n), l.lines::<K>(start, n));
        in_vectors(
            #[inline(always)]
            move |i| {
                let (x, dy) = (load::<T, V, C, W, K>(by, &x[i]), load::<T, V, C, W, K>(by, &dy[i]));
                let v = load::<T, V, C, W, K>(by, &v[i]);
                let coefs = [k(i), a(i), b(i), c(i), d(i), m(i), l(i)];
                line::<T, V, C, W, K>(by, second([x, dy, v], coefs))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let coefs = self.coefs.map(|coef| coef.one(at));
        T::from_compute(second(self.inputs.map(|of| of[at].to_compute()), coefs))
    }
}

#[inline(always)]
fn second<V: Number>([x, dy, v]: [V; 3], [k, a, b, c, d, m, l]: [V; 7]) -> V {
    (((v - l) * a + (dy - m) * b) + (x - k) * c) + d
}

//! Activations and their gates, once for all vector kernels.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, lines};
use super::linear::{Coef, in_vectors, line, load, seen};
use super::vector::Vector;
use crate::kernel::Clamp;
use crate::num::{Element, Real};

/// The corners of an activation in every place of a vector.
#[derive(Clone, Copy)]
struct Corners<V> {
    low: V,
    slope: V,
    high: V,
    zero: V,
    /// Whether the slope is 0.
    flat: bool,
}

impl<V: Copy> Corners<V> {
    #[inline(always)]
    fn new<R: Real>(clamp: Clamp<R>) -> Self
    where
        V: Vector<R>,
    {
        let zero = R::default();
        Self {
            low: V::splat(clamp.low),
            slope: V::splat(clamp.slope),
            high: V::splat(clamp.high),
            zero: V::splat(zero),
            flat: clamp.slope == zero,
        }
    }

    /// What of `v` is left on the lower side.
    #[inline(always)]
    fn below<R: Real>(&self, v: V) -> V
    where
        V: Vector<R>,
    {
        if self.flat { self.zero } else { v * self.slope }
    }

    #[inline(always)]
    fn clamp<R: Real>(&self, v: V) -> V
    where
        V: Vector<R>,
    {
        v.up_to(self.low, self.below(v), self.high.up_to(v, self.high, v))
    }

    #[inline(always)]
    fn gate<R: Real>(&self, y: V, dy: V) -> V
    where
        V: Vector<R>,
    {
        y.up_to(self.low, self.below(dy), self.high.up_to(y, self.zero, dy))
    }
}

/// y = clamp((x − k)·a + b), or with M = 1 tensors to add clamp((x − k)·a + (b + r)); K elements at a time, as the next.
pub(super) struct Activated<'a, T: Element, C, W, const M: usize, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    /// x.
    pub(super) x: &'a [T],
    /// r.
    pub(super) plus: [&'a [T]; M],
    /// k, a and b.
    pub(super) coefs: [C; 3],
    pub(super) clamp: Clamp<T::Compute>,
}

impl<T, V, C, W, const M: usize, const K: usize> LineMap<T, V> for Activated<'_, T, C, W, M, K>
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (by, [k, a, b]) = (self.by, seen::<T, V, C, _>(self.coefs, self.by));
        let n = n * (L / K);
        let (x, k) = (lines::<T, K>(self.x, start, n), k.lines::<K>(start, n));
        let (a, b) = (a.lines::<K>(start, n), b.lines::<K>(start, n));
        let mut plus: [&[[T; K]]; M] = [&[]; M];
        for m in 0..M {
            plus[m] = lines::<T, K>(self.plus[m], start, n);
        }
        let corners = Corners::<V>::new(self.clamp);
        in_vectors(
            #[inline(always)]
            move |i| {
                let mut b = b(i);
                for m in 0..M {
                    b = b + load::<T, V, C, W, K>(by, &plus[m][i]);
                }
                let v = (load::<T, V, C, W, K>(by, &x[i]) - k(i)) * a(i) + b;
                line::<T, V, C, W, K>(by, corners.clamp(v))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let [k, a, b] = self.coefs;
        let (k, a, mut b) = (k.one(at), a.one(at), b.one(at));
        for m in 0..M {
            b += self.plus[m][at].to_compute();
        }
        let v = (self.x[at].to_compute() - k) * a + b;
        T::from_compute(Corners::<T::Compute>::new(self.clamp).clamp(v))
    }
}

/// What of dy passes the gate at y.
pub(super) struct Gated<'a, T: Element, W, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    /// y.
    pub(super) y: &'a [T],
    /// dy.
    pub(super) dy: &'a [T],
    pub(super) clamp: Clamp<T::Compute>,
}

impl<T, V, W, const K: usize> LineMap<T, V> for Gated<'_, T, W, K>
where
    T: Stored,
    V: Vector<T::Compute>,
    W: Convert<T>,
{
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (by, n) = (self.by, n * (L / K));
        let (y, dy) = (lines::<T, K>(self.y, start, n), lines::<T, K>(self.dy, start, n));
        let corners = Corners::<V>::new(self.clamp);
        in_vectors(
            #[inline(always)]
            move |i| {
                let (y, dy): (V, V) = (by.load_mixed(&y[i]), by.load_mixed(&dy[i]));
                by.line_mixed::<V, K>(corners.gate(y, dy))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let (y, dy) = (self.y[at].to_compute(), self.dy[at].to_compute());
        T::from_compute(Corners::<T::Compute>::new(self.clamp).gate(y, dy))
    }
}

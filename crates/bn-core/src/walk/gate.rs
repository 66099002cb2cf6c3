//! Activations and their gates, once for all vector kernels.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, lines};
use super::linear::{Coef, grad_input, in_vectors, line, load, scale, seen};
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
    fn clamp<R: Real, const RELU: bool>(&self, v: V) -> V
    where
        V: Vector<R>,
    {
        if RELU {
            return v.up_to(self.low, self.zero, v);
        }
        v.up_to(self.low, self.below(v), self.high.up_to(v, self.high, v))
    }

    #[inline(always)]
    fn gate<R: Real, const RELU: bool>(&self, y: V, dy: V) -> V
    where
        V: Vector<R>,
    {
        if RELU {
            return y.up_to(self.low, self.zero, dy);
        }
        y.up_to(self.low, self.below(dy), self.high.up_to(y, self.zero, dy))
    }
}

/// y = clamp((x − k)·a + b), or with M = 1 tensors to add clamp((x − k)·a + (b + r)); K elements at a time, as the next. With RELU
/// the activation is that one, which takes half of the operations.
pub(super) struct Activated<'a, T: Element, C, W, const M: usize, const K: usize, const RELU: bool> {
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

impl<T, V, C, W, const M: usize, const K: usize, const RELU: bool> LineMap<T, V>
    for Activated<'_, T, C, W, M, K, RELU>
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
                line::<T, V, C, W, K>(by, corners.clamp::<T::Compute, RELU>(v))
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
        T::from_compute(Corners::<T::Compute>::new(self.clamp).clamp::<T::Compute, RELU>(v))
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
                by.line_mixed::<V, K>(corners.gate::<T::Compute, false>(y, dy))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let (y, dy) = (self.y[at].to_compute(), self.dy[at].to_compute());
        T::from_compute(self.clamp.gate(y, dy))
    }
}

/// dx = ((dy − m)·a + (x − k)·c) + d of the dy that passes at (x − k)·a + b.
pub(super) struct GradGated<'a, T: Element, C, W, const K: usize, const RELU: bool> {
    /// How elements are converted.
    pub(super) by: W,
    /// x.
    pub(super) x: &'a [T],
    /// dy.
    pub(super) dy: &'a [T],
    /// k, a, c, d and m.
    pub(super) coefs: [C; 5],
    /// b.
    pub(super) b: C,
    pub(super) clamp: Clamp<T::Compute>,
}

impl<T, V, C, W, const K: usize, const RELU: bool> LineMap<T, V> for GradGated<'_, T, C, W, K, RELU>
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (by, [k, a, c, d, m]) = (self.by, seen::<T, V, C, _>(self.coefs, self.by));
        let [b] = seen::<T, V, C, 1>([self.b], self.by);
        let n = n * (L / K);
        let (x, dy) = (lines::<T, K>(self.x, start, n), lines::<T, K>(self.dy, start, n));
        let (k, a) = (k.lines::<K>(start, n), a.lines::<K>(start, n));
        let (c, d) = (c.lines::<K>(start, n), d.lines::<K>(start, n));
        let (m, b) = (m.lines::<K>(start, n), b.lines::<K>(start, n));
        let corners = Corners::<V>::new(self.clamp);
        in_vectors(
            #[inline(always)]
            move |i| {
                let (x, dy) = (load::<T, V, C, W, K>(by, &x[i]), load::<T, V, C, W, K>(by, &dy[i]));
                let dy = corners.gate::<T::Compute, RELU>((x - k(i)) * a(i) + b(i), dy);
                line::<T, V, C, W, K>(by, grad_input(x, dy, [k(i), a(i), c(i), d(i), m(i)]))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let [k, a, c, d, m] = self.coefs;
        let coefs = [k.one(at), a.one(at), c.one(at), d.one(at), m.one(at)];
        let (x, dy) = (self.x[at].to_compute(), self.dy[at].to_compute());
        let v = (x - coefs[0]) * coefs[1] + self.b.one(at);
        let dy = Corners::<T::Compute>::new(self.clamp).gate::<T::Compute, RELU>(v, dy);
        T::from_compute(grad_input(x, dy, coefs))
    }
}

/// dx = dy·a + 0 of the dy that passes at (x − k)·a + b.
pub(super) struct ScaleGated<'a, T: Element, C, W, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    /// x.
    pub(super) x: &'a [T],
    /// dy.
    pub(super) dy: &'a [T],
    /// k, a and b.
    pub(super) coefs: [C; 3],
    pub(super) clamp: Clamp<T::Compute>,
}

impl<T, V, C, W, const K: usize> LineMap<T, V> for ScaleGated<'_, T, C, W, K>
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
        let (x, dy) = (lines::<T, K>(self.x, start, n), lines::<T, K>(self.dy, start, n));
        let (k, a, b) = (k.lines::<K>(start, n), a.lines::<K>(start, n), b.lines::<K>(start, n));
        let corners = Corners::<V>::new(self.clamp);
        in_vectors(
            #[inline(always)]
            move |i| {
                let (x, dy) = (load::<T, V, C, W, K>(by, &x[i]), load::<T, V, C, W, K>(by, &dy[i]));
                let dy = corners.gate::<T::Compute, false>((x - k(i)) * a(i) + b(i), dy);
                line::<T, V, C, W, K>(by, scale(dy, a(i), corners.zero))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let [k, a, b] = self.coefs;
        let (k, a, b) = (k.one(at), a.one(at), b.one(at));
        let dy = self.clamp.gate((self.x[at].to_compute() - k) * a + b, self.dy[at].to_compute());
        T::from_compute(scale(dy, a, T::Compute::default()))
    }
}

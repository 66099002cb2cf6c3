//! The maps' formulae, once for all vector kernels: an element by itself goes through the same operations as a line.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, lines};
use super::vector::Vector;
use crate::mem::Bare;
use crate::num::Element;
use std::ops::{Add, Mul, Sub};

/// A vector, or an element by itself.
pub(super) trait Number: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {}
impl<V: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>> Number for V {}

/// A coefficient of every element: one for all, or one each.
pub(super) trait Coef<T, V>: Copy {
    /// Whether it is one for all.
    const ONE: bool;
    /// As it goes into what `by` rounds.
    fn seen<S: Element<Compute = T>>(self, by: impl Convert<S>) -> Self;
    /// Those of `n` lines from element `start` on.
    fn lines<const L: usize>(self, start: usize, n: usize) -> impl Fn(usize) -> V;
    /// That of the element `at`.
    fn one(self, at: usize) -> T;
}

impl<T: Bare, V: Vector<T>> Coef<T, V> for T {
    const ONE: bool = true;

    #[inline(always)]
    fn seen<S: Element<Compute = T>>(self, by: impl Convert<S>) -> Self {
        by.coef(self)
    }
    #[inline(always)]
    fn lines<const L: usize>(self, _: usize, _: usize) -> impl Fn(usize) -> V {
        #[inline(always)]
        move |_| V::splat(self)
    }
    #[inline(always)]
    fn one(self, _: usize) -> T {
        self
    }
}

impl<T: Bare, V: Vector<T>> Coef<T, V> for &[T] {
    const ONE: bool = false;

    #[inline(always)]
    fn seen<S: Element<Compute = T>>(self, _: impl Convert<S>) -> Self {
        self
    }
    #[inline(always)]
    fn lines<const L: usize>(self, start: usize, n: usize) -> impl Fn(usize) -> V {
        let lines = lines::<T, L>(self, start, n);
        #[inline(always)]
        move |i| V::load(&lines[i])
    }
    #[inline(always)]
    fn one(self, at: usize) -> T {
        self[at]
    }
}

/// Coefficients as they go into what `by` rounds.
#[inline(always)]
pub(super) fn seen<T, V, C, const N: usize>(mut coefs: [C; N], by: impl Convert<T>) -> [C; N]
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
{
    for i in 0..N {
        coefs[i] = coefs[i].seen::<T>(by);
    }
    coefs
}

/// A line, in the order of the coefficients where that matters.
#[inline(always)]
pub(super) fn load<T, V, C, W, const L: usize>(by: W, from: &[T; L]) -> V
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    if C::ONE { by.load_mixed(from) } else { by.load(from) }
}

/// What was computed of such lines, rounded.
#[inline(always)]
pub(super) fn line<T, V, C, W, const L: usize>(by: W, v: V) -> [T; L]
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    if C::ONE { by.line_mixed(v) } else { by.line(v) }
}

/// Lines of L elements, of which `vector` gives K at a time.
#[inline(always)]
pub(super) fn in_vectors<T: Bare, const K: usize, const L: usize>(
    vector: impl Fn(usize) -> [T; K],
) -> impl Fn(usize) -> [T; L] {
    const { assert!(L.is_multiple_of(K)) };
    #[inline(always)]
    move |i| {
        let mut line = [T::default(); L];
        for (j, part) in line.as_chunks_mut().0.iter_mut().enumerate() {
            *part = vector(i * (L / K) + j);
        }
        line
    }
}

/// y = (x − k)·a + b, K elements at a time, as are the others.
pub(super) struct Normalize<'a, T, C, W, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    /// x.
    pub(super) x: &'a [T],
    /// k, a and b.
    pub(super) coefs: [C; 3],
}

impl<T, V, C, W, const K: usize> LineMap<T, V> for Normalize<'_, T, C, W, K>
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
        in_vectors(
            #[inline(always)]
            move |i| line::<T, V, C, W, K>(by, normalize(load::<T, V, C, W, K>(by, &x[i]), k(i), a(i), b(i))),
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let [k, a, b] = self.coefs;
        T::from_compute(normalize(self.x[at].to_compute(), k.one(at), a.one(at), b.one(at)))
    }
}

#[inline(always)]
fn normalize<V: Number>(x: V, k: V, a: V, b: V) -> V {
    (x - k) * a + b
}

/// dx = ((dy − m)·a + (x − k)·c) + d.
pub(super) struct GradInput<'a, T, C, W, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    /// x.
    pub(super) x: &'a [T],
    /// dy.
    pub(super) dy: &'a [T],
    /// k, a, c, d and m.
    pub(super) coefs: [C; 5],
}

impl<T, V, C, W, const K: usize> LineMap<T, V> for GradInput<'_, T, C, W, K>
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (by, [k, a, c, d, m]) = (self.by, seen::<T, V, C, _>(self.coefs, self.by));
        let n = n * (L / K);
        let (x, dy) = (lines::<T, K>(self.x, start, n), lines::<T, K>(self.dy, start, n));
        let (k, a) = (k.lines::<K>(start, n), a.lines::<K>(start, n));
        let (c, d) = (c.lines::<K>(start, n), d.lines::<K>(start, n));
        let m = m.lines::<K>(start, n);
        in_vectors(
            #[inline(always)]
            move |i| {
                let (x, dy) = (load::<T, V, C, W, K>(by, &x[i]), load::<T, V, C, W, K>(by, &dy[i]));
                line::<T, V, C, W, K>(by, grad_input(x, dy, [k(i), a(i), c(i), d(i), m(i)]))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let coefs = self.coefs.map(|coef| coef.one(at));
        let (x, dy) = (self.x[at].to_compute(), self.dy[at].to_compute());
        T::from_compute(grad_input(x, dy, coefs))
    }
}

#[inline(always)]
fn grad_input<V: Number>(x: V, dy: V, [k, a, c, d, m]: [V; 5]) -> V {
    ((dy - m) * a + (x - k) * c) + d
}

/// dx = dy·a + 0.
pub(super) struct Scale<'a, T, C, W, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    /// dy.
    pub(super) dy: &'a [T],
    /// a.
    pub(super) a: C,
}

impl<T, V, C, W, const K: usize> LineMap<T, V> for Scale<'_, T, C, W, K>
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (by, [a]) = (self.by, seen::<T, V, C, 1>([self.a], self.by));
        let n = n * (L / K);
        let (dy, a) = (lines::<T, K>(self.dy, start, n), a.lines::<K>(start, n));
        in_vectors(
            #[inline(always)]
            move |i| {
                let dy = load::<T, V, C, W, K>(by, &dy[i]);
                line::<T, V, C, W, K>(by, scale(dy, a(i), V::splat(T::Compute::default())))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        T::from_compute(scale(self.dy[at].to_compute(), self.a.one(at), T::Compute::default()))
    }
}

#[inline(always)]
fn scale<V: Number>(dy: V, a: V, zero: V) -> V {
    dy * a + zero
}

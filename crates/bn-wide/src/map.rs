//! What the maps compute, a cache line at a time: a vector is a line.

use crate::sum::{Item, Vector};
use bn_core::stream::{self, Map};

/// A coefficient of every element: one for all, or one each.
#[derive(Clone, Copy)]
pub(crate) enum Coef<'a, T> {
    Splat(T),
    Each(&'a [T]),
}

impl<T: Item> Coef<'_, T> {
    /// Those of `n` lines from element `start` on.
    #[inline(always)]
    fn lines<const L: usize>(self, start: usize, n: usize) -> impl Fn(usize) -> T::Vector {
        let lines = match self {
            Self::Splat(_) => &[],
            Self::Each(values) => stream::lines::<T, L>(values, start, n),
        };
        #[inline(always)]
        move |i| match self {
            Self::Splat(v) => T::Vector::splat(v),
            Self::Each(_) => T::Vector::load(&lines[i]),
        }
    }

    /// That of the element `at`.
    #[inline(always)]
    fn one(self, at: usize) -> T {
        match self {
            Self::Splat(v) => v,
            Self::Each(values) => values[at],
        }
    }
}

/// y = (x−k)·a + b.
pub(crate) struct Normalize<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) kab: [Coef<'a, T>; 3],
}

impl<T: Item, const L: usize> Map<T, L> for Normalize<'_, T> {
    #[inline(always)]
    fn lines(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let x = stream::lines::<T, L>(self.x, start, n);
        let [k, a, b] = self.kab;
        let (k, a, b) = (k.lines::<L>(start, n), a.lines::<L>(start, n), b.lines::<L>(start, n));
        #[inline(always)]
        move |i| line(normalize(T::Vector::load(&x[i]), k(i), a(i), b(i)))
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let [k, a, b] = self.kab;
        normalize(self.x[at], k.one(at), a.one(at), b.one(at))
    }
}

#[inline(always)]
fn normalize<T, V: Vector<T>>(x: V, k: V, a: V, b: V) -> V {
    (x - k) * a + b
}

/// dx = (dy·a + (x−k)·c) + d.
pub(crate) struct GradInput<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) dy: &'a [T],
    pub(crate) kacd: [Coef<'a, T>; 4],
}

impl<T: Item, const L: usize> Map<T, L> for GradInput<'_, T> {
    #[inline(always)]
    fn lines(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (x, dy) = (stream::lines::<T, L>(self.x, start, n), stream::lines::<T, L>(self.dy, start, n));
        let [k, a, c, d] = self.kacd;
        let (k, a) = (k.lines::<L>(start, n), a.lines::<L>(start, n));
        let (c, d) = (c.lines::<L>(start, n), d.lines::<L>(start, n));
        #[inline(always)]
        move |i| line(grad_input(T::Vector::load(&x[i]), T::Vector::load(&dy[i]), [k(i), a(i), c(i), d(i)]))
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        // Not `map`, which is not inlined everywhere.
        let [k, a, c, d] = self.kacd;
        grad_input(self.x[at], self.dy[at], [k.one(at), a.one(at), c.one(at), d.one(at)])
    }
}

#[inline(always)]
fn grad_input<T, V: Vector<T>>(x: V, dy: V, [k, a, c, d]: [V; 4]) -> V {
    (dy * a + (x - k) * c) + d
}

#[inline(always)]
fn line<T: Item, const L: usize>(v: T::Vector) -> [T; L] {
    let mut line = [T::default(); L];
    v.store(&mut line);
    line
}

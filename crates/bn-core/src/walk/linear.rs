//! The maps' formulae, once for all vector kernels: an element by itself goes through the same operations as a line.

use super::fill::{LineMap, lines};
use super::vector::Vector;
use crate::mem::Bare;

/// A coefficient of every element: one for all, or one each.
pub(super) trait Coef<T, V>: Copy {
    /// Those of `n` lines from element `start` on.
    fn lines<const L: usize>(self, start: usize, n: usize) -> impl Fn(usize) -> V;
    /// That of the element `at`.
    fn one(self, at: usize) -> T;
}

impl<T: Bare, V: Vector<T>> Coef<T, V> for T {
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

/// y = (x − k)·a + b.
pub(super) struct Normalize<'a, T, C> {
    /// x.
    pub(super) x: &'a [T],
    /// k, a and b.
    pub(super) coefs: [C; 3],
}

impl<T: Bare + Vector<T>, V: Vector<T>, C: Coef<T, V>> LineMap<T, V> for Normalize<'_, T, C> {
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> V {
        let [k, a, b] = self.coefs;
        let (x, k) = (lines::<T, L>(self.x, start, n), k.lines::<L>(start, n));
        let (a, b) = (a.lines::<L>(start, n), b.lines::<L>(start, n));
        #[inline(always)]
        move |i| normalize(V::load(&x[i]), k(i), a(i), b(i))
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let [k, a, b] = self.coefs;
        normalize(self.x[at], k.one(at), a.one(at), b.one(at))
    }
}

#[inline(always)]
fn normalize<T, V: Vector<T>>(x: V, k: V, a: V, b: V) -> V {
    (x - k) * a + b
}

/// dx = ((dy − m)·a + (x − k)·c) + d.
pub(super) struct GradInput<'a, T, C> {
    /// x.
    pub(super) x: &'a [T],
    /// dy.
    pub(super) dy: &'a [T],
    /// k, a, c, d and m.
    pub(super) coefs: [C; 5],
}

impl<T: Bare + Vector<T>, V: Vector<T>, C: Coef<T, V>> LineMap<T, V> for GradInput<'_, T, C> {
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> V {
        let [k, a, c, d, m] = self.coefs;
        let (x, dy) = (lines::<T, L>(self.x, start, n), lines::<T, L>(self.dy, start, n));
        let (k, a) = (k.lines::<L>(start, n), a.lines::<L>(start, n));
        let (c, d) = (c.lines::<L>(start, n), d.lines::<L>(start, n));
        let m = m.lines::<L>(start, n);
        #[inline(always)]
        move |i| grad_input(V::load(&x[i]), V::load(&dy[i]), [k(i), a(i), c(i), d(i), m(i)])
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let coefs = self.coefs.map(|coef| coef.one(at));
        grad_input(self.x[at], self.dy[at], coefs)
    }
}

#[inline(always)]
fn grad_input<T, V: Vector<T>>(x: V, dy: V, [k, a, c, d, m]: [V; 5]) -> V {
    ((dy - m) * a + (x - k) * c) + d
}

/// dx = dy·a + 0.
pub(super) struct Scale<'a, T, C> {
    /// dy.
    pub(super) dy: &'a [T],
    /// a.
    pub(super) a: C,
}

impl<T: Bare + Vector<T>, V: Vector<T>, C: Coef<T, V>> LineMap<T, V> for Scale<'_, T, C> {
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> V {
        let (dy, a) = (lines::<T, L>(self.dy, start, n), self.a.lines::<L>(start, n));
        #[inline(always)]
        move |i| V::load(&dy[i]) * a(i) + V::splat(T::default())
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        self.dy[at] * self.a.one(at) + T::default()
    }
}

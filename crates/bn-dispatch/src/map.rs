//! What the maps compute, a cache line at a time: the coefficients are one per run (splat), or one per element.

use crate::sum::Item;
use bn_core::stream::{self, Map};

/// A coefficient of every element.
pub(crate) trait Coef<T>: Copy {
    /// Those of `n` lines from element `start` on.
    fn lines<const L: usize>(self, start: usize, n: usize) -> impl Fn(usize) -> [T; L];
    /// That of the element `at`.
    fn one(self, at: usize) -> T;
}

impl<T: Item> Coef<T> for T {
    #[inline(always)]
    fn lines<const L: usize>(self, _: usize, _: usize) -> impl Fn(usize) -> [T; L] {
        #[inline(always)]
        move |_| [self; L]
    }
    #[inline(always)]
    fn one(self, _: usize) -> T {
        self
    }
}

impl<T: Item> Coef<T> for &[T] {
    #[inline(always)]
    fn lines<const L: usize>(self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let lines = stream::lines(self, start, n);
        #[inline(always)]
        move |i| lines[i]
    }
    #[inline(always)]
    fn one(self, at: usize) -> T {
        self[at]
    }
}

/// y = (x − k)·a + b.
pub(crate) struct Normalize<'a, T, C> {
    pub(crate) x: &'a [T],
    pub(crate) k: C,
    pub(crate) a: C,
    pub(crate) b: C,
}

impl<T: Item, C: Coef<T>, const L: usize> Map<T, L> for Normalize<'_, T, C> {
    #[inline(always)]
    fn lines(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (x, k) = (self.x.lines::<L>(start, n), self.k.lines::<L>(start, n));
        let (a, b) = (self.a.lines::<L>(start, n), self.b.lines::<L>(start, n));
        #[inline(always)]
        move |i| {
            let (x, k, a, b) = (x(i), k(i), a(i), b(i));
            let mut y = [T::default(); L];
            for i in 0..L {
                y[i] = (x[i] - k[i]) * a[i] + b[i];
            }
            y
        }
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        (self.x[at] - self.k.one(at)) * self.a.one(at) + self.b.one(at)
    }
}

/// dx = (a·dy + c·(x − k)) + d.
pub(crate) struct GradInput<'a, T, C> {
    pub(crate) x: &'a [T],
    pub(crate) dy: &'a [T],
    pub(crate) k: C,
    pub(crate) a: C,
    pub(crate) c: C,
    pub(crate) d: C,
}

impl<T: Item, C: Coef<T>, const L: usize> Map<T, L> for GradInput<'_, T, C> {
    #[inline(always)]
    fn lines(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (x, dy) = (self.x.lines::<L>(start, n), self.dy.lines::<L>(start, n));
        let (k, a) = (self.k.lines::<L>(start, n), self.a.lines::<L>(start, n));
        let (c, d) = (self.c.lines::<L>(start, n), self.d.lines::<L>(start, n));
        #[inline(always)]
        move |i| {
            let (x, dy, k, a, c, d) = (x(i), dy(i), k(i), a(i), c(i), d(i));
            let mut dx = [T::default(); L];
            for i in 0..L {
                dx[i] = (dy[i] * a[i] + (x[i] - k[i]) * c[i]) + d[i];
            }
            dx
        }
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let centred = self.x[at] - self.k.one(at);
        (self.dy[at] * self.a.one(at) + centred * self.c.one(at)) + self.d.one(at)
    }
}

//! What the maps compute, a cache line at a time: a vector is a line.

use crate::sum::{Item, Vector};
use bn_core::stream::Map;

/// A coefficient of every element: one for all, or one each.
#[derive(Clone, Copy)]
pub(crate) enum Coef<'a, T> {
    Splat(T),
    Each(&'a [T]),
}

impl<T: Copy> Coef<'_, T> {
    /// Those of the elements from `at` on.
    #[inline(always)]
    fn at<V: Vector<T>>(self, at: usize) -> V {
        match self {
            Self::Splat(v) => V::splat(v),
            Self::Each(values) => V::load(&values[at..]),
        }
    }
}

/// y = (x−k)·a + b.
pub(crate) struct Normalize<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) kab: [Coef<'a, T>; 3],
}

impl<T: Item> Normalize<'_, T> {
    #[inline(always)]
    fn at<V: Vector<T>>(&self, at: usize) -> V {
        let [k, a, b] = self.kab;
        (V::load(&self.x[at..]) - k.at(at)) * a.at(at) + b.at(at)
    }
}

impl<T: Item, const L: usize> Map<T, L> for Normalize<'_, T> {
    #[inline(always)]
    fn lines(&self, start: usize, _: usize) -> impl Fn(usize) -> [T; L] {
        #[inline(always)]
        move |i| line(self.at::<T::Vector>(start + i * L))
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        self.at::<T>(at)
    }
}

/// dx = (dy·a + (x−k)·c) + d.
pub(crate) struct GradInput<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) dy: &'a [T],
    pub(crate) kacd: [Coef<'a, T>; 4],
}

impl<T: Item> GradInput<'_, T> {
    #[inline(always)]
    fn at<V: Vector<T>>(&self, at: usize) -> V {
        let [k, a, c, d] = self.kacd;
        let (x, dy) = (V::load(&self.x[at..]), V::load(&self.dy[at..]));
        (dy * a.at(at) + (x - k.at(at)) * c.at(at)) + d.at(at)
    }
}

impl<T: Item, const L: usize> Map<T, L> for GradInput<'_, T> {
    #[inline(always)]
    fn lines(&self, start: usize, _: usize) -> impl Fn(usize) -> [T; L] {
        #[inline(always)]
        move |i| line(self.at::<T::Vector>(start + i * L))
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        self.at::<T>(at)
    }
}

#[inline(always)]
fn line<T: Item, const L: usize>(v: T::Vector) -> [T; L] {
    let mut line = [T::default(); L];
    v.store(&mut line);
    line
}

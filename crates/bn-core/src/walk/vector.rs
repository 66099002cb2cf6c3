//! Elements side by side, as maps take them: a cache line of them at a time.

use crate::mem::Bare;
use std::hint::select_unpredictable;
use std::ops::{Add, Mul, Sub};

/// A number of elements side by side, or one by itself; every operation is elementwise.
pub trait Vector<T>: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// `v` in every place.
    fn splat(v: T) -> Self;
    /// The first of `values`, as many as there are places.
    fn load(values: &[T]) -> Self;
    /// Into the first of `values`.
    fn store(self, values: &mut [T]);

    /// `then` in the places where this one is at most `bound`, `other` elsewhere and where either is NaN.
    fn up_to(self, bound: Self, then: Self, other: Self) -> Self;

    /// All of them, where they are L.
    #[inline(always)]
    fn line<const L: usize>(self) -> [T; L]
    where
        T: Bare,
    {
        let mut line = [T::default(); L];
        self.store(&mut line);
        line
    }
}

macro_rules! number {
    ($t:ident) => {
        impl Vector<$t> for $t {
            #[inline(always)]
            fn splat(v: $t) -> Self {
                v
            }
            #[inline(always)]
            fn load(values: &[$t]) -> Self {
                values[0]
            }
            #[inline(always)]
            fn store(self, values: &mut [$t]) {
                values[0] = self;
            }
            #[inline(always)]
            fn up_to(self, bound: $t, then: $t, other: $t) -> $t {
                select_unpredictable(self <= bound, then, other)
            }
        }
    };
}

number!(f32);
number!(f64);

/// An array as a vector: the compiler makes registers of it, of whatever instruction set it compiles for.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<T, const L: usize>([T; L]);

impl<T: Bare, const L: usize> Vector<T> for Chunk<T, L>
where
    T: Add<Output = T> + Sub<Output = T> + Mul<Output = T> + PartialOrd,
{
    #[inline(always)]
    fn splat(v: T) -> Self {
        Self([v; L])
    }
    #[inline(always)]
    fn load(values: &[T]) -> Self {
        Self(*values.first_chunk().unwrap_or_else(|| unreachable!("slices are cut to whole chunks")))
    }
    #[inline(always)]
    fn store(self, values: &mut [T]) {
        values[..L].copy_from_slice(&self.0);
    }
    #[inline(always)]
    fn up_to(self, bound: Self, then: Self, mut other: Self) -> Self {
        for i in 0..L {
            other.0[i] = select_unpredictable(self.0[i] <= bound.0[i], then.0[i], other.0[i]);
        }
        other
    }
    #[inline(always)]
    fn line<const M: usize>(self) -> [T; M] {
        *self.0.first_chunk().unwrap_or_else(|| unreachable!("a line is a chunk"))
    }
}

macro_rules! elementwise {
    ($trait:ident, $method:ident, $op:tt) => {
        impl<T: Bare + $trait<Output = T>, const L: usize> $trait for Chunk<T, L> {
            type Output = Self;
            #[inline(always)]
            fn $method(mut self, other: Self) -> Self {
                for i in 0..L {
                    self.0[i] = self.0[i] $op other.0[i];
                }
                self
            }
        }
    };
}

elementwise!(Add, add, +);
elementwise!(Sub, sub, -);
elementwise!(Mul, mul, *);

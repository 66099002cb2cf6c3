//! The vectors of `wide` as the walks take them. `wide`'s types are not of this crate, and neither are the traits: a vector
//! is wrapped.

use bn_core::Real;
use bn_core::mem::Bare;
use bn_core::walk::{Lane, Vector};
use std::ops::{Add, Mul, Neg, Sub};
use wide::{f32x16, f64x8};

/// An element type of these kernels.
pub(crate) trait Item: Real + Bare + Vector<Self> {}
impl Item for f32 {}
impl Item for f64 {}

/// A vector of `wide`.
#[derive(Clone, Copy)]
pub(crate) struct Simd<V>(V);

macro_rules! operation {
    ($trait:ident, $method:ident, $op:tt) => {
        impl<V: $trait<Output = V>> $trait for Simd<V> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(self.0 $op other.0)
            }
        }
    };
}

operation!(Add, add, +);
operation!(Sub, sub, -);
operation!(Mul, mul, *);

macro_rules! vector {
    ($t:ident, $vector:ident, $n:literal) => {
        impl Vector<$t> for Simd<$vector> {
            #[inline(always)]
            fn splat(v: $t) -> Self {
                Self($vector::from([v; $n]))
            }
            #[inline(always)]
            fn load(values: &[$t]) -> Self {
                Self($vector::from(*first::<$t, $n>(values)))
            }
            #[inline(always)]
            fn store(self, values: &mut [$t]) {
                values[..$n].copy_from_slice(&self.0.to_array());
            }
            #[inline(always)]
            fn up_to(self, bound: Self, then: Self, other: Self) -> Self {
                Self(self.0.simd_le(bound.0).select(then.0, other.0))
            }
        }
    };
}

vector!(f32, f32x16, 16);
vector!(f64, f64x8, 8);

impl From<f64> for Simd<f64x8> {
    #[inline(always)]
    fn from(v: f64) -> Self {
        Self::splat(v)
    }
}

impl Neg for Simd<f64x8> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Lane for Simd<f64x8> {
    #[inline(always)]
    #[expect(clippy::disallowed_methods, reason = "the product is exact")]
    fn fused(self, other: Self, sum: Self) -> Self {
        Self(self.0.mul_add(other.0, sum.0))
    }
}

/// A register of virtual lanes, or one lane by itself.
pub(crate) trait Register: Lane + Vector<f64> {
    /// Its lanes.
    const PLACES: usize;
    /// The first elements, widened.
    fn widen<T: Item>(values: &[T]) -> Self;
}

impl Register for f64 {
    const PLACES: usize = 1;

    #[inline(always)]
    fn widen<T: Item>(values: &[T]) -> Self {
        values[0].to_f64()
    }
}

impl Register for Simd<f64x8> {
    const PLACES: usize = 8;

    #[inline(always)]
    fn widen<T: Item>(values: &[T]) -> Self {
        Self(f64x8::from(first::<T, 8>(values).map(T::to_f64)))
    }
}

/// The first N of `values`; callers cut their slices to whole vectors.
#[inline(always)]
fn first<T, const N: usize>(values: &[T]) -> &[T; N] {
    values.first_chunk().unwrap_or_else(|| unreachable!("slices are cut to whole vectors"))
}

//! What elements add to their virtual lanes: for a vector of elements, and for the single ones behind the last
//! whole vector, by the same code.

use bn_core::Real;
use bn_core::eft::{Float, two_prod, two_sum};
use bn_core::kernels::{Acc, Plane};
use bn_core::stream::Plain;
use std::ops::{Add, Mul, Neg, Sub};
use wide::{f32x16, f64x8};

/// N elements side by side: a vector, or a number by itself.
pub(crate) trait Vector<T>:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// `v` in every place.
    fn splat(v: T) -> Self;
    /// The first N of `values`.
    fn load(values: &[T]) -> Self;
    /// Into the first N of `values`.
    fn store(self, values: &mut [T]);
}

macro_rules! vector {
    ($t:ident, $vector:ident, $n:literal) => {
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
        }

        impl Vector<$t> for $vector {
            #[inline(always)]
            fn splat(v: $t) -> Self {
                Self::from([v; $n])
            }
            #[inline(always)]
            fn load(values: &[$t]) -> Self {
                Self::from(*first::<$t, $n>(values))
            }
            #[inline(always)]
            fn store(self, values: &mut [$t]) {
                values[..$n].copy_from_slice(&self.to_array());
            }
        }
    };
}

vector!(f32, f32x16, 16);
vector!(f64, f64x8, 8);

/// The first N of `values`; callers cut their slices to whole vectors.
#[inline(always)]
fn first<T, const N: usize>(values: &[T]) -> &[T; N] {
    values.first_chunk().unwrap_or_else(|| unreachable!("slices are cut to whole vectors"))
}

/// An element type, with the vector that its maps run on.
pub(crate) trait Item: Real + Plain + Vector<Self> {
    /// What maps run on.
    type Vector: Vector<Self>;
    /// Whether sums carry remainders.
    const COMPENSATED: bool;
}

impl Item for f32 {
    type Vector = f32x16;
    const COMPENSATED: bool = false;
}

impl Item for f64 {
    type Vector = f64x8;
    const COMPENSATED: bool = true;
}

/// Vectors of eight lanes that are summed at a time: the build's target has registers for both sums of so many, and for what is
/// added to them.
pub(crate) const VECTORS: usize = if cfg!(target_feature = "avx512f") {
    4
} else if cfg!(target_feature = "avx") {
    2
} else {
    1
};

/// A number of virtual lanes of a sum.
pub(crate) trait Lanes: Float + Neg<Output = Self> + Vector<f64> {
    /// The first N elements, widened.
    fn widen<T: Item>(values: &[T]) -> Self;
    /// sum + self·other, where the product is exact: one rounding, or two, give the same.
    fn add_product_to(self, other: Self, sum: Self) -> Self;
}

impl Lanes for f64 {
    #[inline(always)]
    fn widen<T: Item>(values: &[T]) -> Self {
        values[0].to_f64()
    }
    #[inline(always)]
    fn add_product_to(self, other: Self, sum: Self) -> Self {
        sum + self * other
    }
}

impl Lanes for f64x8 {
    #[inline(always)]
    fn widen<T: Item>(values: &[T]) -> Self {
        Self::from(first::<T, 8>(values).map(T::to_f64))
    }
    #[inline(always)]
    fn add_product_to(self, other: Self, sum: Self) -> Self {
        self.mul_add(other, sum)
    }
}

/// Both sums of N lanes. f32 leaves the remainders alone.
#[derive(Clone, Copy)]
pub(crate) struct Sums<V> {
    first: (V, V),
    second: (V, V),
}

impl<V: Lanes> Sums<V> {
    #[inline(always)]
    pub(crate) fn load<T: Item>(acc: &Acc<'_>, start: usize) -> Self {
        let plane = |plane: &Plane<'_>| {
            let lo = if T::COMPENSATED { V::load(&plane.lo[start..]) } else { V::from(0.0) };
            (V::load(&plane.hi[start..]), lo)
        };
        Self { first: plane(&acc.first), second: plane(&acc.second) }
    }

    /// G of them, one behind the other.
    #[inline(always)]
    pub(crate) fn load_all<T: Item, const G: usize>(acc: &Acc<'_>, start: usize) -> [Self; G] {
        let zero = (V::from(0.0), V::from(0.0));
        // Not `from_fn`, which is not inlined everywhere.
        let mut all = [Self { first: zero, second: zero }; G];
        for g in 0..G {
            all[g] = Self::load::<T>(acc, start + 8 * g);
        }
        all
    }

    #[inline(always)]
    pub(crate) fn store<T: Item>(self, acc: &mut Acc<'_>, start: usize) {
        for (plane, (hi, lo)) in [(&mut acc.first, self.first), (&mut acc.second, self.second)] {
            hi.store(&mut plane.hi[start..]);
            if T::COMPENSATED {
                lo.store(&mut plane.lo[start..]);
            }
        }
    }

    /// Puts those of [`Sums::load_all`] back.
    #[inline(always)]
    pub(crate) fn store_all<T: Item, const G: usize>(all: [Self; G], acc: &mut Acc<'_>, start: usize) {
        for (g, sums) in all.into_iter().enumerate() {
            sums.store::<T>(acc, start + 8 * g);
        }
    }

    /// Adds x and x².
    #[inline(always)]
    pub(crate) fn add_moments<T: Item>(&mut self, x: V) {
        if T::COMPENSATED {
            add(&mut self.first, x, V::from(0.0));
            add(&mut self.second, x * x, V::from(0.0));
        } else {
            self.first.0 = self.first.0 + x;
            self.second.0 = x.add_product_to(x, self.second.0);
        }
    }

    /// Adds x − k and (x − k)².
    #[inline(always)]
    pub(crate) fn add_moments_about<T: Item>(&mut self, x: V, k: V) {
        if T::COMPENSATED {
            let (d, e) = two_sum(x, -k);
            add(&mut self.first, d, e);
            add(&mut self.second, d * d, (d + d) * e);
        } else {
            let d = x - k;
            self.first.0 = self.first.0 + d;
            self.second.0 = self.second.0 + d * d;
        }
    }

    /// Adds dy and dy·x.
    #[inline(always)]
    pub(crate) fn add_grads<T: Item>(&mut self, x: V, dy: V) {
        if T::COMPENSATED {
            let (p, q) = two_prod(dy, x);
            add(&mut self.first, dy, V::from(0.0));
            add(&mut self.second, p, q);
        } else {
            self.first.0 = self.first.0 + dy;
            self.second.0 = dy.add_product_to(x, self.second.0);
        }
    }

    /// Adds dy and dy·(x − k).
    #[inline(always)]
    pub(crate) fn add_grads_about<T: Item>(&mut self, x: V, dy: V, k: V) {
        if T::COMPENSATED {
            let (d, e) = two_sum(x, -k);
            let (p, q) = two_prod(dy, d);
            add(&mut self.first, dy, V::from(0.0));
            add(&mut self.second, p, q + dy * e);
        } else {
            let d = x - k;
            self.first.0 = self.first.0 + dy;
            self.second.0 = self.second.0 + dy * d;
        }
    }
}

/// Adds `v` and the remainder `rest` that belongs to it.
#[inline(always)]
fn add<V: Lanes>(sum: &mut (V, V), v: V, rest: V) {
    let (hi, e) = two_sum(sum.0, v);
    *sum = (hi, sum.1 + (e + rest));
}

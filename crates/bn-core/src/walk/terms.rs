//! What an element adds to its virtual lane, once for all vector kernels.
//!
//! A lane is an f64, or a vector of them side by side: the operations are elementwise, so it does not matter which.

use crate::kernel::{Acc, Plane};
use crate::num::eft::{Float, two_prod, two_sum};
use crate::num::{Real, Wide};
use std::ops::Neg;

/// An f64, or several side by side.
pub trait Lane: Float + Neg<Output = Self> {
    /// self·other + sum in one operation, or in two where the machine has none; called where the product is exact, so
    /// that one rounding is as good as two.
    fn fused(self, other: Self, sum: Self) -> Self;
}

impl Lane for f64 {
    #[inline(always)]
    #[expect(clippy::disallowed_methods, reason = "the product is exact")]
    fn fused(self, other: Self, sum: Self) -> Self {
        self.mul_add(other, sum)
    }
}

/// Both sums of a lane, each with its remainder. f32 leaves the remainders alone, and the compiler leaves them out.
#[derive(Clone, Copy, Debug)]
pub struct Sums<V> {
    /// Σ(x−k) or Σdy.
    pub first: (V, V),
    /// Σ(x−k)² or Σdy·(x−k).
    pub second: (V, V),
}

/// Whether sums of T carry remainders.
#[must_use]
pub const fn compensated<T: Real>() -> bool {
    T::Wide::PARTS > 1
}

impl<V: Lane> Sums<V> {
    /// Those of the planes of `acc`, each number as `load` finds it.
    #[inline(always)]
    pub fn load<T: Real>(acc: &Acc<'_>, load: impl Fn(&[f64]) -> V, start: usize) -> Self {
        Self {
            first: Self::load_plane::<T>(&acc.first, &load, start),
            second: Self::load_plane::<T>(&acc.second, &load, start),
        }
    }

    #[inline(always)]
    fn load_plane<T: Real>(plane: &Plane<'_>, load: &impl Fn(&[f64]) -> V, start: usize) -> (V, V) {
        let lo = if compensated::<T>() { load(&plane.lo[start..]) } else { V::from(0.0) };
        (load(&plane.hi[start..]), lo)
    }

    /// Adds x and x². With FUSED a product and its sum may be one operation: the product of two f32 is exact.
    #[inline(always)]
    pub fn add_moments<T: Real, const FUSED: bool>(&mut self, x: V) {
        if compensated::<T>() {
            add(&mut self.first, x, V::from(0.0));
            let (p, q) = two_prod(x, x);
            add(&mut self.second, p, q);
        } else {
            self.first.0 = self.first.0 + x;
            self.second.0 = product::<V, FUSED>(x, x, self.second.0);
        }
    }

    /// Adds x − k and (x − k)².
    #[inline(always)]
    pub fn add_moments_about<T: Real>(&mut self, x: V, k: V) {
        if compensated::<T>() {
            let (d, e) = two_sum(x, -k);
            add(&mut self.first, d, e);
            let (p, q) = two_prod(d, d);
            add(&mut self.second, p, q + V::from(2.0) * d * e);
        } else {
            let d = x - k;
            self.first.0 = self.first.0 + d;
            self.second.0 = self.second.0 + d * d;
        }
    }

    /// Adds dy and dy·x, as [`Sums::add_moments`] does.
    #[inline(always)]
    pub fn add_grads<T: Real, const FUSED: bool>(&mut self, x: V, dy: V) {
        if compensated::<T>() {
            let (p, q) = two_prod(dy, x);
            add(&mut self.first, dy, V::from(0.0));
            add(&mut self.second, p, q);
        } else {
            self.first.0 = self.first.0 + dy;
            self.second.0 = product::<V, FUSED>(dy, x, self.second.0);
        }
    }

    /// Adds dy and dy·(x − k).
    #[inline(always)]
    pub fn add_grads_about<T: Real>(&mut self, x: V, dy: V, k: V) {
        if compensated::<T>() {
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

/// sum + v·w, of which the product is exact.
#[inline(always)]
fn product<V: Lane, const FUSED: bool>(v: V, w: V, sum: V) -> V {
    if FUSED { v.fused(w, sum) } else { sum + v * w }
}

/// Adds `v` and the remainder `rest` that belongs to it.
#[inline(always)]
fn add<V: Lane>(sum: &mut (V, V), v: V, rest: V) {
    let (hi, e) = two_sum(sum.0, v);
    *sum = (hi, sum.1 + (e + rest));
}

//! What one element adds to its virtual lane, for each element type.

use bn_core::Real;
use bn_core::kernel::{Acc, Plane};
use bn_core::num::eft::{two_prod, two_sum};

/// The sums of one virtual lane, and how elements are added to it.
pub(crate) trait Summand: Real {
    /// A sum, in the precision the contract asks for.
    type Sum: Copy + Default;

    /// Lane `i` of a plane.
    fn load(plane: &Plane<'_>, i: usize) -> Self::Sum;
    /// Puts it back.
    fn store(sum: Self::Sum, plane: &mut Plane<'_>, i: usize);
    /// Adds x − k and (x − k)².
    fn add_moments(sums: (Self::Sum, Self::Sum), x: Self, k: Self) -> (Self::Sum, Self::Sum);
    /// Adds dy and dy·(x − k).
    fn add_grads(sums: (Self::Sum, Self::Sum), x: Self, dy: Self, k: Self) -> (Self::Sum, Self::Sum);
}

/// Both sums of a lane.
pub(crate) type Lane<T> = (<T as Summand>::Sum, <T as Summand>::Sum);

/// Lane `i`.
#[inline(always)]
pub(crate) fn load<T: Summand>(acc: &Acc<'_>, i: usize) -> Lane<T> {
    (T::load(&acc.first, i), T::load(&acc.second, i))
}

/// Puts it back.
#[inline(always)]
pub(crate) fn store<T: Summand>((first, second): Lane<T>, acc: &mut Acc<'_>, i: usize) {
    T::store(first, &mut acc.first, i);
    T::store(second, &mut acc.second, i);
}

impl Summand for f32 {
    type Sum = f64;

    #[inline(always)]
    fn load(plane: &Plane<'_>, i: usize) -> f64 {
        plane.hi[i]
    }
    #[inline(always)]
    fn store(sum: f64, plane: &mut Plane<'_>, i: usize) {
        plane.hi[i] = sum;
    }
    #[inline(always)]
    fn add_moments((first, second): (f64, f64), x: f32, k: f32) -> (f64, f64) {
        let d = f64::from(x) - f64::from(k);
        (first + d, second + d * d)
    }
    #[inline(always)]
    fn add_grads((first, second): (f64, f64), x: f32, dy: f32, k: f32) -> (f64, f64) {
        let (d, dy) = (f64::from(x) - f64::from(k), f64::from(dy));
        (first + dy, second + dy * d)
    }
}

/// A sum and what it has lost to rounding.
#[derive(Clone, Copy, Default)]
pub(crate) struct Compensated {
    hi: f64,
    lo: f64,
}

impl Compensated {
    /// Adds `v` and the remainder `rest` that belongs to it.
    #[inline(always)]
    fn add(self, v: f64, rest: f64) -> Self {
        let (hi, e) = two_sum(self.hi, v);
        Self { hi, lo: self.lo + (e + rest) }
    }
}

impl Summand for f64 {
    type Sum = Compensated;

    #[inline(always)]
    fn load(plane: &Plane<'_>, i: usize) -> Compensated {
        Compensated { hi: plane.hi[i], lo: plane.lo[i] }
    }
    #[inline(always)]
    fn store(sum: Compensated, plane: &mut Plane<'_>, i: usize) {
        (plane.hi[i], plane.lo[i]) = (sum.hi, sum.lo);
    }
    #[inline(always)]
    fn add_moments(
        (first, second): (Compensated, Compensated),
        x: f64,
        k: f64,
    ) -> (Compensated, Compensated) {
        let (d, e) = two_sum(x, -k);
        let (p, q) = two_prod(d, d);
        (first.add(d, e), second.add(p, q + 2.0 * d * e))
    }
    #[inline(always)]
    fn add_grads(
        (first, second): (Compensated, Compensated),
        x: f64,
        dy: f64,
        k: f64,
    ) -> (Compensated, Compensated) {
        let (d, e) = two_sum(x, -k);
        let (p, q) = two_prod(dy, d);
        (first.add(dy, 0.0), second.add(p, q + dy * e))
    }
}

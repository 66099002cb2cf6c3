//! Error-free transformations: sums and products of two f64 as a rounded result and its exact error.
//!
//! The formulae are Knuth's two-sum (TAOCP 2, 4.2.2, theorem B), and Veltkamp's splitting with Dekker's
//! product (Numer. Math. 18, 1971). None needs a fused multiply-add, so that a machine without one gives
//! the same bits as a machine that has it. None is exact once a result overflows, or once the error of a
//! product falls below the normal range (|a·b| < 2⁻⁹⁶⁹); the product also fails where |a| > 2⁹⁹⁶. The
//! driver takes such features in units of powers of two (see docs/numerics.md).

use std::ops::{Add, Mul, Sub};

/// f64, or a vector of them, on which every operation is elementwise.
pub trait Float: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + From<f64> {}

impl<T: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + From<f64>> Float for T {}

/// `a + b` as `(s, e)` with s = fl(a + b) and s + e = a + b exactly.
#[inline(always)]
#[must_use]
pub fn two_sum<T: Float>(a: T, b: T) -> (T, T) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// `a + b` as [`two_sum`] gives it, where |a| ≥ |b| or a = 0.
#[inline(always)]
#[must_use]
pub fn quick_two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    (s, b - (s - a))
}

/// `a` as the sum of two numbers of at most 26 bits each.
#[inline(always)]
fn split<T: Float>(a: T) -> (T, T) {
    const FACTOR: f64 = ((1u64 << 27) + 1) as f64;
    let t = T::from(FACTOR) * a;
    let hi = t - (t - a);
    (hi, a - hi)
}

/// `a · b` as `(p, e)` with p = fl(a·b) and p + e = a·b exactly.
#[inline(always)]
#[must_use]
pub fn two_prod<T: Float>(a: T, b: T) -> (T, T) {
    let p = a * b;
    let (ah, al) = split(a);
    let (bh, bl) = split(b);
    (p, ((ah * bh - p) + ah * bl + al * bh) + al * bl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_exact() {
        // (1 + 2⁻⁵²)² = 1 + 2⁻⁵¹ + 2⁻¹⁰⁴, and 1 + 2⁻⁶⁰ keeps its tail.
        let a = 1.0 + f64::EPSILON;
        assert_eq!(two_prod(a, a), (1.0 + 2.0 * f64::EPSILON, (-104f64).exp2()));
        assert_eq!(two_sum(1.0, (-60f64).exp2()), (1.0, (-60f64).exp2()));
        assert_eq!(two_sum((-60f64).exp2(), 1.0), (1.0, (-60f64).exp2()));
        assert_eq!(quick_two_sum(1.0, -(-60f64).exp2()), (1.0, -(-60f64).exp2()));
    }
}

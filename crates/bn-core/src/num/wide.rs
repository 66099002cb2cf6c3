//! The type that sums and coefficients are computed in: about twice the precision of the data.
//!
//! f32 data are summed in f64, f64 data in [`Dd`], the unevaluated sum of two f64 (106 bits). Everything
//! between the kernels is written once over [`Wide`].

use super::eft::{quick_two_sum, two_prod, two_sum};
use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number of twice the data's precision.
pub trait Wide:
    Copy
    + Debug
    + Default
    + PartialEq
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The number whose leading part is `hi` and whose remainder is `lo`, as an accumulator holds it.
    fn from_parts(hi: f64, lo: f64) -> Self;
    /// How many f64 make up the number: what an accumulator has to hold.
    const PARTS: usize;
    /// The number as leading part and remainder.
    fn parts(self) -> (f64, f64);
    /// The nearest f64.
    fn to_f64(self) -> f64;
    /// √self; NaN where self < 0.
    fn sqrt(self) -> Self;
    /// 1/√self.
    fn recip_sqrt(self) -> Self;
    /// self / n; exact where the quotient is a value of f64.
    fn over(self, n: f64) -> Self;

    /// `v`, exactly.
    #[inline(always)]
    fn from_f64(v: f64) -> Self {
        Self::from_parts(v, 0.0)
    }
}

impl Wide for f64 {
    const PARTS: usize = 1;

    #[inline(always)]
    fn from_parts(hi: f64, lo: f64) -> Self {
        hi + lo
    }
    #[inline(always)]
    fn parts(self) -> (f64, f64) {
        (self, 0.0)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn recip_sqrt(self) -> Self {
        1.0 / self.sqrt()
    }
    #[inline(always)]
    fn over(self, n: f64) -> Self {
        self / n
    }
}

/// A double-double: hi + lo with |lo| ≤ ulp(hi)/2.
///
/// Formulae: T. J. Dekker, "A floating-point technique for extending the available precision" (1971), and
/// M. Joldes, J.-M. Muller, V. Popescu, "Tight and rigorous error bounds for basic building blocks of
/// double-word arithmetic" (2017). Infinities and NaN behave as those of one f64.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dd {
    hi: f64,
    lo: f64,
}

impl Dd {
    /// self · 2ᵉ, exact but for over- and underflow.
    #[must_use]
    pub fn ldexp(self, e: i32) -> Self {
        Self::from_parts(ldexp(self.hi, e), ldexp(self.lo, e))
    }
}

/// v · 2ᵉ. Exact unless the result overflows or is subnormal; then rounded once.
#[must_use]
pub fn ldexp(v: f64, e: i32) -> f64 {
    // Three even steps stay within the normal range until the last, so that the result is rounded once.
    let e = e.clamp(-2200, 2200);
    let third = e / 3;
    v * power_of_two(third) * power_of_two(third) * power_of_two(e - 2 * third)
}

/// 2ᵉ, of which 1023 ≥ e > −1023.
#[inline]
#[must_use]
pub fn power_of_two(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

/// The exponent e with 2ᵉ ≤ |v| < 2ᵉ⁺¹, for finite v ≠ 0.
#[must_use]
pub fn exponent(v: f64) -> i32 {
    let raw = |v: f64| ((v.to_bits() >> 52) & 0x7ff) as i32;
    match raw(v) {
        0 => raw(v * 2f64.powi(64)) - 1023 - 64,
        e => e - 1023,
    }
}

impl Wide for Dd {
    const PARTS: usize = 2;

    #[inline(always)]
    fn from_parts(hi: f64, lo: f64) -> Self {
        let (s, e) = quick_two_sum(hi, lo);
        // The remainder of an infinity is NaN: the value is what counts, as if it were one number.
        if s.is_finite() { Self { hi: s, lo: e } } else { Self { hi, lo: 0.0 } }
    }
    #[inline(always)]
    fn parts(self) -> (f64, f64) {
        (self.hi, self.lo)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.hi
    }
    #[inline]
    fn sqrt(self) -> Self {
        let s = self.hi.sqrt();
        if s == 0.0 || !s.is_finite() {
            return Self { hi: s, lo: 0.0 };
        }
        let (p, e) = two_prod(s, s);
        let rest = (self - Self::from_parts(p, e)).hi;
        Self::from_parts(s, rest / (2.0 * s))
    }
    #[inline]
    fn recip_sqrt(self) -> Self {
        // Far from 1 the remainders of products would be lost: 1/√v = 2³⁰⁰/√(v·2⁶⁰⁰).
        const FAR: f64 = (1u128 << 100) as f64;
        let (up, down) = (FAR * FAR * FAR, 1.0 / FAR / FAR / FAR);
        let root = if self.hi < down * down * down {
            up
        } else if self.hi > up * up * up {
            down
        } else {
            1.0
        };
        let near = Self { hi: self.hi * root * root, lo: self.lo * root * root };
        // One step of Newton's iteration, y ← y + y·(1 − v·y²)/2, doubles the digits without a wide division.
        let y = 1.0 / near.hi.sqrt();
        if y == 0.0 || !y.is_finite() {
            return Self { hi: y, lo: 0.0 };
        }
        let (p, e) = two_prod(y, y);
        let rest = (Self::from_f64(1.0) - near * Self::from_parts(p, e)).hi;
        let near = Self::from_parts(y, 0.5 * y * rest);
        Self { hi: near.hi * root, lo: near.lo * root }
    }
    #[inline]
    fn over(self, n: f64) -> Self {
        let q = self.hi / n;
        if !q.is_finite() {
            return Self { hi: q, lo: 0.0 };
        }
        let (p, e) = two_prod(q, n);
        let rest = ((self.hi - p) - e) + self.lo;
        Self::from_parts(q, rest / n)
    }
}

impl Add for Dd {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let (s, e) = two_sum(self.hi, other.hi);
        let (t, f) = two_sum(self.lo, other.lo);
        let high = Self::from_parts(s, e + t);
        Self::from_parts(high.hi, high.lo + f)
    }
}

impl Neg for Dd {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { hi: -self.hi, lo: -self.lo }
    }
}

impl Sub for Dd {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Dd {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let (p, e) = two_prod(self.hi, other.hi);
        Self::from_parts(p, e + (self.hi * other.lo + self.lo * other.hi))
    }
}

impl Div for Dd {
    type Output = Self;
    #[inline]
    fn div(self, other: Self) -> Self {
        let q1 = self.hi / other.hi;
        if !q1.is_finite() || !other.hi.is_finite() {
            return Self { hi: q1, lo: 0.0 };
        }
        let r = self - other * Self::from_f64(q1);
        let q2 = r.hi / other.hi;
        let r = r - other * Self::from_f64(q2);
        Self::from_parts(q1, q2) + Self::from_f64(r.hi / other.hi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dd(hi: f64, lo: f64) -> Dd {
        Dd::from_parts(hi, lo)
    }

    #[test]
    fn keeps_a_hundred_bits() {
        let third = dd(1.0, 0.0) / dd(3.0, 0.0);
        let one = third * dd(3.0, 0.0);
        assert!((one - dd(1.0, 0.0)).to_f64().abs() < 1e-31);
        let root = dd(2.0, 0.0).sqrt();
        assert!((root * root - dd(2.0, 0.0)).to_f64().abs() < 1e-31);
        let inverse = dd(2.0, 1e-17).recip_sqrt();
        assert!((inverse * inverse * dd(2.0, 1e-17) - dd(1.0, 0.0)).to_f64().abs() < 1e-31);
        for v in [5e-324, 1e-310, 1e-280, 1e280, 1.7e308] {
            let (inverse, half) = (dd(v, 0.0).recip_sqrt(), exponent(v).div_euclid(2));
            let (inverse, v) = (inverse.ldexp(half), dd(v, 0.0).ldexp(-2 * half));
            assert!((inverse * inverse * v - dd(1.0, 0.0)).to_f64().abs() < 1e-31, "{v:?}");
        }
        assert!((dd(1.0, 1e-17).over(3.0) * dd(3.0, 0.0) - dd(1.0, 1e-17)).to_f64().abs() < 1e-31);
        assert_eq!(((dd(1e16, 0.0) + dd(1.0, 1e-17)) - dd(1e16, 0.0)).to_f64(), 1.0);
    }

    #[test]
    fn an_exact_quotient_is_exact() {
        for n in [3.0, 7.0, 1000.0, 400_000.0] {
            for c in [0.1, 12.345, 1e-9, -7e8] {
                let (p, e) = two_prod(n, c);
                assert_eq!(dd(p, e) / dd(n, 0.0), dd(c, 0.0), "n={n} c={c}");
                assert_eq!(dd(p, e).over(n), dd(c, 0.0), "n={n} c={c}");
            }
        }
    }

    #[test]
    fn roots_of_special_values() {
        assert_eq!(Wide::sqrt(dd(0.0, 0.0)).to_f64(), 0.0);
        assert_eq!(Wide::sqrt(dd(f64::INFINITY, 0.0)).to_f64(), f64::INFINITY);
        assert!(Wide::sqrt(dd(-1.0, 0.0)).to_f64().is_nan());
    }

    #[test]
    fn infinities_behave_as_one_number() {
        let (inf, one) = (dd(f64::INFINITY, f64::NAN), dd(1.0, 0.0));
        for got in [inf + one, one + inf, inf * one, inf / one, inf - one, one / dd(0.0, 0.0)] {
            assert_eq!(got, dd(f64::INFINITY, 0.0));
        }
        assert_eq!((one / inf).to_f64(), 0.0);
        assert!((inf - inf).to_f64().is_nan() && (dd(0.0, 0.0) * inf).to_f64().is_nan());
    }

    #[test]
    fn exponents_and_scaling_invert_each_other() {
        for v in [1.0, 1.5, -3.0, 5e-324, 2.3e-308, f64::MAX, 1e-200] {
            let e = exponent(v);
            let m = ldexp(v, -e).abs();
            assert!((1.0..2.0).contains(&m), "{v}: 2^{e} · {m}");
            assert_eq!(ldexp(ldexp(v, -e), e), v);
        }
        assert_eq!(ldexp(1.0, -1074), 5e-324);
        assert_eq!(ldexp(1.5, 1024), f64::INFINITY);
        assert_eq!(ldexp(1.0, -2000), 0.0);
    }
}

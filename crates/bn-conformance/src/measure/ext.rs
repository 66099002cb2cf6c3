//! Scales are products of numbers near the ends of f64's range: here is an f64 with an exponent of any size.

use bn_core::num::wide::ldexp;
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Sub};

/// m · 2⁵¹²ᵉ, with m = 0 or 2⁻²⁵⁶ ≤ |m| < 2²⁵⁶; 53 bits, as f64 has. An infinity or NaN is its m, with e = 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ext {
    m: f64,
    e: i32,
}

const fn power(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

impl Ext {
    pub(crate) const ZERO: Self = Self { m: 0.0, e: 0 };

    /// `v`, exactly.
    pub(crate) fn new(v: f64) -> Self {
        Self::of(v, 0)
    }

    #[inline]
    fn of(mut m: f64, mut e: i32) -> Self {
        if (power(-256)..power(256)).contains(&m.abs()) {
            return Self { m, e };
        }
        if m == 0.0 || !m.is_finite() {
            return Self { m, e: 0 };
        }
        while m.abs() >= power(256) {
            (m, e) = (m * power(-512), e + 1);
        }
        while m.abs() < power(-256) {
            (m, e) = (m * power(512), e - 1);
        }
        Self { m, e }
    }

    /// 2ᵏ.
    pub(crate) fn power_of_two(k: i32) -> Self {
        Self::of(power(k.rem_euclid(512)), k.div_euclid(512))
    }

    pub(crate) fn is_finite(self) -> bool {
        self.m.is_finite()
    }

    pub(crate) fn is_nan(self) -> bool {
        self.m.is_nan()
    }

    pub(crate) fn abs(self) -> Self {
        Self { m: self.m.abs(), ..self }
    }

    pub(crate) fn sqrt(self) -> Self {
        match self.e.rem_euclid(2) {
            0 => Self::of(self.m.sqrt(), self.e / 2),
            _ => Self::of(self.m.sqrt() * power(256), (self.e - 1) / 2),
        }
    }

    /// The larger one; of a number and NaN the number.
    pub(crate) fn max(self, other: Self) -> Self {
        if self.is_nan() || self < other { other } else { self }
    }

    /// The nearest f64.
    pub(crate) fn to_f64(self) -> f64 {
        if self.e == 0 { self.m } else { ldexp(self.m, self.e.clamp(-4, 4) * 512) }
    }
}

impl Add for Ext {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        if self.e == other.e || !self.is_finite() || !other.is_finite() {
            return Self::of(self.m + other.m, self.e);
        }
        let (large, small) = if self.e > other.e { (self, other) } else { (other, self) };
        // Zero has no exponent of its own.
        match large.e - small.e {
            _ if large.m == 0.0 => small,
            1 => Self::of(large.m + small.m * power(-512), large.e),
            _ => large,
        }
    }
}

impl Sub for Ext {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        self + Self { m: -other.m, ..other }
    }
}

impl Mul for Ext {
    type Output = Self;
    #[inline]
    fn mul(self, other: Self) -> Self {
        Self::of(self.m * other.m, self.e + other.e)
    }
}

impl Div for Ext {
    type Output = Self;
    #[inline]
    fn div(self, other: Self) -> Self {
        Self::of(self.m / other.m, self.e - other.e)
    }
}

impl std::iter::Sum for Ext {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::ZERO, Add::add)
    }
}

impl PartialEq for Ext {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Ext {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self.e == other.e { self.m.partial_cmp(&other.m) } else { (*self - *other).m.partial_cmp(&0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What f64 holds comes out as f64's own operations give it.
    #[test]
    fn within_f64_all_operations_are_f64s() {
        let values =
            [0.0, 1.0, -3.7, 1e-80, 2.5e77, 1e-155, -7e150, 5e-324, f64::MAX, f64::NAN, f64::INFINITY];
        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        for a in values {
            assert!(same(Ext::new(a).to_f64(), a), "{a:e}");
            for b in values {
                let (x, y) = (Ext::new(a), Ext::new(b));
                for (got, want) in [(x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b)] {
                    // Beyond f64's range there is more to tell.
                    if want == 0.0 || want.is_infinite() || want.abs() < 1e-300 {
                        continue;
                    }
                    assert!(same(got.to_f64(), want), "{a:e} {b:e}: {got:?}, not {want:e}");
                }
                assert_eq!(x.partial_cmp(&y), a.partial_cmp(&b), "{a:e} {b:e}");
            }
        }
    }

    #[test]
    fn beyond_f64_nothing_is_lost() {
        let (large, tiny) = (Ext::new(1e300), Ext::new(1e-300));
        let product = large * large * large * tiny * tiny * tiny;
        assert!((product.to_f64() - 1.0).abs() < 1e-14, "{product:?}");
        assert!((((large * large) + Ext::new(1.0)) / large / large).to_f64() == 1.0);
        assert!(((tiny * tiny).sqrt() / tiny).to_f64() == 1.0);
        let cube = tiny * tiny * tiny;
        assert!(((cube * cube).sqrt() / cube).to_f64() == 1.0);
        assert!(large * large > large && tiny * tiny < tiny && tiny * tiny > Ext::ZERO);
        assert_eq!((large * large).max(Ext::new(f64::NAN)).to_f64(), f64::INFINITY);
        assert_eq!(Ext::power_of_two(-1075).to_f64() + Ext::power_of_two(-3).to_f64(), 0.125);
    }
}

//! The numbers that the oracle is computed in: wider than f64, with or without infinities.

use bn_core::num::{Dd, Wide};
use dashu_float::{FBig, round::mode::HalfEven};
use std::ops::{Add, Div, Mul, Sub};

/// A number that the textbook's formulae can be computed in.
pub trait Number:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// `v`, exactly.
    fn new(v: f64) -> Self;
    /// The nearest f64.
    fn get(&self) -> f64;
    /// The square root.
    fn root(&self) -> Self;
    /// −1, 0 or 1.
    fn side(&self) -> f64;
}

fn sign(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v.signum() }
}

/// Double-double: 106 bits, the exponents of f64.
impl Number for Dd {
    fn new(v: f64) -> Self {
        Self::from_f64(v)
    }
    fn get(&self) -> f64 {
        self.to_f64()
    }
    fn root(&self) -> Self {
        self.sqrt()
    }
    fn side(&self) -> f64 {
        sign(self.to_f64())
    }
}

/// A binary float of 160 bits with exponents of any size. It has no infinities.
pub type Big = FBig<HalfEven, 2>;

impl Number for Big {
    fn new(v: f64) -> Self {
        Self::try_from(v).unwrap_or(Self::ZERO).with_precision(160).value()
    }
    fn get(&self) -> f64 {
        self.to_f64().value()
    }
    fn root(&self) -> Self {
        self.sqrt()
    }
    fn side(&self) -> f64 {
        match self.partial_cmp(&Self::ZERO) {
            Some(order) => f64::from(order as i8),
            None => f64::NAN,
        }
    }
}

/// The finite numbers of `N`, with infinities and NaN as IEEE 754 has them: what does not depend on one stays exact.
#[derive(Clone, Debug)]
pub enum Ieee<N> {
    /// A finite number.
    Finite(N),
    /// ±∞ or NaN.
    Special(f64),
}

impl<N: Number> Ieee<N> {
    /// Whether the value is NaN, infinite, negative, zero or positive is all that a special result depends on.
    fn class(&self) -> f64 {
        match self {
            Self::Finite(v) => v.side(),
            Self::Special(v) => *v,
        }
    }

    fn either(self, other: Self, finite: fn(N, N) -> N, special: fn(f64, f64) -> f64) -> Self {
        let class = special(self.class(), other.class());
        match (self, other) {
            (Self::Finite(a), Self::Finite(b)) => Self::Finite(finite(a, b)),
            // Finite beside something special: a number over an infinity, 0.
            _ => Self::new(class),
        }
    }
}

macro_rules! operation {
    ($trait:ident, $method:ident) => {
        impl<N: Number> $trait for Ieee<N> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.either(other, N::$method, f64::$method)
            }
        }
    };
}

operation!(Add, add);
operation!(Sub, sub);
operation!(Mul, mul);

impl<N: Number> Div for Ieee<N> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        if other.class() == 0.0 {
            return Self::Special(self.class() / 0.0);
        }
        self.either(other, N::div, f64::div)
    }
}

impl<N: Number> Number for Ieee<N> {
    fn new(v: f64) -> Self {
        if v.is_finite() { Self::Finite(N::new(v)) } else { Self::Special(v) }
    }
    fn get(&self) -> f64 {
        match self {
            Self::Finite(v) => v.get(),
            Self::Special(v) => *v,
        }
    }
    fn root(&self) -> Self {
        match self {
            Self::Finite(v) if v.side() >= 0.0 => Self::Finite(v.root()),
            _ => Self::Special(self.class().sqrt()),
        }
    }
    fn side(&self) -> f64 {
        sign(self.class())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::Exact;

    /// What happens beside infinities, NaN and zeros is what f64 does; a class is all that counts.
    fn specials_are_ieees<N: Number>() {
        let values = [0.0, 2.5, -2.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        for a in values {
            for b in values {
                let [x, y] = [a, b].map(<Ieee<N> as Number>::new);
                let (sum, difference) = (x.clone() + y.clone(), x.clone() - y.clone());
                let (product, quotient) = (x.clone() * y.clone(), x.clone() / y.clone());
                for (got, want) in [
                    (sum, a + b),
                    (difference, a - b),
                    (product, a * b),
                    (quotient, a / b),
                    (x.root(), a.sqrt()),
                ] {
                    let close = (got.get() - want).abs() < 1e-15;
                    assert!(close || same(got.get(), want), "{a} {b}: {} for {want}", got.get());
                }
            }
        }
    }

    #[test]
    fn infinities_and_nan_behave_as_f64s() {
        specials_are_ieees::<Dd>();
        specials_are_ieees::<Big>();
    }

    #[test]
    fn a_big_float_is_rounded_once() {
        let big = <Big as Number>::new;
        let tiny = big(1e-300) * big(1e-20);
        assert_eq!(tiny.get(), 1e-320);
        assert_eq!((big(1e-300) * big(1e-300)).get(), 0.0);
        assert_eq!((big(1e-300) * big(1e-300)).side(), 1.0);
        assert_eq!((big(-1e300) * big(1e300)).get(), f64::NEG_INFINITY);
        assert_eq!((big(1.0) + big(2f64.powi(-53))).get(), 1.0);
        assert_eq!((big(1.0) + big(2f64.powi(-53)) + big(2f64.powi(-100))).get(), 1.0 + f64::EPSILON);
        assert_eq!((big(5e-324) * big(0.75)).get(), 5e-324);
    }

    #[test]
    fn the_rest_is_what_the_nearest_f64_leaves_off() {
        let big = <Big as Number>::new;
        let third = Exact::of(&(big(1.0) / big(3.0)));
        assert_eq!(third.near, 1.0 / 3.0);
        assert!((third.rest * 3.0 - 2f64.powi(-54)).abs() < 1e-30, "{third:?}");
        let over = Exact::of(&(big(1e308) * big(4.0)));
        assert_eq!((over.near, over.rest), (f64::INFINITY, 1e308 * 2f64.powi(-999) * 2f64.powi(-999)));
        let far = Exact::of(&(big(1e308) * big(1e308) * big(1e200)));
        assert!(far.near.is_infinite() && far.rest.is_normal());
        let under = Exact::of(&(big(5e-324) * big(0.75)));
        assert_eq!((under.near, under.rest), (5e-324, -2f64.powi(-1076 + 200)));
        let none = Exact::of(&<Ieee<Big> as Number>::new(f64::INFINITY));
        assert_eq!((none.near, none.rest), (f64::INFINITY, 0.0));
        assert_eq!(Exact::of(&<Ieee<Dd> as Number>::new(2.5)), Exact::rounded(2.5));
    }
}

//! A reference value with more digits, and more exponents, than f64 has.

use crate::number::Number;

/// A value as the nearest f64 and what that leaves off.
///
/// The rest is in units that keep it: of 2²⁰⁰⁰ where `near` is infinite and the value is not, and the rest then is the
/// whole value; of 2⁻²⁰⁰ where |near| < 2⁻⁷⁰⁰; else of 1. It is 0 for infinities and NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact {
    /// The nearest f64.
    pub near: f64,
    /// value − near, or the value itself where `near` is infinite.
    pub rest: f64,
}

/// The unit of the rest of an overflown value is 2 to this power, which no product of a step comes near,
pub(crate) const ABOVE: i32 = 2000;
/// and that of a value below 2⁻⁷⁰⁰ to this one.
pub(crate) const BELOW: i32 = -200;
/// 2⁻⁷⁰⁰.
pub(crate) const SMALL: f64 = f64::from_bits((1023 - 700) << 52);

impl Exact {
    /// A number of any kind.
    pub fn of<N: Number>(v: &N) -> Self {
        let near = v.get();
        let rest = if !near.is_finite() {
            // Of what is infinite itself, this is infinite again.
            let half = N::new(2f64.powi(-ABOVE / 2));
            let down = (v.clone() * half.clone() * half).get();
            if down.is_finite() { down } else { 0.0 }
        } else {
            let rest = v.clone() - N::new(near);
            if near.abs() < SMALL { (rest * N::new(2f64.powi(-BELOW))).get() } else { rest.get() }
        };
        Self { near, rest }
    }

    /// What f64 holds.
    #[must_use]
    pub fn rounded(near: f64) -> Self {
        Self { near, rest: 0.0 }
    }
}

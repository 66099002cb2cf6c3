//! The distance of a value from its reference, in units of u · scale.

use super::ext::Ext;
use crate::case::Tensor;
use crate::exact::{ABOVE, BELOW, SMALL};
use bn_core::Element;
use bn_core::num::wide::{exponent, ldexp};

/// What the error measure needs to know of a number format.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// u, the unit roundoff.
    pub roundoff: f64,
    /// The least normal number.
    pub min_normal: f64,
    /// The largest number.
    pub max: f64,
}

impl Format {
    /// The format of a tensor of type `T`, or of its parameters and statistics.
    #[must_use]
    pub fn of<T: Element>(tensor: Tensor) -> Self {
        let name = match tensor {
            tensor if tensor.is_whole() => T::NAME,
            _ => T::Compute::NAME,
        };
        let (bits, min, max) = match name {
            "f64" => (53, f64::MIN_POSITIVE, f64::MAX),
            "f32" => (24, f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
            "bf16" => (8, f64::from(f32::MIN_POSITIVE), 2f64.powi(127) * (2.0 - 2f64.powi(-7))),
            "f16" => (11, 2f64.powi(-14), 65504.0),
            other => unreachable!("no element type is called {other}"),
        };
        Self { roundoff: 2f64.powi(-bits), min_normal: min, max }
    }
}

/// u · scale of a feature of a tensor.
pub(super) struct Unit {
    unit: Ext,
    /// The same as an f64, where it and what is divided by it have room there.
    plain: Option<f64>,
    format: Format,
    /// Half an ulp of the largest number: what is that far above it rounds to ∞.
    half_ulp: Ext,
}

impl Unit {
    /// A scale is never less than the least normal number, so that subnormals are held to rounding and no more.
    pub(super) fn new(scale: Ext, format: Format) -> Self {
        let unit = Ext::new(format.roundoff) * scale.max(Ext::new(format.min_normal));
        let plain = Some(unit.to_f64()).filter(|unit| (1e-200..1e200).contains(unit));
        let half_ulp = Ext::new(ldexp(format.roundoff, exponent(format.max)));
        Self { unit, plain, format, half_ulp }
    }

    /// The error of `got` where the reference is `near` and, if that is known, what `near` leaves off.
    pub(super) fn error(&self, got: f64, near: f64, rest: Option<f64>) -> f64 {
        let room = |v: f64| v.abs() < 1e200 && v.abs() < 0.5 * self.format.max;
        if let (Some(unit), true) = (self.plain, room(near) && room(got))
            && (rest.is_none() || near.abs() > 1e-200)
        {
            return ((got - near) - rest.unwrap_or(0.0)).abs() / unit;
        }
        self.careful(got, near, rest)
    }

    /// As [`Self::error`], near the ends of the range and beyond.
    fn careful(&self, got: f64, near: f64, rest: Option<f64>) -> f64 {
        let known = rest.unwrap_or(0.0);
        if got.is_nan() || near.is_nan() {
            return if got.is_nan() && near.is_nan() { 0.0 } else { f64::INFINITY };
        }
        if near.is_infinite() && known == 0.0 {
            // An f64 reference that is rounded may have been any number from half an ulp above the largest one.
            let rounded = rest.is_none() && self.format.max == f64::MAX;
            return match got.is_infinite() {
                true if got == near => 0.0,
                false if rounded && got.signum() == near.signum() => {
                    let short = Ext::new(self.format.max) - Ext::new(got.abs()) + self.half_ulp;
                    self.units(short)
                }
                _ => f64::INFINITY,
            };
        }
        // How much is missing from the value to what rounds to ∞, on the side of `got`.
        let side = got.signum();
        let short = gap(near * side, known * side, self.format.max) + self.half_ulp;
        if got.is_infinite() {
            return self.units(short.max(Ext::ZERO));
        }
        if short <= Ext::ZERO && got.abs() == self.format.max {
            return self.units(short);
        }
        self.units(gap(near, known, got))
    }

    fn units(&self, gap: Ext) -> f64 {
        (gap.abs() / self.unit).to_f64()
    }
}

/// A reference to 53 bits, whatever its exponent.
pub(super) fn value(near: f64, rest: f64) -> Ext {
    if near.is_infinite() && rest != 0.0 { Ext::new(rest) * Ext::power_of_two(ABOVE) } else { Ext::new(near) }
}

/// got − reference, for a finite `got` and a finite reference.
fn gap(near: f64, rest: f64, got: f64) -> Ext {
    let got = Ext::new(got);
    if near.is_infinite() {
        return got - Ext::new(rest) * Ext::power_of_two(ABOVE);
    }
    let unit = if near.abs() < SMALL { BELOW } else { 0 };
    (got - Ext::new(near)) - Ext::new(rest) * Ext::power_of_two(unit)
}

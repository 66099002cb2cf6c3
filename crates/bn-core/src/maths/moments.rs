//! The moments of one feature: mean and variance as values that merge.
//!
//! ```text
//! Δ = μ₂ − μ₁    w = n₂/(n₁+n₂)    μ = μ₁ + w·Δ    σ² = (1−w)·σ₁² + w·σ₂² + w·(1−w)·Δ²
//! ```
//!
//! T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
//! (1979), divided by n. No term is negative, and Δ is taken between means that are pilot + offset: nothing cancels that the means
//! do not hold. All is computed in double-double, whatever the type.

use super::coef::Stats;
use super::frame::{Frame, double, wide};
use crate::num::wide::{exponent, ldexp};
use crate::num::{Dd, Real, Wide};

/// Mean and biased variance of one feature: μ = k + δ·2ᵘ and σ²·4ᵘ.
///
/// u is 0 but for features of f64 that leave the range in which squares are right. k is a value of the tensor's type, unscaled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    pub(crate) k: f64,
    pub(crate) delta: Dd,
    pub(crate) var: Dd,
    pub(crate) unit: i32,
}

impl PartialEq for Moments {
    /// Bit by bit, so that a NaN is itself.
    fn eq(&self, other: &Self) -> bool {
        self.numbers().map(f64::to_bits) == other.numbers().map(f64::to_bits) && self.unit == other.unit
    }
}

impl Moments {
    fn numbers(&self) -> [f64; 5] {
        let ((delta, rest), (var, left)) = (self.delta.parts(), self.var.parts());
        [self.k, delta, rest, var, left]
    }

    /// Its numbers as words.
    pub(crate) fn words(&self) -> [u64; 6] {
        let [k, delta, rest, var, left] = self.numbers().map(f64::to_bits);
        [k, delta, rest, var, left, u64::from(self.unit.cast_unsigned())]
    }

    /// The other way.
    pub(crate) fn of_words(&[k, delta, rest, var, left, unit]: &[u64; 6]) -> Self {
        let [k, delta, rest, var, left] = [k, delta, rest, var, left].map(f64::from_bits);
        // A unit has no more than eleven bits.
        let unit = (unit as u32).cast_signed().clamp(-9999, 9999);
        Self { k, delta: Dd::from_parts(delta, rest), var: Dd::from_parts(var, left), unit }
    }

    /// Of a mean and a variance in f64.
    pub(crate) fn given<R: Real>(mean: f64, var: f64) -> Self {
        let k = R::from_f64(mean).to_f64();
        if !k.is_finite() {
            return Self::not_finite(k);
        }
        let delta = Dd::from_f64(mean) - Dd::from_f64(k);
        Self { k, delta, var: Dd::from_f64(var), unit: 0 }.in_range::<R>()
    }

    /// Of statistics that fit their type.
    pub(crate) fn of<R: Real>(stats: &Stats<R>) -> Self {
        let k = stats.k.to_f64();
        if !k.is_finite() {
            return Self::not_finite(k);
        }
        Self { k, delta: double(stats.delta), var: double(stats.var), unit: 0 }.in_range::<R>()
    }

    /// Of statistics of x in units of 2ᵘ, taken without eps.
    pub(crate) fn scaled<R: Real>(stats: &Stats<f64>, unit: i32) -> Self {
        let k = R::from_f64(ldexp(stats.k, unit)).to_f64();
        let delta = Dd::from_f64(stats.k - ldexp(k, -unit)) + stats.delta;
        Self { k, delta, var: stats.var, unit }
    }

    /// Of values that are not finite: `k` is their class.
    pub(crate) fn not_finite(k: f64) -> Self {
        let nan = Dd::from_f64(f64::NAN);
        Self { k, delta: nan, var: nan, unit: 0 }
    }

    /// Whether sums in the type itself give these: squares neither over- nor underflow.
    pub(crate) fn fit<R: Real>(k: f64, var: f64) -> bool {
        R::sums_are_safe() | (R::fits(k) & R::sum_fits(var) & (var < f64::MAX))
    }

    /// The same in a unit in which squares are right.
    fn in_range<R: Real>(self) -> Self {
        let var = self.var.to_f64();
        let usable = self.k.is_finite() & var.is_finite();
        if self.unit == 0 && (!usable || Self::fit::<R>(self.k, var)) {
            self
        } else {
            self.in_unit(self.size().unwrap_or(0))
        }
    }

    fn in_unit(self, unit: i32) -> Self {
        let shift = self.unit - unit;
        Self { delta: self.delta.ldexp(shift), var: self.var.ldexp(2 * shift), unit, ..self }
    }

    /// The exponent of the larger of |k| and σ; 0 where both are nothing.
    fn size(&self) -> Option<i32> {
        let of = |v: f64| (v != 0.0 && v.is_finite()).then(|| exponent(v));
        let spread = of(self.var.to_f64()).map(|e| e.div_euclid(2) + self.unit);
        of(self.k).max(spread)
    }

    /// Of the values of both, of which there are so many or which weigh so much: finite numbers from 0 on.
    pub(crate) fn merged<R: Real>(self, n: f64, other: Self, m: f64) -> Self {
        if m == 0.0 {
            return self;
        }
        if n == 0.0 {
            return other;
        }
        if n < m {
            return other.merged::<R>(m, self, n);
        }
        if !(self.k.is_finite() && other.k.is_finite()) {
            // Beside what is not finite no other value counts.
            let class = |k: f64| if k.is_finite() { 0.0 } else { k };
            return Self::not_finite(class(self.k) + class(other.k));
        }
        if self.unit == 0 && other.unit == 0 {
            let merged = self.added::<R>(n, &other, m);
            if Self::fit::<R>(merged.k, merged.var.to_f64()) {
                return merged;
            }
        }
        let unit = self.size().max(other.size()).unwrap_or(0);
        let merged = self.in_unit(unit).added::<R>(n, &other.in_unit(unit), m);
        let plain = merged.in_unit(0);
        if Self::fit::<R>(plain.k, plain.var.to_f64()) { plain } else { merged }
    }

    /// As [`merged`](Self::merged), of two in the same unit, the first of which weighs no less.
    fn added<R: Real>(self, n: f64, other: &Self, m: f64) -> Self {
        let unit = self.unit;
        let near = |k: f64| Dd::from_f64(ldexp(k, -unit));
        let apart = (near(other.k) - near(self.k)) + (other.delta - self.delta);
        let all = Dd::from_f64(n) + Dd::from_f64(m);
        let (own, weight) = (Dd::from_f64(n) / all, Dd::from_f64(m) / all);
        let mean = near(self.k) + (self.delta + apart * weight);
        let k = R::from_f64(ldexp(mean.to_f64(), unit)).to_f64();
        let delta = (near(self.k) - near(k)) + (self.delta + apart * weight);
        let var = (self.var * own + other.var * weight) + (apart * weight) * (apart * own);
        Self { k, delta, var, unit }
    }

    /// As the maps take them.
    pub(crate) fn stats<R: Real>(&self, eps: f64) -> Stats<R> {
        if self.unit == 0 {
            let k = R::from_f64(self.k);
            return Stats::of_variance(k, wide(self.delta), wide(self.var), eps);
        }
        self.framed::<R>(eps).1
    }

    /// As hard features take them, x in units of 2ᵘ.
    pub(crate) fn framed<R: Real>(&self, eps: f64) -> (Frame, Stats<R>) {
        let k = ldexp(self.k, -self.unit);
        let stats = Stats { k, delta: self.delta, var: self.var, invstd: Dd::default() };
        Frame::of_batch(self.unit, &stats, eps)
    }

    /// μ, rounded to f64.
    pub(crate) fn mean(&self) -> f64 {
        if self.k.is_finite() { self.k + ldexp(self.delta.to_f64(), self.unit) } else { self.k }
    }

    /// σ², rounded to f64.
    pub(crate) fn var(&self) -> f64 {
        ldexp(self.var.to_f64(), 2 * self.unit)
    }

    /// The mean and the variance, each rounded to the type once.
    pub(crate) fn rounded<R: Real>(&self, factor: Dd) -> [R; 2] {
        let var = (self.var * factor).ldexp(2 * self.unit);
        [R::from_f64(self.k), R::from_f64(var.to_f64())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> (Moments, f64) {
        let one = values.iter().map(|v| (Moments::given::<f64>(*v, 0.0), 1.0));
        one.fold((Moments::default(), 0.0), |(all, n), (own, m)| (all.merged::<f64>(n, own, m), n + m))
    }

    #[test]
    fn the_order_of_merging_does_not_matter_beyond_the_last_digits() {
        let values: Vec<f64> = (0..50).map(|i| 1e12 + f64::from(i * i % 17)).collect();
        let (forth, _) = of(&values);
        let (back, _) = of(&values.iter().rev().copied().collect::<Vec<_>>());
        let (head, tail) = (of(&values[..7]), of(&values[7..]));
        let halves = tail.0.merged::<f64>(tail.1, head.0, head.1);
        for other in [back, halves] {
            assert_eq!(other.k, forth.k);
            assert!((other.delta - forth.delta).to_f64().abs() < 1e-17);
            assert!(((other.var - forth.var).to_f64() / forth.var.to_f64()).abs() < 1e-27);
        }
    }

    #[test]
    fn squares_that_leave_f64_have_a_unit() {
        for scale in [1e300, 1e-200, 5e-324, 1e-310] {
            // Zeros say nothing of a size.
            let (halved, _) = of(&[0.0, 0.0, scale, scale]);
            assert!(halved.unit != 0 && halved.mean() == 0.5 * scale, "{scale:e}: {halved:?}");
            let (all, _) = of(&[scale, 3.0 * scale]);
            assert!(all.unit != 0 && all.mean() == 2.0 * scale, "{scale:e}: {all:?}");
            let spread = all.var.ldexp(2 * (all.unit - exponent(scale))).to_f64().sqrt();
            let want = ldexp(scale, -exponent(scale));
            assert!((spread - want).abs() < 1e-14, "{scale:e}: {spread}");
        }
        // A constant has no variance that would say how large squares are; what has one needs no unit.
        assert_eq!((of(&[5.0, 5.0]).0.unit, of(&[5.0, 5.0, 7.0]).0.unit), (2, 0));
    }

    #[test]
    fn nothing_weighs_nothing_and_what_is_not_finite_everything() {
        let nan = Moments::given::<f32>(f64::NAN, 1.0);
        let one = Moments::given::<f32>(1.0, 2.0);
        assert_eq!(one.merged::<f32>(1.0, nan, 0.0), one);
        assert_eq!(nan.merged::<f32>(0.0, one, 1.0), one);
        assert!(one.merged::<f32>(1e9, nan, 1e-9).mean().is_nan());
        let inf = Moments::given::<f32>(1e39, 1.0);
        assert_eq!(one.merged::<f32>(1.0, inf, 1.0).mean(), f64::INFINITY);
        assert!(inf.var().is_nan());
    }
}

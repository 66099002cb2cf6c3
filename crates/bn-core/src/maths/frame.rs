//! One hard feature in numbers near 1: its data in units of powers of two, its coefficients from double-double.
//!
//! f32 data (and half) need no units of their own, since f64 holds all that can become of them; theirs are 1. The map then
//! runs in f64 and its result is scaled back and rounded once. x − k is taken before it, exactly where that matters, so
//! that δ is the map's own k.

use super::coef::Stats;
use crate::num::wide::{exponent, ldexp};
use crate::num::{Dd, Real, Wide};

/// The least exponent of a beside β. What is smaller is nothing beside it, but 0 would make NaN of an infinite x.
pub(super) const LEAST: i32 = -1000;
/// The exponent of an infinite weight: what is not 0 overflows.
pub(super) const INFINITE: i32 = 5000;
/// The largest exponent that f64 holds as a factor of whatever becomes of f32. There is no f32 that it leaves finite.
const UNSCALED: i32 = 800;

/// A feature's normalization: x̂ = (x·2⁻ᵘ − k − δ) · i · 2ᵖ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    /// u: x is taken in units of 2ᵘ.
    pub(crate) unit: i32,
    /// k, in this unit as δ.
    pub(crate) k: f64,
    pub(crate) delta: Dd,
    /// Whether |δ| is more than a quarter of σ. Then x − k is exact, and δ is taken from it; else b and d take δ along, since
    /// x − k may be rounded and is not to be rounded again.
    pub(super) apart: bool,
    /// i, the mantissa of invstd.
    pub(super) invstd: Dd,
    /// p.
    pub(super) power: i32,
}

/// The coefficients of a map in f64, of x·2⁻ᵘ − k and of dy·2⁻ᵛ: y·2⁻ᵒ or dx·2⁻ᵒ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coef {
    /// What x − k loses yet: 0, or δ rounded to f64. What that leaves of δ stands in b and d.
    pub(crate) delta: f64,
    /// a, then b or c, d and m, as those of the ordinary maps.
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) c: f64,
    pub(crate) d: f64,
    pub(crate) m: f64,
    /// Of the double backward: the mean of v. Its b is the factor of dy − m.
    pub(crate) l: f64,
    /// o.
    pub(crate) out: i32,
}

impl Coef {
    /// The same for results as they are, where f64 holds all that these become.
    pub(crate) fn unscaled(self) -> Self {
        let [a, b, c, d] = [self.a, self.b, self.c, self.d].map(|v| ldexp(v, self.out.min(UNSCALED)));
        Self { a, b, c, d, out: 0, ..self }
    }
}

/// `v` as mantissa and exponent; what is 0 or not finite keeps itself.
pub(crate) fn mantissa(v: Dd) -> (Dd, i32) {
    let leading = v.to_f64();
    let e = if leading == 0.0 || !leading.is_finite() { 0 } else { exponent(leading) };
    (v.ldexp(-e), e)
}

/// Whether |δ| is more than a quarter of σ, without squares that would leave the range.
fn is_apart(delta: f64, var: f64) -> bool {
    4.0 * delta.abs() > var.sqrt()
}

/// A number of a wide type as double-double.
pub(crate) fn double<W: Wide>(v: W) -> Dd {
    let (hi, lo) = v.parts();
    Dd::from_parts(hi, lo)
}

/// The other way.
pub(crate) fn wide<W: Wide>(v: Dd) -> W {
    let (hi, lo) = v.parts();
    W::from_parts(hi, lo)
}

/// γ·d as mantissa and exponent; nothing where either is 0.
fn shift(weight: f64, d: Dd) -> Option<(Dd, i32)> {
    let ((gamma, e), (d, own)) = (mantissa(Dd::from_f64(weight)), mantissa(d));
    let product = gamma * d;
    let up =
        if product.to_f64() != 0.0 && product.to_f64().is_finite() { exponent(product.to_f64()) } else { 0 };
    (gamma.to_f64() != 0.0 && d.to_f64() != 0.0).then(|| (product.ldexp(-up), e + own + up))
}

impl Frame {
    /// Of x in units of 2^`unit` as it is.
    pub(crate) fn around_0(unit: i32) -> Self {
        Self { unit, ..Self::default() }
    }

    /// From known statistics, with x in units of 2^`unit`.
    pub(crate) fn given<R: Real>(stats: &Stats<R>, unit: i32) -> Self {
        let (invstd, power) = mantissa(double(stats.invstd));
        let (k, delta) = (ldexp(stats.k.to_f64(), -unit), double(stats.delta).ldexp(-unit));
        let apart = is_apart(stats.delta.to_f64(), stats.var.to_f64());
        Self { unit, k, delta, apart, invstd, power: power + unit }
    }

    /// From a batch's statistics that were taken in units of 2^`unit` without eps, and the statistics themselves.
    pub(crate) fn of_batch<R: Real>(unit: i32, stats: &Stats<f64>, eps: f64) -> (Self, Stats<R>) {
        let k = R::from_f64(ldexp(stats.k, unit));
        let scaled = ldexp(k.to_f64(), -unit);
        let delta = Dd::from_f64(stats.k - scaled) + stats.delta;
        // Each of σ and √eps may be nothing in the other's units.
        let spread = stats.var.to_f64();
        let root = exponent(eps).div_euclid(2);
        let root = if spread > 0.0 { root.max(exponent(spread).div_euclid(2) + unit) } else { root };
        let (var, eps) = (stats.var.ldexp(2 * (unit - root)), ldexp(eps, -2 * root));
        let invstd = (var + Dd::from_f64(eps)).recip_sqrt();
        let kept = Stats {
            k,
            delta: wide(delta.ldexp(unit)),
            var: wide(stats.var.ldexp(2 * unit)),
            invstd: wide(invstd.ldexp(-root)),
        };
        let (invstd, power) = mantissa(invstd);
        let apart = is_apart(delta.to_f64(), spread);
        (Self { unit, k: scaled, delta, apart, invstd, power: power + unit - root }, kept)
    }

    /// δ in f64.
    pub(crate) fn delta(&self) -> f64 {
        self.delta.to_f64()
    }

    /// δ as what is taken from x − k and what is left of it, for b or d: nothing beside an infinite `factor`.
    pub(super) fn split(&self, factor: Dd) -> (f64, Dd) {
        let (near, rest) = self.delta.parts();
        match factor.to_f64().is_finite() {
            false => (near, Dd::default()),
            true if self.apart => (near, factor * Dd::from_f64(rest)),
            true => (0.0, factor * self.delta),
        }
    }

    /// Of y = (x−k−δ)·a + b, where x−k is at most `far` in this unit. Beside γ·x̂ and β results are near 1, whichever is larger.
    pub(crate) fn affine(&self, far: f64, weight: f64, bias: f64) -> Coef {
        self.affine_beside(far, weight, bias, None)
    }

    /// As [`affine`](Self::affine), of x̂·r + d in place of x̂.
    pub(crate) fn affine_moved(&self, far: f64, weight: f64, bias: f64, [r, d]: [Dd; 2]) -> Coef {
        let (r, up) = mantissa(r);
        let scaled = Self { invstd: self.invstd * r, power: self.power + up, ..*self };
        // The terms of an infinite weight may have other signs than their sum.
        let infinite = weight.is_infinite() && d.to_f64() != 0.0;
        let (weight, e) = if infinite { (weight.signum(), INFINITE) } else { (weight, 0) };
        let scaled = Self { power: scaled.power + e, ..scaled };
        let shift = shift(weight, d).map(|(v, own)| (v, own + e));
        scaled.affine_beside(far, weight, bias, shift)
    }

    /// Of y = (x−k−δ)·a + (b + `shift`), which has an exponent.
    fn affine_beside(&self, far: f64, weight: f64, bias: f64, shift: Option<(Dd, i32)>) -> Coef {
        let (gamma, e) = mantissa(Dd::from_f64(weight));
        let term = (weight != 0.0 && far > 0.0).then(|| e + self.power + exponent(far));
        let beside = (bias != 0.0 && bias.is_finite()).then(|| exponent(bias));
        let out = term.max(beside).max(shift.map(|(_, e)| e)).unwrap_or(0);
        let a = (gamma * self.invstd).ldexp((e + self.power - out).clamp(LEAST, -LEAST));
        let (delta, moved) = self.split(a);
        let bias = Dd::from_f64(ldexp(bias, -out));
        let bias = shift.map_or(bias, |(v, e)| bias + v.ldexp(e - out));
        let b = (bias - moved).to_f64();
        Coef { delta, a: a.to_f64(), b, out, ..Coef::default() }
    }

    /// Of dx = ((dy−m)·a + (x−k−δ)·c) + d, from Σdy and Σdy·x̂ over n values, dy in units of 2^`unit`. `r` is 1, or that of a
    /// renormalization.
    pub(crate) fn through(
        &self,
        (weight, r): (f64, Dd),
        n: usize,
        [dbias, dweight]: [Dd; 2],
        unit: i32,
    ) -> Coef {
        let (r, up) = mantissa(r);
        // The terms of an infinite weight may have other signs than their sum.
        let (weight, e) = if weight.is_infinite() { (weight.signum(), INFINITE) } else { (weight, 0) };
        let (gamma, own) = mantissa(Dd::from_f64(weight));
        let (mean, along) = (dbias.over(n as f64), dweight.over(n as f64));
        let a = gamma * (self.invstd * r);
        let m = mean.to_f64();
        let c = -(a * (self.invstd * along)).ldexp(self.power);
        let (delta, moved) = self.split(c);
        let left = if m.is_finite() { a * (mean - Dd::from_f64(m)) } else { Dd::default() };
        let out = e + own + up + self.power - self.unit + unit;
        let d = (-left - moved).to_f64();
        Coef { delta, a: a.to_f64(), c: c.to_f64(), d, m, out, ..Coef::default() }
    }

    /// Of dx = dy·a, dy in units of 2^`unit`.
    pub(crate) fn constant(&self, weight: f64, unit: i32) -> Coef {
        let (gamma, e) = mantissa(Dd::from_f64(weight));
        let out = e + self.power - self.unit + unit;
        Coef { a: (gamma * self.invstd).to_f64(), out, ..Coef::default() }
    }

    /// Σdy·x̂ in units of 2ᵛ and v, from Σdy in units of 2ᵛ and Σdy·(x−`pilot`), with the exponents of their units.
    pub(crate) fn dweight_around(&self, pilot: f64, [first, second]: [(Dd, i32); 2]) -> (Dd, i32) {
        let of = |(v, e): (Dd, i32)| (v.to_f64() != 0.0).then_some(e);
        let unit = of(first).max(of(second).map(|e| e - self.unit)).unwrap_or(0);
        let sums = [first.0.ldexp(first.1 - unit), second.0.ldexp(second.1 - self.unit - unit)];
        let shift = Dd::from_f64(self.k) - Dd::from_f64(ldexp(pilot, -self.unit));
        let around = Self { delta: shift + self.delta, power: 0, ..*self };
        (around.dweight(sums, 0), unit + self.power)
    }

    /// invstd, as mantissa and exponent.
    pub(crate) fn invstd(&self) -> (Dd, i32) {
        (self.invstd, self.power - self.unit)
    }

    /// Σdy·x̂ as a number and an exponent, from Σdy and Σdy·(x−k) of x in this unit.
    pub(crate) fn dweight_apart(&self, sums: [Dd; 2]) -> (Dd, i32) {
        (Self { power: 0, ..*self }.dweight(sums, 0), self.power)
    }

    /// Σdy·x̂·2ᵉ, from Σdy and Σdy·(x−k) of x in this unit.
    pub(crate) fn dweight(&self, [first, second]: [Dd; 2], e: i32) -> Dd {
        let removed = if self.delta.to_f64() == 0.0 { Dd::default() } else { first * self.delta };
        ((second - removed) * self.invstd).ldexp(self.power + e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_without_spread_has_eps_alone_in_any_unit() {
        for (value, eps) in [(1e308, 1e-5), (1e-300, 1e-5), (3.0, 5e-324), (1e-9, 1e300)] {
            let unit = exponent(value);
            let scaled = Stats {
                k: ldexp(value, -unit),
                delta: Dd::default(),
                var: Dd::default(),
                invstd: Dd::default(),
            };
            let (frame, kept) = Frame::of_batch::<f64>(unit, &scaled, eps);
            assert_eq!((kept.k, kept.delta), (value, Dd::default()));
            let want = 1.0 / eps.sqrt();
            assert!((kept.invstd.to_f64() / want - 1.0).abs() < 1e-15, "{value} {eps}");
            let coef = frame.affine(0.0, 2.0, 0.5);
            assert_eq!(ldexp(coef.b, coef.out), 0.5);
        }
    }

    #[test]
    fn beta_and_gamma_of_any_size_stand_beside_each_other() {
        let stats = Stats::from_running(0.0, 1.0, 1e-5);
        let frame = Frame::given::<f64>(&stats, 0);
        for (weight, bias) in [(1e300, 1e-300), (1e-300, 1e300), (0.0, 3.0), (3.0, 0.0), (0.0, 0.0)] {
            let Coef { a, b, out, .. } = frame.affine(1.0, weight, bias);
            let invstd = 1.0 / (1.0f64 + 1e-5).sqrt();
            let y = ldexp(a + b, out);
            assert!((y - (weight * invstd + bias)).abs() <= 1e-15 * y.abs(), "{weight} {bias}: {y}");
        }
    }
}

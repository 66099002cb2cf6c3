//! Coefficient maths of one feature.
//!
//! Everything is computed in the wide type (f64 for f32 data, double-double for f64 data) and rounded once.
//! The mean is a pair, k + δ: k a value of the data's own type, δ the rest in the wide type.
//!
//! A feature is hard where the maps in the data's own type would not keep the limits of docs/numerics.md, whose premises
//! R1 to R6 and O are asked here: a coefficient that loses digits to underflow, one that could make a term overflow, or a
//! mean that its rounding moved by more than a quarter of σ.

use crate::num::{Real, Wide};

/// Statistics of one feature, of a batch or running ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats<T: Real> {
    /// The mean μ, rounded to the type.
    pub(crate) k: T,
    /// μ − k.
    pub(crate) delta: T::Wide,
    /// The biased variance σ².
    pub(crate) var: T::Wide,
    /// 1/√(σ² + eps).
    pub(crate) invstd: T::Wide,
}

impl<T: Real> Stats<T> {
    /// From Σ(x−k) and Σ(x−k)² over n values: δ₁ = Σ(x−k)/n, σ² = (Σ(x−k)² − Σ(x−k)·δ₁)/n.
    ///
    /// k is 0 where there is no `pilot` yet. The flag then says whether the sums must be taken again around the
    /// mean, because too much cancels in σ² (see [`Real::RECENTRE`]); if so, invstd is left out.
    #[inline(always)]
    pub(crate) fn from_sums(
        n: usize,
        pilot: Option<T>,
        first: T::Wide,
        second: T::Wide,
        eps: f64,
    ) -> (Self, bool) {
        let n = n as f64;
        let offset = first.over(n);
        let removed = first * offset;
        let m2 = second - removed;
        let recentre = pilot.is_none() && removed.to_f64() > T::RECENTRE * m2.to_f64();
        // Rounding can leave a constant feature below zero. A NaN stays.
        let var = if m2.to_f64() < 0.0 { T::Wide::default() } else { m2.over(n) };
        let k = pilot.unwrap_or_default();
        let mean = T::round(k.widen() + offset);
        let delta = (k.widen() - mean.widen()) + offset;
        let invstd = if recentre { T::Wide::default() } else { invstd::<T>(var, eps) };
        (Self { k: mean, delta, var, invstd }, recentre)
    }

    /// From running statistics, which are values of the type and so leave δ = 0.
    pub(crate) fn from_running(mean: T, var: T, eps: f64) -> Self {
        Self { k: mean, delta: T::Wide::default(), var: var.widen(), invstd: invstd::<T>(var.widen(), eps) }
    }

    /// From a mean k + δ and a variance.
    pub(crate) fn of_variance(k: T, delta: T::Wide, var: T::Wide, eps: f64) -> Self {
        Self { k, delta, var, invstd: invstd::<T>(var, eps) }
    }

    /// The coefficients of y = (x−k)·a + b, and whether the feature is hard; `from_batch` says that the statistics are those
    /// of the x that is mapped.
    #[inline(always)]
    pub(crate) fn affine(&self, from_batch: bool, weight: T, bias: T) -> AffineCoef<T> {
        self.affine_by(from_batch, weight, bias.widen(), true)
    }

    /// As [`affine`](Self::affine), with a bias that may have more digits than the type: then it is not `exact`.
    #[inline(always)]
    pub(super) fn affine_by(&self, from_batch: bool, weight: T, bias: T::Wide, exact: bool) -> AffineCoef<T> {
        let a = weight.widen() * self.invstd;
        let b = bias - a * self.delta;
        let sums = !from_batch | T::sum_fits(self.var.to_f64());
        // R3.
        let term = a.to_f64().powi(2) * self.var.to_f64();
        let size = term + bias.to_f64().powi(2);
        let exact = exact & (self.delta.to_f64() == 0.0);
        let normal = exact | (b.to_f64().abs() >= T::LOW) | is_beside::<T>(size);
        let fits = fits_factor::<T>(weight, a) & self.fits_mean() & sums & T::fits(b.to_f64()) & normal;
        let quick = !from_batch | (is_quick::<T>(self.var.to_f64()) & is_quick::<T>(term));
        let settled = from_batch & self.is_settled();
        AffineCoef { a: T::round(a), b: T::round(b), hard: !(fits & quick) & !settled }
    }

    /// The pilot of the backward's sums through batch statistics: 0, or k where Σdy·x would cancel too much (see [`Real::OFF_CENTRE`]).
    #[inline(always)]
    pub(crate) fn grad_pilot(&self) -> T {
        let (mean, var) = (self.k.to_f64(), self.var.to_f64());
        // Of numbers that have left the range nobody knows; k is never wrong.
        let lost = !T::sums_are_safe() & ((var < T::SUM_MIN) | (var > f64::MAX));
        if (mean * mean > T::OFF_CENTRE * var) | lost { self.k } else { T::default() }
    }

    /// The parameters' gradients, from Σdy and Σdy·(x−p), p a pilot.
    #[inline(always)]
    pub(crate) fn param_grads(&self, pilot: T, first: T::Wide, second: T::Wide) -> ParamGrads<T> {
        // Nothing is between two that are the same, be they infinite.
        let shift = if self.k == pilot { T::Wide::default() } else { self.k.widen() - pilot.widen() };
        let offset = shift + self.delta;
        // An infinite sum times no offset is nothing.
        let removed = if offset.to_f64() == 0.0 { T::Wide::default() } else { offset * first };
        ParamGrads { dweight: (second - removed) * self.invstd, dbias: first }
    }

    /// Whether x − k neither overflows nor leaves a δ that counts. False for NaN.
    #[inline(always)]
    fn fits_mean(&self) -> bool {
        let var = self.var.to_f64();
        T::fits(self.k.to_f64())
            & (var <= (T::HIGH * T::HIGH).min(f64::MAX))
            & (16.0 * self.delta.to_f64().powi(2) <= var)
    }

    /// Whether a batch is not finite: its statistics are NaN, and so is all that is mapped with them. In f64 they may be NaN of
    /// sums that overflowed.
    #[inline(always)]
    fn is_settled(&self) -> bool {
        T::sums_are_safe() & self.invstd.to_f64().is_nan()
    }

    /// Whether the backward is hard, which has these coefficients and came from these sums.
    #[inline(always)]
    fn is_hard(&self, n: f64, weight: T, wide: &WideGrad<T>, first: T::Wide, second: T::Wide) -> bool {
        // (c·σ)², which spares a root.
        let term = wide.c.to_f64().powi(2) * self.var.to_f64();
        let least = wide.m.to_f64().abs().max(wide.h.to_f64().abs());
        // Without short cuts, so that there is nothing to branch on.
        let sums = T::fits(first.to_f64()) & T::fits(second.to_f64());
        // Σdy·(x−k) may be small for its terms, or 0, though none of these is near underflow: they are about |m|·σ at least.
        let terms = wide.m.to_f64().powi(2) * self.var.to_f64();
        let products = (T::sum_fits(second.to_f64()) | T::sum_fits(terms)) & T::sum_fits(self.var.to_f64());
        let a = fits_factor::<T>(weight, wide.a);
        let flat = (weight == T::default()) | (wide.h.to_f64() == 0.0);
        // R5 and R4.
        let factors = T::sums_are_safe() | fits_factor::<T>(weight, wide.along);
        let c = flat | (fits_factor::<T>(weight, wide.c) & factors) | self.is_negligible(n, wide, least);
        let still = (weight == T::default()) | (least == 0.0);
        let large = still | (wide.a.to_f64().abs() * least >= T::LOW * GRADIENT) | is_beside::<T>(term);
        // R6. An m of f64 that looks exact may have lost its rest to underflow, and h all that it was.
        let exact = T::sums_are_safe() & (T::round(wide.m).widen() == wide.m);
        let m = exact | (least >= T::LOW);
        let rest = T::fits(wide.m.to_f64()) & T::fits(wide.d.to_f64());
        let terms = rest & (n * term <= (T::HIGH * T::HIGH).min(f64::MAX));
        let quick = is_quick::<T>(self.var.to_f64()) & is_quick::<T>(least * least);
        !(sums & products & a & c & large & m & terms & quick & self.fits_mean())
    }

    /// Whether what c loses to underflow is nothing beside the size of dy: with h = dγ/n, |m| and |h| are at most
    /// max |dy|, and |x−μ| at most √n/invstd. See [`Real::NEGLIGIBLE`].
    #[inline(always)]
    fn is_negligible(&self, n: f64, wide: &WideGrad<T>, least: f64) -> bool {
        let gradient = wide.a.to_f64() * least * self.invstd.to_f64();
        (wide.c.to_f64().abs() < T::LOW) & (n * T::NEGLIGIBLE <= gradient * gradient)
    }
}

/// A scale that is this many times the least normal number has room for roundings below it: the first where two or three lose
/// a digit, the second where the size of dy stands for that of its scale.
pub(super) const BESIDE: f64 = (1u32 << 11) as f64;
pub(super) const GRADIENT: f64 = (1u32 << 25) as f64;

/// Whether a part of the scale, whose square is given, is at least [`BESIDE`] times the least number of the range. Squares of f64
/// have no room for that.
#[inline(always)]
pub(super) fn is_beside<T: Real>(square: f64) -> bool {
    T::sums_are_safe() & (square >= (T::LOW * BESIDE) * (T::LOW * BESIDE))
}

/// Whether values of this mean square are 0, or too large for some of them to be subnormal. Those would not be wrong, but a
/// processor may take a hundred cycles for each product with them.
#[inline(always)]
pub(super) fn is_quick<T: Real>(square: f64) -> bool {
    !T::sums_are_safe() | (square == 0.0) | is_beside::<T>(square)
}

/// Whether a factor of a product, `weight` times something that is not 0, keeps its digits: a 0 that is none has lost them.
#[inline(always)]
pub(super) fn fits_factor<T: Real>(weight: T, factor: T::Wide) -> bool {
    let size = factor.to_f64().abs();
    (weight == T::default()) | ((size >= T::LOW) & (size <= T::HIGH))
}

/// The coefficients of y = (x−k)·a + b.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AffineCoef<T> {
    /// a = γ·invstd.
    pub(crate) a: T,
    /// b = β − a·δ.
    pub(crate) b: T,
    /// Whether the map leaves the type's arithmetic.
    pub(crate) hard: bool,
}

/// dγ = invstd·(Σdy·(x−p) − (μ−p)·Σdy) and dβ = Σdy, before they are rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParamGrads<T: Real> {
    /// dγ.
    pub(crate) dweight: T::Wide,
    /// dβ.
    pub(crate) dbias: T::Wide,
}

/// The coefficients of dx = ((dy−m)·a + (x−k)·c) + d.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GradCoef<T> {
    /// a = γ·invstd.
    pub(crate) a: T,
    /// c = −a·invstd·dγ/n.
    pub(crate) c: T,
    /// d = −a·(dβ/n − m) − c·δ.
    pub(crate) d: T,
    /// m = dβ/n.
    pub(crate) m: T,
    /// Whether the map leaves the type's arithmetic.
    pub(crate) hard: bool,
}

/// The same before they are rounded, h = dγ/n and invstd·h, which c is made of.
struct WideGrad<T: Real> {
    a: T::Wide,
    c: T::Wide,
    d: T::Wide,
    m: T::Wide,
    h: T::Wide,
    along: T::Wide,
}

impl<T: Real> GradCoef<T> {
    /// Through the batch's statistics, a being γ·invstd with all its digits: dx = a·((dy − dβ/n) − x̂·dγ/n) with x̂ = ((x−k) − δ)·invstd, sorted by dy−m, x−k and 1.
    #[inline(always)]
    pub(crate) fn from_batch(
        stats: &Stats<T>,
        weight: T,
        a: T::Wide,
        n: usize,
        grads: &ParamGrads<T>,
        (first, second): (T::Wide, T::Wide),
    ) -> Self {
        let n = n as f64;
        let (m, h) = (grads.dbias.over(n), grads.dweight.over(n));
        let along = stats.invstd * h;
        let c = -(a * along);
        let rounded = T::round(m);
        // Of what is infinite nothing is left.
        let finite = |v: f64, rest: T::Wide| if v.is_finite() { rest } else { T::Wide::default() };
        let left = finite(rounded.to_f64(), a * (m - rounded.widen()));
        let moved = finite(c.to_f64(), c * stats.delta);
        let d = -left - moved;
        let hard =
            stats.is_hard(n, weight, &WideGrad { a, c, d, m, h, along }, first, second) & !stats.is_settled();
        Self { a: T::round(a), c: T::round(c), d: T::round(d), m: rounded, hard }
    }

    /// Where the statistics are constants: dx = dy·a, whatever the sums.
    #[inline(always)]
    pub(crate) fn from_constants(stats: &Stats<T>, weight: T, (first, second): (T::Wide, T::Wide)) -> Self {
        let a = weight.widen() * stats.invstd;
        let sums = T::fits_sum(first.to_f64()) & T::fits_sum(second.to_f64());
        let products = T::sum_fits(second.to_f64());
        let hard = !(sums & products & fits_factor::<T>(weight, a));
        Self { a: T::round(a), c: T::default(), d: T::default(), m: T::default(), hard }
    }
}

#[inline(always)]
fn invstd<T: Real>(var: T::Wide, eps: f64) -> T::Wide {
    (var + T::Wide::from_f64(eps)).recip_sqrt()
}

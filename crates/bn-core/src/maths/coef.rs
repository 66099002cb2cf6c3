//! Coefficient maths of one feature.
//!
//! Everything is computed in the wide type (f64 for f32 data, double-double for f64 data) and rounded once.
//! The mean is a pair, k + δ: k a value of the data's own type, δ the rest in f64.

use crate::num::{Range, Real, Wide};

/// Statistics of one feature, of a batch or running ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats<T: Real> {
    /// The mean μ, rounded to the type.
    pub(crate) k: T,
    /// μ − k.
    pub(crate) delta: f64,
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
        let delta = ((k.widen() - mean.widen()) + offset).to_f64();
        let invstd = if recentre { T::Wide::default() } else { invstd::<T>(var, eps) };
        (Self { k: mean, delta, var, invstd }, recentre)
    }

    /// From running statistics, which are values of the type and so leave δ = 0.
    pub(crate) fn from_running(mean: T, var: T, eps: f64) -> Self {
        Self { k: mean, delta: 0.0, var: var.widen(), invstd: invstd::<T>(var.widen(), eps) }
    }

    /// a = γ·invstd and b = β − a·δ of the map y = (x−k)·a + b.
    #[inline(always)]
    pub(crate) fn affine(&self, weight: T, bias: T) -> (T, T) {
        let a = weight.widen() * self.invstd;
        (T::round(a), T::round(bias.widen() - a * T::Wide::from_f64(self.delta)))
    }

    /// The pilot of the backward's sums through batch statistics: 0, or k where Σdy·x would cancel too much (see [`Real::RECENTRE`]).
    #[inline(always)]
    pub(crate) fn grad_pilot(&self) -> T {
        let mean = self.k.to_f64();
        if mean * mean > T::RECENTRE * self.var.to_f64() { self.k } else { T::default() }
    }

    /// The parameters' gradients, from Σdy and Σdy·(x−p), p a pilot.
    #[inline(always)]
    pub(crate) fn param_grads(&self, pilot: T, first: T::Wide, second: T::Wide) -> ParamGrads<T> {
        let offset = (self.k.widen() - pilot.widen()) + T::Wide::from_f64(self.delta);
        ParamGrads { dweight: (second - offset * first) * self.invstd, dbias: first }
    }

    /// Whether the map y = (x−k)·a + b stays within the type: no coefficient close to its limits, and no
    /// spread that could make x − k overflow. False for NaN.
    #[inline(always)]
    pub(crate) fn fits(&self, range: Range, a: T, b: T) -> bool {
        range.holds(a.to_f64()) & self.fits_spread(range) & range.above(b.to_f64())
    }

    #[inline(always)]
    fn fits_spread(&self, range: Range) -> bool {
        range.above(self.k.to_f64()) & (self.var.to_f64() <= (range.high * range.high).min(f64::MAX))
    }

    /// Likewise for the gradients: the sums must not have over- or underflowed, and the terms of
    /// dx = (a·dy + c·(x−k)) + d must not overflow before they cancel.
    #[inline(always)]
    pub(crate) fn fits_grad(&self, range: Range, g: &GradCoef<T>, first: T::Wide, second: T::Wide) -> bool {
        // (c·σ)², which spares a root.
        let term = g.c.to_f64().powi(2) * self.var.to_f64();
        // Without short cuts, so that there is nothing to branch on.
        let sums = range.above(first.to_f64()) & range.above(second.to_f64());
        let products = T::sum_fits(second.to_f64()) & T::sum_fits(self.var.to_f64());
        let coefs = range.holds(g.a.to_f64()) & range.holds(g.c.to_f64()) & range.above(g.d.to_f64());
        sums & products & coefs & (term <= (range.high * range.high).min(f64::MAX)) & self.fits_spread(range)
    }
}

/// dγ = invstd·(Σdy·(x−p) − (μ−p)·Σdy) and dβ = Σdy, before they are rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParamGrads<T: Real> {
    /// dγ.
    pub(crate) dweight: T::Wide,
    /// dβ.
    pub(crate) dbias: T::Wide,
}

/// The coefficients of dx = (a·dy + c·(x−k)) + d.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GradCoef<T> {
    /// a = γ·invstd.
    pub(crate) a: T,
    /// c = −a·invstd·dγ/n.
    pub(crate) c: T,
    /// d = −a·dβ/n − c·δ.
    pub(crate) d: T,
}

impl<T: Real> GradCoef<T> {
    /// From dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ) with x̂ = ((x−k) − δ)·invstd, sorted by dy, x−k and 1.
    #[inline(always)]
    pub(crate) fn new(stats: &Stats<T>, weight: T, grads: &ParamGrads<T>, n: usize) -> Self {
        let n = n as f64;
        let a = weight.widen() * stats.invstd;
        let c = -(a * stats.invstd * grads.dweight).over(n);
        let d = -(a * grads.dbias).over(n) - c * T::Wide::from_f64(stats.delta);
        Self { a: T::round(a), c: T::round(c), d: T::round(d) }
    }
}

#[inline(always)]
fn invstd<T: Real>(var: T::Wide, eps: f64) -> T::Wide {
    (var + T::Wide::from_f64(eps)).recip_sqrt()
}

//! Batch renormalization: x̂·r + d takes the place of x̂.
//!
//! ```text
//! r = clip(σ/σᵣ, 1/RMAX, RMAX)    d = clip((μ−μᵣ)/σᵣ, −DMAX, DMAX)    σ = √(var + eps)    σᵣ = √(running_var + eps)
//! y  = (x−k)·a + b                a = γ·(r·invstd)    b = (β + γ·d) − a·δ
//! dγ = r·Σdy·x̂ + d·Σdy            dx as ever, with this a
//! ```
//!
//! S. Ioffe, "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models" (2017),
//! arXiv:1702.03275, algorithm 1. r and d are constants to the gradient.
//!
//! 1. r scales invstd and not γ: r·invstd is as far from the ends of the range as 1/σᵣ, be γ what it may.
//! 2. d goes into b and not into the mean: x−k, δ and what is asked of them stay those of the batch.

use super::coef::{AffineCoef, GradCoef, ParamGrads, Stats};
use super::features::grad_pilot;
use super::frame::{Frame, double, mantissa, wide};
use super::{Params, StatsRef, Totals};
use crate::num::wide::ldexp;
use crate::num::{Dd, Real, Wide};

/// r and d of a range of features, to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved<'a, R: Real> {
    pub(crate) r: &'a [R::Wide],
    pub(crate) d: &'a [R::Wide],
}

/// r and d of each feature, kept; none where nothing is renormalized.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MovedVec<R: Real> {
    pub(crate) r: Vec<R::Wide>,
    pub(crate) d: Vec<R::Wide>,
}

impl<R: Real> MovedVec<R> {
    pub(crate) fn resize(&mut self, features: usize) {
        self.r.resize(features, R::Wide::default());
        self.d.resize(features, R::Wide::default());
    }

    /// Those that are to be taken of a batch: between these limits, against these running statistics.
    pub(crate) fn taking<'a>(
        &'a mut self,
        limits: [f64; 2],
        running: [&'a [R]; 2],
        eps: f64,
    ) -> Taking<'a, R> {
        self.resize(running[0].len());
        Taking { limits, running, eps, r: &mut self.r, d: &mut self.d }
    }

    /// Those that are there.
    pub(crate) fn get(&self) -> Option<Moved<'_, R>> {
        (!self.r.is_empty()).then_some(Moved { r: &self.r, d: &self.d })
    }
}

impl<R: Real> Moved<'_, R> {
    pub(crate) fn split_at(self, f: usize) -> (Self, Self) {
        let ((r, r1), (d, d1)) = (self.r.split_at(f), self.d.split_at(f));
        (Self { r, d }, Self { r: r1, d: d1 })
    }

    /// r and d of feature `f`.
    pub(crate) fn get(&self, f: usize) -> [Dd; 2] {
        [double(self.r[f]), double(self.d[f])]
    }
}

/// Where r and d go, and what they follow from beside the batch.
#[derive(Debug)]
pub(crate) struct Taking<'a, R: Real> {
    /// RMAX and DMAX.
    pub(crate) limits: [f64; 2],
    /// The running mean and variance before the step.
    pub(crate) running: [&'a [R]; 2],
    pub(crate) eps: f64,
    pub(crate) r: &'a mut [R::Wide],
    pub(crate) d: &'a mut [R::Wide],
}

/// `v` within the limits; a NaN stays.
fn clip<W: Wide>(v: W, [low, high]: [W; 2]) -> W {
    if v.to_f64() > high.to_f64() {
        high
    } else if v.to_f64() < low.to_f64() {
        low
    } else {
        v
    }
}

impl<R: Real> Taking<'_, R> {
    pub(crate) fn split_at(self, f: usize) -> (Self, Self) {
        let Self { limits, running: [mean, var], eps, r, d } = self;
        let ((mean, mean1), (var, var1)) = (mean.split_at(f), var.split_at(f));
        let ((r, r1), (d, d1)) = (r.split_at_mut(f), d.split_at_mut(f));
        let tail = Self { limits, running: [mean1, var1], eps, r: r1, d: d1 };
        (Self { limits, running: [mean, var], eps, r, d }, tail)
    }

    pub(crate) fn read(&self) -> Moved<'_, R> {
        Moved { r: self.r, d: self.d }
    }

    fn running(&self, f: usize) -> Stats<R> {
        Stats::from_running(self.running[0][f], self.running[1][f], self.eps)
    }

    fn set(&mut self, f: usize, r: R::Wide, d: R::Wide) {
        let [r_max, d_max] = self.limits.map(R::Wide::from_f64);
        self.r[f] = clip(r, [R::Wide::from_f64(1.0) / r_max, r_max]);
        self.d[f] = clip(d, [-d_max, d_max]);
    }

    /// From the batch's statistics.
    pub(crate) fn take(&mut self, stats: StatsRef<'_, R>) {
        // Numbers of f64 may be too far apart for their difference.
        const NEAR: f64 = 1.0 / 16.0;
        let near = R::Wide::from_f64(NEAR);
        for f in 0..stats.k.len() {
            let (own, running) = (stats.get(f), self.running(f));
            let apart = own.k.widen() * near - running.k.widen() * near;
            let offset = if own.delta.to_f64().is_finite() { own.delta * near } else { R::Wide::default() };
            let d = (apart + offset) * (running.invstd / near);
            self.set(f, running.invstd / own.invstd, d);
        }
    }

    /// From the statistics of a hard feature of f64, of which the range of f64 may not hold all.
    pub(crate) fn take_framed(&mut self, f: usize, frame: &Frame) {
        let running = self.running(f);
        let (invstd, power) = mantissa(double(running.invstd));
        let (own, own_power) = frame.invstd();
        let near = ldexp(running.k.to_f64(), -frame.unit);
        let apart = (Dd::from_f64(frame.k) - Dd::from_f64(near)) + frame.delta;
        let (r, d) = ((invstd / own).ldexp(power - own_power), (apart * invstd).ldexp(power + frame.unit));
        self.set(f, wide(r), wide(d));
    }
}

/// The coefficients k, a and b of the forward's map, and which features are hard; the statistics are those of the batch.
pub(crate) fn affine<R: Real>(
    stats: StatsRef<'_, R>,
    params: Params<'_, R>,
    moved: Moved<'_, R>,
    [k, a, b]: [&mut [R]; 3],
    hard: &mut [bool],
) {
    for f in 0..stats.k.len() {
        let (weight, bias) = params.get(f);
        let (own, d) = (stats.get(f), moved.d[f]);
        // An infinite γ times no d is nothing.
        let shift = if d.to_f64() == 0.0 { d } else { weight.widen() * d };
        let scaled = Stats { invstd: own.invstd * moved.r[f], ..own };
        let coef = scaled.affine_by(true, weight, bias.widen() + shift, shift.to_f64() == 0.0);
        (k[f], AffineCoef { a: a[f], b: b[f], hard: hard[f] }) = (own.k, coef);
    }
}

/// As [`features::gradients`](super::features::gradients): `totals` become dβ and Σdy·x̂.
pub(crate) fn gradients<R: Real>(
    (n, through): (usize, bool),
    stats: StatsRef<'_, R>,
    params: Params<'_, R>,
    moved: Moved<'_, R>,
    totals: &mut [Totals<R>],
    [k, a, c, d, m]: [&mut [R]; 5],
    hard: &mut [bool],
) {
    for (f, totals) in totals.iter_mut().enumerate() {
        let (stats, weight, sums) = (stats.get(f), params.get(f).0, *totals);
        let grads = stats.param_grads(grad_pilot(true, &stats), sums.0, sums.1);
        let gain = weight.widen() * (stats.invstd * moved.r[f]);
        let coef = match through {
            true => GradCoef::from_batch(&stats, weight, gain, n, &grads, sums),
            false => GradCoef::from_constants(&stats, weight, sums),
        };
        let ParamGrads { dweight, dbias } = grads;
        *totals = (dbias, dweight);
        (k[f], a[f], c[f], d[f], m[f], hard[f]) = (stats.k, coef.a, coef.c, coef.d, coef.m, coef.hard);
    }
}

/// dγ from dβ and Σdy·x̂, rounded into `dweight` and with all its digits into `wide`, as far as these are wanted.
pub(crate) fn param_grads<R: Real>(
    moved: Moved<'_, R>,
    totals: &[Totals<R>],
    dweight: &mut [R],
    wide: &mut [Totals<R>],
) {
    for (f, &(dbias, along)) in totals.iter().enumerate() {
        let (r, d) = (moved.r[f], moved.d[f]);
        // No d counts beside an infinite sum either.
        let own = if d.to_f64() == 0.0 { r * along } else { r * along + d * dbias };
        if let Some(to) = dweight.get_mut(f) {
            *to = R::round(own);
        }
        if let Some(to) = wide.get_mut(f) {
            *to = (dbias, own);
        }
    }
}

/// dγ = r·Σdy·x̂ + d·Σdy, each sum and the result with the exponent of its unit.
pub(crate) fn weigh([r, d]: [Dd; 2], along: (Dd, i32), sum: (Dd, i32)) -> (Dd, i32) {
    let term = |factor: Dd, (v, e): (Dd, i32)| {
        let ((factor, own), (v, up)) = (mantissa(factor), mantissa(v));
        (factor * v, own + up + e)
    };
    let first = term(r, along);
    if d.to_f64() == 0.0 {
        return first;
    }
    let second = term(d, sum);
    let size = |(v, e): (Dd, i32)| (v.to_f64() != 0.0 && v.to_f64().is_finite()).then_some(e);
    let unit = size(first).max(size(second)).unwrap_or(0);
    (first.0.ldexp(first.1 - unit) + second.0.ldexp(second.1 - unit), unit)
}

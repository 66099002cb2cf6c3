//! The oracle: batch normalization in textbook form, one naive pass per formula, in numbers wider than f64.
//!
//! It is written once over [`Number`]: double-double, which has 106 bits; a big float of 160 bits where numbers leave
//! f64's exponents or lie closer together than double-double tells apart; either with infinities and NaN where
//! there are some.

use crate::exact::Exact;
use crate::number::{Big, Ieee, Number};
use bn_core::num::Dd;

/// One feature's values and parameters.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its n inputs.
    pub x: Vec<f64>,
    /// Its n output gradients.
    pub dy: Vec<f64>,
    /// γ and β.
    pub affine: (f64, f64),
    /// The running mean and variance before the step, where they are tracked.
    pub running: Option<(f64, f64)>,
    /// Whether the batch's statistics are used.
    pub from_batch: bool,
    /// Added to the variance.
    pub eps: f64,
    /// The weight of the new statistic, as a fraction: numerator and denominator.
    pub momentum: (f64, f64),
    /// Whether the running variance takes the biased one.
    pub biased: bool,
}

/// What the step gives for one feature.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The outputs.
    pub y: Vec<Exact>,
    /// The input gradients.
    pub dx: Vec<Exact>,
    /// dγ and dβ.
    pub dparams: (Exact, Exact),
    /// The mean and biased variance used.
    pub stats: (Exact, Exact),
    /// The running statistics after the step.
    pub running: Option<(Exact, Exact)>,
}

pub(crate) fn sum<N: Number>(terms: impl Iterator<Item = N>) -> N {
    terms.fold(N::new(0.0), |s, v| s + v)
}

/// The step for one feature: algorithm 1 of <https://arxiv.org/abs/1502.03167> and its gradient.
#[must_use]
pub fn step<N: Number>(f: &Feature) -> Expected {
    let n = N::new(f.x.len() as f64);
    let x: Vec<N> = f.x.iter().map(|&v| N::new(v)).collect();
    let dy: Vec<N> = f.dy.iter().map(|&v| N::new(v)).collect();
    let (weight, bias) = (N::new(f.affine.0), N::new(f.affine.1));

    let (mean, var) = match f.running {
        Some((mean, var)) if !f.from_batch => (N::new(mean), N::new(var)),
        _ => {
            let mean = sum(x.iter().cloned()) / n.clone();
            let square = |x: &N| (x.clone() - mean.clone()) * (x.clone() - mean.clone());
            let var = sum(x.iter().map(square)) / n.clone();
            (mean, var)
        }
    };
    let invstd = N::new(1.0) / (var.clone() + N::new(f.eps)).root();
    let xhat: Vec<N> = x.iter().map(|x| (x.clone() - mean.clone()) * invstd.clone()).collect();
    let y = xhat.iter().map(|xhat| Exact::of(&(weight.clone() * xhat.clone() + bias.clone()))).collect();

    let dbias = sum(dy.iter().cloned());
    let dweight = sum(dy.iter().zip(&xhat).map(|(dy, xhat)| dy.clone() * xhat.clone()));
    let a = weight * invstd;
    let dx = dy.iter().zip(&xhat).map(|(dy, xhat)| match f.from_batch {
        true => {
            let through = n.clone() * dy.clone() - dbias.clone() - xhat.clone() * dweight.clone();
            Exact::of(&(a.clone() / n.clone() * through))
        }
        false => Exact::of(&(a.clone() * dy.clone())),
    });
    let dx = dx.collect();

    let running = f.running.map(|(old_mean, old_var)| {
        let m = N::new(f.momentum.0) / N::new(f.momentum.1);
        let blend =
            |old: f64, new: N| Exact::of(&((N::new(1.0) - m.clone()) * N::new(old) + m.clone() * new));
        let tracked = match f.biased {
            true => var.clone(),
            false => var.clone() * n.clone() / (n.clone() - N::new(1.0)),
        };
        (blend(old_mean, mean.clone()), blend(old_var, tracked))
    });
    let [dweight, dbias, mean, var] = [dweight, dbias, mean, var].each_ref().map(Exact::of);
    Expected { y, dx, dparams: (dweight, dbias), stats: (mean, var), running }
}

/// The step of one feature in the number that it needs.
#[must_use]
pub fn answer(f: &Feature) -> Expected {
    match needs(f, &[]) {
        (false, false) => step::<Dd>(f),
        (false, true) => step::<Big>(f),
        (true, false) => step::<Ieee<Dd>>(f),
        (true, true) => step::<Ieee<Big>>(f),
    }
}

/// Whether a feature, and what there is `more` of it, needs infinities and NaN, and whether it needs big floats.
pub(crate) fn needs(f: &Feature, more: &[f64]) -> (bool, bool) {
    let running = f.running.map(|(mean, var)| [mean, var]).unwrap_or_default();
    let parameters = [f.affine.0, f.affine.1, f.eps, running[0], running[1]];
    let all = || f.x.iter().chain(&f.dy).chain(&parameters).chain(more);
    // A variance below 0 has no root, and a single value no unbiased variance.
    let special = f.x.len() < 2 || running[1] < 0.0 || !all().all(|v| v.is_finite());
    let far = |v: &f64| *v != 0.0 && v.is_finite() && !(1e-70..1e70).contains(&v.abs());
    (special, all().any(far) || close(&f.x))
}

/// Whether values differ by less than 2⁻²³ of their size: a mean of 106 bits is too short for their distances from it. A constant
/// dy of f64 is held to 2⁻⁷³ of its size.
fn close(x: &[f64]) -> bool {
    let (low, high) = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    low < high && high / 2.0 - low / 2.0 < 2f64.powi(-24) * low.abs().max(high.abs())
}

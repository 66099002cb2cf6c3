//! The oracle: batch normalization in textbook form, one naive pass per formula, in numbers wider than f64.
//!
//! It is written once over [`Number`]: double-double, which has 106 bits; a big float of 160 bits where numbers leave
//! f64's exponents or lie closer together than double-double tells apart; either with infinities and NaN where
//! there are some.

use crate::exact::Exact;
use crate::number::{Big, Ieee, Number};
use bn_core::Activation;
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
    /// What is added to each normalized value; empty for nothing.
    pub plus: Vec<f64>,
    /// The activation behind, its slope as the type that is computed in has it.
    pub activation: Activation,
    /// What of each dy passes on the activation's lower side, rounded to the type.
    pub below: Vec<f64>,
    /// The running mean and variance before the step, where they are tracked.
    pub running: Option<(f64, f64)>,
    /// Whether the batch's statistics are used.
    pub from_batch: bool,
    /// RMAX and DMAX of batch renormalization.
    pub renorm: Option<[f64; 2]>,
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
    /// The values before the activation.
    pub before: Vec<Exact>,
    /// The input gradients.
    pub dx: Vec<Exact>,
    /// What of dy has passed the activation.
    pub passed: Vec<Exact>,
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

/// max(v, 0), min(max(v, 0), 6), or v·slope below 0.
fn activated<N: Number>(v: &N, activation: Activation) -> N {
    let near = Exact::of(v).near;
    match activation {
        Activation::Relu | Activation::Relu6 if near <= 0.0 => N::new(0.0),
        Activation::Relu6 if near >= 6.0 => N::new(6.0),
        Activation::LeakyRelu(slope) if near <= 0.0 => N::new(slope) * v.clone(),
        _ => v.clone(),
    }
}

/// What of dy passes at v; at a corner that of the side that is cut off.
fn gated<N: Number>(f: &Feature, i: usize, v: &N) -> N {
    let near = Exact::of(v).near;
    N::new(match f.activation {
        Activation::Relu | Activation::Relu6 | Activation::LeakyRelu(_) if near <= 0.0 => f.below[i],
        Activation::Relu6 if near >= 6.0 => 0.0,
        _ => f.dy[i],
    })
}

/// The step for one feature: algorithm 1 of <https://arxiv.org/abs/1502.03167> and its gradient.
#[must_use]
pub fn step<N: Number>(f: &Feature) -> Expected {
    let n = N::new(f.x.len() as f64);
    let x: Vec<N> = f.x.iter().map(|&v| N::new(v)).collect();
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
    let std = (var.clone() + N::new(f.eps)).root();
    let invstd = N::new(1.0) / std.clone();
    let [r, d] = match (f.renorm, f.running) {
        (Some(limits), Some(running)) => renorm([&mean, &std], running, f.eps, limits),
        _ => [1.0, 0.0].map(N::new),
    };
    let xhat: Vec<N> = x.iter().map(|x| (x.clone() - mean.clone()) * invstd.clone()).collect();
    let plus = |i: usize| N::new(f.plus.get(i).copied().unwrap_or(0.0));
    let normalized = |xhat: &N| match f.renorm {
        Some(_) => xhat.clone() * r.clone() + d.clone(),
        None => xhat.clone(),
    };
    let of = |(i, xhat): (usize, &N)| weight.clone() * normalized(xhat) + bias.clone() + plus(i);
    let before: Vec<N> = xhat.iter().enumerate().map(of).collect();
    let y = before.iter().map(|v| Exact::of(&activated(v, f.activation))).collect();
    let dy: Vec<N> = (0..f.dy.len()).map(|i| gated(f, i, &before[i])).collect();

    let dbias = sum(dy.iter().cloned());
    let dweight = sum(dy.iter().zip(&xhat).map(|(dy, xhat)| dy.clone() * xhat.clone()));
    let a = weight * r.clone() * invstd;
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
    // No d counts beside an infinite sum either.
    let dweight = match f.renorm {
        Some(_) if Exact::of(&d).near == 0.0 => r * dweight,
        Some(_) => r * dweight + d * dbias.clone(),
        None => dweight,
    };
    let [dweight, dbias, mean, var] = [dweight, dbias, mean, var].each_ref().map(Exact::of);
    let [before, passed] = [&before, &dy].map(|all| all.iter().map(Exact::of).collect());
    Expected { y, before, passed, dx, dparams: (dweight, dbias), stats: (mean, var), running }
}

/// r and d of algorithm 1 of <https://arxiv.org/abs/1702.03275>.
fn renorm<N: Number>(
    [mean, std]: [&N; 2],
    running: (f64, f64),
    eps: f64,
    [r_max, d_max]: [f64; 2],
) -> [N; 2] {
    let clip = |v: N, low: N, high: N| {
        let is_below = |a: &N, b: &N| Exact::of(&(a.clone() - b.clone())).near < 0.0;
        if is_below(&v, &low) {
            low
        } else if is_below(&high, &v) {
            high
        } else {
            v
        }
    };
    let own = (N::new(running.1) + N::new(eps)).root();
    let r = clip(std.clone() / own.clone(), N::new(1.0) / N::new(r_max), N::new(r_max));
    let d = clip((mean.clone() - N::new(running.0)) / own, N::new(-d_max), N::new(d_max));
    [r, d]
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
    let all = || f.x.iter().chain(&f.dy).chain(&f.plus).chain(&parameters).chain(more);
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

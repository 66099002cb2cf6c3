//! The oracle: batch normalization in textbook form, one naive pass per formula, in numbers wider than f64.
//!
//! It is written once over [`Number`]: double-double, which has 106 bits; a big float of 160 bits where squares
//! leave f64's exponents; and f64 itself for features with NaN or infinities, where only those matter.

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
}

impl Number for f64 {
    fn new(v: f64) -> Self {
        v
    }
    fn get(&self) -> f64 {
        *self
    }
    fn root(&self) -> Self {
        self.sqrt()
    }
}

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
}

/// A binary float of 160 bits with exponents of any size.
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
}

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
    pub y: Vec<f64>,
    /// The input gradients.
    pub dx: Vec<f64>,
    /// dγ and dβ.
    pub dparams: (f64, f64),
    /// The mean and biased variance used.
    pub stats: (f64, f64),
    /// The running statistics after the step.
    pub running: Option<(f64, f64)>,
}

fn sum<N: Number>(terms: impl Iterator<Item = N>) -> N {
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
    let y = xhat.iter().map(|xhat| (weight.clone() * xhat.clone() + bias.clone()).get()).collect();

    let dbias = sum(dy.iter().cloned());
    let dweight = sum(dy.iter().zip(&xhat).map(|(dy, xhat)| dy.clone() * xhat.clone()));
    let a = weight * invstd;
    let dx = dy.iter().zip(&xhat).map(|(dy, xhat)| match f.from_batch {
        true => {
            let through = n.clone() * dy.clone() - dbias.clone() - xhat.clone() * dweight.clone();
            (a.clone() / n.clone() * through).get()
        }
        false => (a.clone() * dy.clone()).get(),
    });
    let dx = dx.collect();

    let running = f.running.map(|(old_mean, old_var)| {
        let m = N::new(f.momentum.0) / N::new(f.momentum.1);
        let blend = |old: f64, new: N| ((N::new(1.0) - m.clone()) * N::new(old) + m.clone() * new).get();
        let tracked = match f.biased {
            true => var.clone(),
            false => var.clone() * n.clone() / (n.clone() - N::new(1.0)),
        };
        (blend(old_mean, mean.clone()), blend(old_var, tracked))
    });
    Expected { y, dx, dparams: (dweight.get(), dbias.get()), stats: (mean.get(), var.get()), running }
}

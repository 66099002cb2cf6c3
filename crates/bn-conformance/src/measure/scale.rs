//! The scales of error(t), feature by feature: the sum of the sizes of the terms that make a value.

use super::ext::Ext;
use super::second::{Own, Second};
use super::terms::{SHARE, finite, largest, norm};
use crate::case::{Case, Tensor};
use bn_core::{Activation, Element, Mode, Real};

/// The scales of every feature of a case. They do not depend on what a backend gives.
#[derive(Clone, Debug)]
pub struct Scales(Vec<Feature>);

/// The scales of a feature, without |expect|.
#[derive(Clone, Debug)]
struct Feature {
    /// β, where all inputs are one finite value and γ is finite too.
    constant: Option<f64>,
    y: Ext,
    dx: Ext,
    dresidual: Ext,
    /// Beside |expect|: ‖dy·x̂‖₂, and what comes on top of the larger one.
    dweight: [Ext; 2],
    dbias: Ext,
    /// √var of the batch.
    mean: Ext,
    running_mean: Option<Ext>,
    /// Of the double backward.
    second: Option<Second>,
}

impl Scales {
    /// The scales of a case.
    #[must_use]
    pub fn of<T: Element>(case: &Case<T>) -> Self {
        let valid = |tensor: &[T]| -> Vec<Vec<f64>> {
            case.by_feature(tensor).into_iter().map(|values| case.valid(values)).collect()
        };
        let x = valid(&case.x);
        let v = case.cotangents.as_ref().and_then(|own| own.dx.as_ref());
        let [dy, plus, v] = [case.dy.as_ref(), case.residual.as_ref(), v]
            .map(|tensor| tensor.map_or_else(|| vec![vec![]; x.len()], |tensor| valid(tensor)));
        let of = |f: usize| Feature::of(case, f, &x[f], [&dy[f], &plus[f], &v[f]]);
        Self((0..x.len()).map(of).collect())
    }

    /// That of y of feature `f`.
    #[must_use]
    pub fn y(&self, f: usize) -> f64 {
        self.0[f].y.to_f64()
    }

    /// Of feature `f`, for a tensor whose value there (one that is per feature) should be `expect`.
    pub(super) fn get(&self, tensor: Tensor, f: usize, expect: Ext) -> Ext {
        let (feature, own) = (&self.0[f], finite(expect.abs()));
        match tensor {
            Tensor::Y => feature.y,
            Tensor::Dx => feature.dx,
            Tensor::Dweight => own.max(feature.dweight[0]) + feature.dweight[1],
            Tensor::Dbias => own.max(feature.dbias),
            Tensor::Mean => own.max(feature.mean),
            Tensor::RunningMean => feature.running_mean.unwrap_or(own),
            Tensor::Dresidual => feature.dresidual,
            Tensor::Var | Tensor::RunningVar => own,
            Tensor::DdDy | Tensor::DdX | Tensor::DdWeight => {
                feature.second.as_ref().map_or(own, |second| second.get(tensor, own))
            }
        }
    }

    /// β, where all inputs of feature `f` are one finite value and γ is finite too.
    pub(super) fn constant(&self, f: usize) -> Option<f64> {
        self.0[f].constant
    }
}

/// What passes an activation at v: dy, what is below its corner, or nothing.
fn passed(activation: Activation, v: Ext, [dy, below]: [f64; 2]) -> Ext {
    let (low, high) = (v <= Ext::ZERO, v >= Ext::new(6.0));
    Ext::new(match activation {
        Activation::Relu | Activation::Relu6 | Activation::LeakyRelu(_) if low => below,
        Activation::Relu6 if high => 0.0,
        _ => dy,
    })
}

/// r and d, from μ−μᵣ and invstd of the batch, and σᵣ².
fn renorm([r_max, d_max]: [f64; 2], [apart, invstd]: [Ext; 2], var: Ext) -> [Ext; 2] {
    let clip = |v: Ext, low: Ext, high: Ext| {
        if v < low {
            low
        } else if v > high {
            high
        } else {
            v
        }
    };
    let ([r_max, d_max], std) = ([r_max, d_max].map(Ext::new), var.sqrt());
    let one = Ext::new(1.0);
    [clip(one / (invstd * std), one / r_max, r_max), clip(apart / std, Ext::ZERO - d_max, d_max)]
}

impl Feature {
    fn of<T: Element>(case: &Case<T>, f: usize, x: &[f64], [dy, plus, v]: [&[f64]; 3]) -> Self {
        let from_batch = case.from_batch();
        let n = Ext::new(x.len() as f64);
        let one = Ext::new(1.0);
        // Relative to a first value, so that what lies close together loses no digits.
        let first = x.iter().copied().find(|v| v.is_finite()).unwrap_or(0.0);
        let shifted: Vec<Ext> = x.iter().map(|v| Ext::new(*v) - Ext::new(first)).collect();
        let batch_mean = shifted.iter().copied().sum::<Ext>() / n;
        let square = |v: &Ext| (*v - batch_mean) * (*v - batch_mean);
        let batch_var = shifted.iter().map(square).sum::<Ext>() / n;
        let old = case.running.as_ref().map(|[m, v]| [m, v].map(|t| Ext::new(t[f].to_f64())));
        let (mean, var) = match old {
            Some([mean, var]) if !from_batch => (mean - Ext::new(first), var),
            _ => (batch_mean, batch_var),
        };
        let invstd = one / (var + Ext::new(case.config.eps)).sqrt();
        let xhat: Vec<Ext> = shifted.iter().map(|v| (*v - mean) * invstd).collect();
        let max_xhat = largest(xhat.iter().copied());

        let (gamma, bias) = case.params(f);
        let weight = Ext::new(gamma).abs();
        let moved = case.renormed().zip(old).map(|(limits, old)| {
            renorm(
                limits,
                [batch_mean + Ext::new(first) - old[0], invstd],
                old[1] + Ext::new(case.config.eps),
            )
        });
        let [r, d] = moved.unwrap_or([one, Ext::ZERO]);
        let gain = weight * r * invstd;
        let plus: Vec<Ext> = plus.iter().map(|v| Ext::new(*v)).collect();
        let before = |i: usize| {
            Ext::new(gamma) * (xhat[i] * r + d) + Ext::new(bias) + plus.get(i).copied().unwrap_or(Ext::ZERO)
        };
        let passed = |(i, dy): (usize, &f64)| passed(case.activation, before(i), [*dy, case.below(*dy)]);
        let dy: Vec<Ext> = dy.iter().enumerate().map(passed).collect();
        let max_dy = largest(dy.iter().copied());
        let share = Ext::power_of_two(SHARE);
        let (mut dx, mut on_top) = (finite(gain * max_dy), Ext::ZERO);
        if from_batch {
            let m = dy.iter().copied().sum::<Ext>() / n;
            let h = dy.iter().zip(&xhat).map(|(dy, xhat)| (*dy - m) * *xhat).sum::<Ext>() / n;
            dx = finite(gain * largest(dy.iter().map(|v| *v - m)))
                + finite(gain * max_xhat * h.abs())
                + finite(share * gain * max_dy * max_xhat.max(one));
            on_top = finite(share * (r + d.abs()) * dy.iter().map(|v| v.abs()).sum());
        }
        let (std, size) = (finite(batch_var.sqrt()), norm(dy.iter().copied()));
        let own = case.cotangents.as_ref().map(|cotangents| Own {
            from_batch,
            invstd,
            gain,
            xhat: &xhat,
            dy: &dy,
            v: v.iter().map(|v| Ext::new(*v)).collect(),
            params: [&cotangents.dweight, &cotangents.dbias]
                .map(|param| param.as_ref().map_or(Ext::ZERO, |param| Ext::new(param[f].to_f64()).abs())),
        });
        Self {
            constant: (plus.is_empty()
                && moved.is_none()
                && weight.is_finite()
                && x.iter().all(|v| *v == first && v.is_finite()))
            .then_some(bias),
            y: finite(weight * (r * max_xhat + d.abs()))
                + finite(Ext::new(bias).abs())
                + largest(plus.iter().copied()),
            dresidual: max_dy,
            dx,
            dweight: [
                finite(r * norm(dy.iter().zip(&xhat).map(|(dy, xhat)| *dy * *xhat))) + finite(d.abs() * size),
                on_top,
            ],
            dbias: size,
            mean: if from_batch { std } else { Ext::ZERO },
            running_mean: old.filter(|_| case.mode == Mode::Train && !x.is_empty()).map(|[old, _]| {
                let momentum = match case.config.momentum {
                    Some(m) => Ext::new(m),
                    None => one / Ext::new((case.num_batches_tracked + 1) as f64),
                };
                let batch = finite((batch_mean + Ext::new(first)).abs()).max(std);
                finite(((one - momentum) * old).abs()) + finite(momentum.abs() * batch)
            }),
            second: own.map(|own| Second::of(&own)),
        }
    }
}

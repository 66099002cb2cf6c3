//! Features whose numbers leave the kernels' arithmetic, done one at a time and slowly.
//!
//! The kernels' maps multiply in the data's own type, and the sums of f64 data have no wider exponent. Where
//! a coefficient comes close to the type's limits (values near its largest, an eps or a weight far from 1)
//! they would overflow or lose digits: y would silently become β, or NaN. Such a feature is recomputed here
//! in textbook form, in double-double, with x and dy scaled by powers of two to numbers near 1; only the
//! results are scaled back. Which features those are follows from the data alone, so every backend agrees.

use crate::maths::Stats;
use crate::num::wide::{exponent, ldexp};
use crate::num::{Dd, Element, Real, Wide};
use crate::tensor::{Strips, StripsMut};

/// A feature's normalization with x in units of 2ᵉ: x̂ = (x·2⁻ᵉ − k − δ) · m·2ʲ.
struct Frame {
    unit: i32,
    k: f64,
    delta: Dd,
    /// The mantissa m of invstd in these units.
    invstd: Dd,
    /// Its exponent j.
    power: i32,
}

/// The largest exponent among the finite `values`; `None` where one of them is not finite.
fn largest(values: impl Iterator<Item = f64>) -> Option<i32> {
    let max = values.map(f64::abs).try_fold(0.0f64, |m, v| v.is_finite().then(|| m.max(v)))?;
    Some(if max == 0.0 { -1100 } else { exponent(max) })
}

fn values<T: Element>(x: Strips<'_, T>) -> impl Iterator<Item = f64> {
    x.iter().flatten().map(|v| v.to_compute().to_f64())
}

fn mean_of(n: usize, terms: impl Iterator<Item = Dd>) -> Dd {
    terms.fold(Dd::default(), |sum, v| sum + v) / Dd::from_f64(n as f64)
}

impl Frame {
    /// Takes the batch's statistics of the single feature `x`; `None` where a value is not finite.
    fn from_batch<T: Element>(x: Strips<'_, T>, eps: f64) -> Option<(Self, Stats<T::Compute>)> {
        let n = x.rows() * x.len();
        // Never below √eps, which would make eps overflow in these units: there x hardly counts beside it.
        let unit = largest(values(x))?.max(exponent(eps.sqrt()));
        let mean = mean_of(n, values(x).map(|v| Dd::from_f64(ldexp(v, -unit))));
        let rounded = T::Compute::from_f64(ldexp(mean.to_f64(), unit));
        let k = ldexp(rounded.to_f64(), -unit);
        let mut frame = Self { unit, k, delta: mean - Dd::from_f64(k), invstd: Dd::from_f64(1.0), power: 0 };
        let var = mean_of(n, values(x).map(|v| frame.centred(v) * frame.centred(v)));
        frame.set_invstd(Dd::from_f64(1.0) / (var + Dd::from_f64(eps).ldexp(-2 * unit)).sqrt());
        let wide = |v: Dd| {
            let (hi, lo) = v.parts();
            <T::Compute as Real>::Wide::from_parts(hi, lo)
        };
        let stats = Stats {
            k: rounded,
            delta: frame.delta.ldexp(unit).to_f64(),
            var: wide(var.ldexp(2 * unit)),
            invstd: wide(frame.invstd.ldexp(frame.power - unit)),
        };
        Some((frame, stats))
    }

    /// Takes given statistics; `None` where one of them or a value of `x` is not finite.
    fn from_stats<T: Element>(x: Strips<'_, T>, stats: &Stats<T::Compute>) -> Option<Self> {
        let (hi, lo) = stats.invstd.parts();
        let k = stats.k.to_f64();
        let unit = largest(values(x).chain([k, 1.0 / hi, stats.delta]))?;
        let delta = Dd::from_f64(stats.delta).ldexp(-unit);
        let mut frame = Self { unit, k: ldexp(k, -unit), delta, invstd: Dd::default(), power: 0 };
        frame.set_invstd(Dd::from_parts(hi, lo));
        frame.power += unit;
        hi.is_finite().then_some(frame)
    }

    fn set_invstd(&mut self, invstd: Dd) {
        self.power = exponent(invstd.to_f64());
        self.invstd = invstd.ldexp(-self.power);
    }

    fn centred(&self, x: f64) -> Dd {
        (Dd::from_f64(ldexp(x, -self.unit)) - Dd::from_f64(self.k)) - self.delta
    }

    /// x̂ in units of 2ʲ.
    fn xhat(&self, x: f64) -> Dd {
        self.centred(x) * self.invstd
    }
}

/// A weight as mantissa and exponent.
fn mantissa(v: f64) -> (Dd, i32) {
    let e = if v == 0.0 || !v.is_finite() { 0 } else { exponent(v) };
    (Dd::from_f64(ldexp(v, -e)), e)
}

/// y = γ·x̂ + β of one feature, with the batch's statistics where `given` is `None`. Returns the statistics
/// used; `None`, with nothing written, where a value is not finite (the kernels then give what IEEE 754 says).
pub(crate) fn forward<T: Element>(
    x: Strips<'_, T>,
    given: Option<&Stats<T::Compute>>,
    eps: f64,
    (weight, bias): (T::Compute, T::Compute),
    mut y: StripsMut<'_, T>,
) -> Option<Stats<T::Compute>> {
    let (frame, stats) = match given {
        None => Frame::from_batch(x, eps)?,
        Some(stats) => (Frame::from_stats(x, stats)?, *stats),
    };
    let (weight, e) = mantissa(weight.to_f64());
    for (i, strip) in x.iter().enumerate() {
        y.strip_mut(i).fill_from(strip.iter().map(|x| {
            let scaled = frame.xhat(x.to_compute().to_f64()) * weight;
            let v = scaled.ldexp(frame.power + e) + Dd::from_f64(bias.to_f64());
            T::from_compute(T::Compute::from_f64(v.to_f64()))
        }));
    }
    Some(stats)
}

/// dx of one feature, and (dγ, dβ): through the batch's statistics where `given` is `None`. `None`, with
/// nothing written, where a value is not finite.
pub(crate) fn backward<T: Element>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    given: Option<&Stats<T::Compute>>,
    eps: f64,
    weight: T::Compute,
    dx: Option<StripsMut<'_, T>>,
) -> Option<(T::Compute, T::Compute)> {
    let frame = match given {
        None => Frame::from_batch(x, eps)?.0,
        Some(stats) => Frame::from_stats(x, stats)?,
    };
    let unit = largest(values(dy))?;
    let grad = |v: f64| Dd::from_f64(ldexp(v, -unit));
    let n = x.rows() * x.len();
    let mean_dy = mean_of(n, values(dy).map(grad));
    let mean_dy_xhat = mean_of(n, values(x).zip(values(dy)).map(|(x, dy)| grad(dy) * frame.xhat(x)));

    let (weight, e) = mantissa(weight.to_f64());
    let a = weight * frame.invstd;
    let power = frame.power + e + unit - frame.unit;
    let gradient = |(x, dy): (&T, &T)| {
        let mut v = grad(dy.to_compute().to_f64());
        if given.is_none() {
            let along = frame.xhat(x.to_compute().to_f64()) * mean_dy_xhat;
            v = (v - mean_dy) - along.ldexp(2 * frame.power);
        }
        T::from_compute(T::Compute::from_f64((v * a).ldexp(power).to_f64()))
    };
    if let Some(mut dx) = dx {
        for i in 0..dx.rows() {
            dx.strip_mut(i).fill_from(x.strip(i).iter().zip(dy.strip(i)).map(gradient));
        }
    }
    let total = |mean: Dd, e: i32| T::Compute::from_f64((mean * Dd::from_f64(n as f64)).ldexp(e).to_f64());
    Some((total(mean_dy_xhat, unit + frame.power), total(mean_dy, unit)))
}

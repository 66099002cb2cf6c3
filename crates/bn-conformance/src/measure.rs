//! error(t) as cases/README.md defines it, and the check against the limits.

use crate::case::{Case, Results, Tensor};
use crate::tolerances::{HALF_LIMIT, LIMIT};
use bn_core::{Element, Real};

/// What the error measure needs to know of a number format.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// u, the unit roundoff.
    pub roundoff: f64,
    /// The least normal number.
    pub min_normal: f64,
    /// The largest number.
    pub max: f64,
}

impl Format {
    /// The format of a tensor of type `T`, or of its parameters and statistics.
    #[must_use]
    pub fn of<T: Element>(tensor: Tensor) -> Self {
        let name = match tensor {
            Tensor::Y | Tensor::Dx => T::NAME,
            _ => T::Compute::NAME,
        };
        let (bits, min, max) = match name {
            "f64" => (53, f64::MIN_POSITIVE, f64::MAX),
            "f32" => (24, f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
            "bf16" => (8, f64::from(f32::MIN_POSITIVE), 2f64.powi(127) * (2.0 - 2f64.powi(-7))),
            "f16" => (11, 2f64.powi(-14), 65504.0),
            other => unreachable!("no element type is called {other}"),
        };
        Self { roundoff: 2f64.powi(-bits), min_normal: min, max }
    }
}

/// The limit of error(t) for a tensor of a case with elements `T`.
#[must_use]
pub fn limit<T: Element>(tensor: Tensor) -> f64 {
    match tensor {
        Tensor::Y | Tensor::Dx if T::NAME != T::Compute::NAME => HALF_LIMIT,
        _ => LIMIT,
    }
}

/// How one tensor of a case came out.
#[derive(Clone, Debug)]
pub struct Row {
    /// The tensor.
    pub tensor: Tensor,
    /// error(t); with rounded expectations |got − expect| in units of what is allowed.
    pub error: f64,
    /// What it may be.
    pub limit: f64,
    /// Where the error is largest: index, got, want.
    pub worst: Option<(usize, f64, f64)>,
}

impl Row {
    /// Whether the error is within the limit. A NaN is not.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.error <= self.limit
    }
}

/// Compares what a backend gave with what the case expects, a row for each expected tensor.
#[must_use]
pub fn check<T: Element>(case: &Case<T>, got: &Results) -> Vec<Row> {
    check_within(case, got, limit::<T>)
}

/// As [`check`], with limits of error(t) of the caller's.
#[must_use]
pub fn check_within<T: Element>(case: &Case<T>, got: &Results, limit: impl Fn(Tensor) -> f64) -> Vec<Row> {
    let features = Spread::of_features(case);
    let rows = case.expect.iter().map(|(tensor, expect)| {
        let Some(got) = got.get(tensor).filter(|got| got.len() == expect.len()) else {
            return Row { tensor, error: f64::INFINITY, limit: limit(tensor), worst: None };
        };
        let format = Format::of::<T>(tensor);
        let scale = scale(case, tensor, expect, &features, &format);
        let (error_of, limit): (Box<dyn Fn(f64, f64) -> f64>, f64) = match case.rounded {
            Some((rtol, atol)) => {
                let allowed = move |want: f64| atol + rtol * want.abs();
                // Nothing may be allowed at all, and then 0/0 is no error.
                let error =
                    move |got, want| if got == want { 0.0 } else { f64::abs(got - want) / allowed(want) };
                (Box::new(error), 1.0)
            }
            None => {
                (Box::new(move |got, want| (got - want).abs() / (format.roundoff * scale)), limit(tensor))
            }
        };
        let mut row = Row { tensor, error: 0.0, limit, worst: None };
        for (i, (&got, &want)) in got.iter().zip(expect).enumerate() {
            let error = special(got, want, &format).unwrap_or_else(|| error_of(got, want));
            if error > row.error || error.is_nan() {
                (row.error, row.worst) =
                    (if error.is_nan() { f64::INFINITY } else { error }, Some((i, got, want)));
            }
        }
        if tensor == Tensor::Y && case.from_batch() {
            constants_are_beta(case, got, &features, &mut row);
        }
        row
    });
    rows.collect()
}

/// The error where the scale does not measure it: 0 if `got` is what may stand there, ∞ if it must not.
fn special(got: f64, want: f64, format: &Format) -> Option<f64> {
    let pass = |ok: bool| Some(if ok { 0.0 } else { f64::INFINITY });
    if want.is_nan() {
        return pass(got.is_nan());
    }
    if want.abs() > format.max {
        // What rounds to the largest number may stay there.
        let close = want.abs() <= format.max * (1.0 + format.roundoff) && got.abs() == format.max;
        return pass(got.signum() == want.signum() && (got.is_infinite() || close));
    }
    if want.abs() < format.min_normal && got.abs() <= format.min_normal {
        return pass(true);
    }
    (!got.is_finite()).then_some(f64::INFINITY)
}

/// A constant feature's y is exactly β.
fn constants_are_beta<T: Element>(case: &Case<T>, got: &[f64], features: &[Spread], row: &mut Row) {
    let beta: Vec<f64> = (0..features.len()).map(|f| case.params(f).1).collect();
    let expanded: Vec<Vec<f64>> = beta
        .iter()
        .zip(features)
        .map(|(&b, s)| vec![if s.constant { b } else { f64::NAN }; s.count])
        .collect();
    for (i, (&got, want)) in got.iter().zip(case.by_position(&expanded)).enumerate() {
        let rounded = T::from_compute(T::Compute::from_f64(want)).to_compute().to_f64();
        if !want.is_nan() && got != rounded {
            (row.error, row.worst) = (f64::INFINITY, Some((i, got, want)));
        }
    }
}

/// What the scales need to know of a feature.
struct Spread {
    count: usize,
    constant: bool,
    std: f64,
    invstd: f64,
    norm_dy: f64,
    norm_dy_xhat: f64,
}

impl Spread {
    fn of_features<T: Element>(case: &Case<T>) -> Vec<Self> {
        let x = case.by_feature(&case.x);
        let dy = case.dy.as_ref().map_or_else(|| vec![vec![]; x.len()], |dy| case.by_feature(dy));
        x.iter().zip(&dy).enumerate().map(|(f, (x, dy))| Self::of_feature(case, f, x, dy)).collect()
    }

    fn of_feature<T: Element>(case: &Case<T>, f: usize, x: &[f64], dy: &[f64]) -> Self {
        // Relative to a first value and in units of the largest, so that nothing cancels or overflows.
        let unit = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let unit = if unit > 0.0 && unit.is_finite() { unit } else { 1.0 };
        let first = x.first().copied().unwrap_or(0.0);
        let shifted: Vec<f64> = x.iter().map(|v| v / unit - first / unit).collect();
        let mean = |v: &mut dyn Iterator<Item = f64>| v.sum::<f64>() / x.len().max(1) as f64;
        let batch_mean = mean(&mut shifted.iter().copied());
        let batch_std = mean(&mut shifted.iter().map(|v| (v - batch_mean).powi(2))).sqrt();
        let (mean, var) = match &case.running {
            Some([m, v]) if !case.from_batch() => {
                (m[f].to_f64() / unit - first / unit, v[f].to_f64() / unit / unit)
            }
            _ => (batch_mean, batch_std * batch_std),
        };
        let invstd = 1.0 / (var + case.config.eps / unit / unit).sqrt();
        let norm = |v: &mut dyn Iterator<Item = f64>| {
            let values: Vec<f64> = v.collect();
            let max = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            if max == 0.0 { 0.0 } else { max * values.iter().map(|v| (v / max).powi(2)).sum::<f64>().sqrt() }
        };
        Self {
            count: x.len(),
            constant: x.iter().all(|&v| v == first),
            std: batch_std * unit,
            invstd: invstd / unit,
            norm_dy: norm(&mut dy.iter().copied()),
            norm_dy_xhat: norm(&mut dy.iter().zip(&shifted).map(|(dy, x)| dy * ((x - mean) * invstd))),
        }
    }
}

fn scale<T: Element>(
    case: &Case<T>,
    tensor: Tensor,
    expect: &[f64],
    features: &[Spread],
    format: &Format,
) -> f64 {
    let largest = |v: &mut dyn Iterator<Item = f64>| {
        v.map(f64::abs).filter(|v| *v <= format.max && *v >= format.min_normal).fold(0.0f64, f64::max)
    };
    let own = largest(&mut expect.iter().copied());
    let terms = match tensor {
        Tensor::Y => largest(&mut (0..features.len()).map(|f| case.params(f).1)),
        Tensor::Mean | Tensor::RunningMean if case.from_batch() => {
            largest(&mut features.iter().map(|f| f.std))
        }
        Tensor::Mean | Tensor::RunningMean | Tensor::Var | Tensor::RunningVar => 0.0,
        Tensor::Dx => {
            let a = largest(&mut features.iter().enumerate().map(|(f, s)| case.params(f).0 * s.invstd));
            let dy = case.dy.as_deref().unwrap_or_default();
            a * largest(&mut dy.iter().map(|v| v.to_compute().to_f64()))
        }
        Tensor::Dbias => largest(&mut features.iter().map(|f| f.norm_dy)),
        Tensor::Dweight => largest(&mut features.iter().map(|f| f.norm_dy_xhat)),
    };
    match own.max(terms) {
        0.0 => 1.0,
        scale => scale,
    }
}

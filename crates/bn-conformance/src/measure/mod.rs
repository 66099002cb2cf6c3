//! error(t) as cases/README.md defines it, and the check against the limits.

mod ext;
mod scale;
mod second;
mod terms;
#[cfg(test)]
mod tests;
mod unit;

use crate::case::{Case, Results, Tensor};
use crate::tolerances::{HALF_LIMIT, LIMIT, LIMIT_DD, LIMIT_DX, ROUNDED_REFERENCE};
use bn_core::{Activation, Element, Real};
use unit::{Unit, value};

pub use scale::Scales;
pub use unit::Format;

/// The limit of error(t) for a tensor of a case with elements `T`.
#[must_use]
pub fn limit<T: Element>(tensor: Tensor) -> f64 {
    match tensor {
        Tensor::Y | Tensor::Dx | Tensor::Dresidual if T::NAME != T::Compute::NAME => HALF_LIMIT,
        Tensor::Dx => LIMIT_DX,
        Tensor::DdDy => LIMIT_DD[0],
        Tensor::DdX => LIMIT_DD[1],
        _ => LIMIT,
    }
}

/// As [`limit`], and what the rounding of the reference adds where f64 results are held to an f64 reference.
#[must_use]
pub fn limit_of<T: Element>(case: &Case<T>, tensor: Tensor) -> f64 {
    let rounded = T::NAME == "f64" && case.expect.rests(tensor).is_none();
    limit::<T>(tensor) + if rounded { ROUNDED_REFERENCE } else { 0.0 }
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
    /// Where the error is largest.
    pub worst: Option<Worst>,
}

/// A value and what it should be.
#[derive(Clone, Copy, Debug)]
pub struct Worst {
    /// Its place in the tensor.
    pub index: usize,
    /// Its feature.
    pub feature: usize,
    /// The value.
    pub got: f64,
    /// What it should be, to f64.
    pub want: f64,
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
    check_by(case, &Scales::of(case), got, |tensor| limit_of(case, tensor))
}

/// As [`check`], with limits of error(t) of the caller's.
#[must_use]
pub fn check_within<T: Element>(case: &Case<T>, got: &Results, limit: impl Fn(Tensor) -> f64) -> Vec<Row> {
    check_by(case, &Scales::of(case), got, limit)
}

/// As [`check_within`], with the case's scales, which many results may share.
#[must_use]
pub fn check_by<T: Element>(
    case: &Case<T>,
    scales: &Scales,
    got: &Results,
    limit: impl Fn(Tensor) -> f64,
) -> Vec<Row> {
    let rows = case.expect.iter().map(|(tensor, expect)| {
        let limit = if case.rounded.is_some() { 1.0 } else { limit(tensor) };
        let Some(got) = got.get(tensor).filter(|got| got.len() == expect.len()) else {
            return Row { tensor, error: f64::INFINITY, limit, worst: None };
        };
        let mut row = Row { tensor, error: 0.0, limit, worst: None };
        let rests = case.expect.rests(tensor);
        let whole = tensor.is_whole();
        // Values of a feature that stand in a row, and the features that come in turns.
        let (inner, features) =
            if whole { (case.inner().max(1), case.features()) } else { (1, expect.len()) };
        for (i, start) in (0..expect.len()).step_by(inner).enumerate() {
            let feature = i % features;
            let rest = |i: usize| rests.map_or(0.0, |rests| rests[i]);
            let scale = scales.get(tensor, feature, value(expect[start], rest(start)));
            let unit = Unit::new(scale, Format::of::<T>(tensor));
            let constant = scales.constant(feature).filter(|_| tensor == Tensor::Y && case.from_batch());
            let constant = constant.map(|beta| activated::<T>(case.activation, beta));
            for index in start..start + inner {
                let (got, want) = (got[index], expect[index]);
                let error = match (case.rounded, constant) {
                    _ if tensor.is_whole() && !case.is_valid(index) => {
                        if got == 0.0 {
                            0.0
                        } else {
                            f64::INFINITY
                        }
                    }
                    (Some(_), _) => error_allowed(case.rounded, got, want),
                    (None, Some(beta)) if got != beta => f64::INFINITY,
                    _ => unit.error(got, want, rests.map(|rests| rests[index])),
                };
                if error > row.error || error.is_nan() {
                    row.error = if error.is_nan() { f64::INFINITY } else { error };
                    row.worst = Some(Worst { index, feature, got, want });
                }
            }
        }
        row
    });
    rows.collect()
}

/// A parameter in the element type.
fn round<T: Element>(v: f64) -> f64 {
    T::from_compute(T::Compute::from_f64(v)).to_compute().to_f64()
}

/// β behind an activation, in the element type.
fn activated<T: Element>(activation: Activation, beta: f64) -> f64 {
    match activation {
        Activation::Relu | Activation::Relu6 if beta <= 0.0 => 0.0,
        Activation::Relu6 => round::<T>(beta).min(6.0),
        Activation::LeakyRelu(slope) if beta <= 0.0 => {
            let number = T::Compute::from_f64;
            round::<T>((number(beta) * number(slope)).to_f64())
        }
        _ => round::<T>(beta),
    }
}

/// |got − want| in units of what the source's own tolerances allow.
fn error_allowed(tolerance: Option<(f64, f64)>, got: f64, want: f64) -> f64 {
    let (rtol, atol) = tolerance.unwrap_or_default();
    // Nothing may be allowed at all, and then 0/0 is no error.
    if got == want || (got.is_nan() && want.is_nan()) {
        0.0
    } else {
        (got - want).abs() / (atol + rtol * want.abs())
    }
}

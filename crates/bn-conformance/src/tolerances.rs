//! Every tolerance of the project, each with its reason.

use crate::data::{Dy, X};

/// error(t) of f32 and f64 results, and of the f32 parameters and statistics of a half-precision case.
///
/// The contract of cases/README.md. A map (x−k)·a + b rounds x−k, a and their product, then b and the sum: at most one
/// unit of each term's size, 4 of their sum's. The hundredth is for terms of second order and for the wide sums.
pub const LIMIT: f64 = 4.01;

/// error(t) of dx: ((dy−m)·a + (x−k)·c) + d rounds either product three times, d, and both sums.
pub const LIMIT_DX: f64 = 5.01;

/// error(t) of dd.dy, which has one term more than y, as dx has; and of dd.x, which has two more.
pub const LIMIT_DD: [f64; 2] = [5.01, 6.01];

/// error(t) of y and dx in half precision: rounded once, from an f32 that is 5.01 of its own units off; those are at
/// most 2⁻¹³ of a unit of half precision.
pub const HALF_LIMIT: f64 = 1.001;

/// What the rounding of an f64 reference to f64 adds where f64 results are held to it: half a unit of the value, and
/// the reference's own arithmetic.
pub const ROUNDED_REFERENCE: f64 = 1.0;

/// |Σdx| of a training backward, in units of u·√n·scale(dx)·RMS margin: dx sums to zero exactly in real numbers;
/// in floating point every dx is off by a few u·scale, of either sign.
pub const SUM_DX: f64 = 8.0;

/// |Σdx| of a long batch, in units of n·u·|γ·invstd·m|. The rounding of m moves every dx alike by up to one unit of γ·invstd·m, which the
/// measure counts to 2⁻²⁰·max |dy|. d brings it back, but is lost beside terms that are larger by more than 1/u.
pub const SUM_DX_MEAN: f64 = 1.0;

/// Numerical against analytic gradient, f64, five-point central difference with h = 10⁻³: max|a−b|/max|b|. The
/// difference formula errs by h⁴·f⁽⁵⁾/30 and by u·|f|/h; both stay below 10⁻⁹ for the sizes checked.
pub const GRADIENT_DX: f64 = 1e-8;

/// Likewise for dγ and dβ, in which the output is linear: only rounding is left.
pub const GRADIENT_PARAMS: f64 = 1e-10;

/// error(t) of textbook code, which sums plainly in the data's own precision, on the data that
/// [`textbook_omits`] does not leave out.
///
/// A plain sum of n terms errs by up to n units of roundoff of its largest partial sum; the shapes it is run
/// on have n ≤ 2042, and the means are at most some 200σ from zero. The largest error seen is 800, where two
/// neighbouring values are told apart. A wrong term (n−1 for n, a missing eps) costs 10⁴ in f32, 10¹³ in f64.
pub const TEXTBOOK: f64 = 2048.0;

/// Why textbook code is not held to a data set, or `None` where it is. Each entry says what the layer does better.
#[must_use]
pub fn textbook_omits((x, _): (X, Dy)) -> Option<&'static str> {
    match x {
        X::Normal | X::Shifted | X::Ramp | X::Zero | X::TinySpread | X::Pixels | X::TwoNeighbours => None,
        X::OutlierFirst | X::OutlierLast | X::OutlierInside => None,
        X::NanInside | X::InfinityInside => None,
        X::Constant => Some("the mean is rounded, so y is not exactly β"),
        X::LargeMean => Some("the mean's rounding, 10³ times the spread's, stands in every centred value"),
        X::LargestMean => Some("hardly a digit of the spread is left beside the mean's rounding"),
        X::HugeSpread => Some("squares leave the type's range"),
        X::Mixed => Some("holds features of the data sets that are left out"),
    }
}

/// Why textbook code is not held to dx where the gradients are of a kind and a feature has so many values, or `None`
/// where it is. It does not subtract the mean of dy first, so that dx keeps the rounding of dy itself.
#[must_use]
pub fn textbook_omits_dx(dy: Dy, count: usize) -> Option<&'static str> {
    match dy {
        Dy::Ones | Dy::Tenths => Some("of a constant gradient nothing but its rounding is left"),
        _ if count < 4 => Some("of two or three values any small part may be left beside mean and x̂·h"),
        _ => None,
    }
}

/// |a − b| between the graph's, the analytic form's and the layer's results in f64 for x = 5·randn + 12 of 100
/// values per feature, all of them of size 1 to 100: some hundred roundings of 10⁻¹⁶ each, and room for more.
pub const STRATEGIES_APART: f64 = 1e-10;

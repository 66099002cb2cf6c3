//! Every tolerance of the project, each with its reason.

/// error(t) of f32 and f64 results, and of the f32 parameters and statistics of a half-precision case.
///
/// The contract of cases/README.md. A map rounds four times: x−k, a, the product and the sum; b adds one of β.
/// Each is at most one unit of roundoff, and where β is not in the way their sum stays below 4.
pub const LIMIT: f64 = 4.0;

/// error(t) of y and dx in half precision: computed in f32 and rounded once.
pub const HALF_LIMIT: f64 = 1.0;

/// |Σdx| of a training backward, in units of u·√n·scale(dx)·RMS margin: dx sums to zero exactly in real numbers;
/// in floating point every dx is off by a few u·scale, of either sign.
pub const SUM_DX: f64 = 8.0;

/// Numerical against analytic gradient, f64, five-point central difference with h = 10⁻³: max|a−b|/max|b|. The
/// difference formula errs by h⁴·f⁽⁵⁾/30 and by u·|f|/h; both stay below 10⁻⁹ for the sizes checked.
pub const GRADIENT_DX: f64 = 1e-8;

/// Likewise for dγ and dβ, in which the output is linear: only rounding is left.
pub const GRADIENT_PARAMS: f64 = 1e-10;

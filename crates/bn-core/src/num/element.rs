//! The types a tensor may have, and the types it is computed in.

use super::wide::{Dd, Wide};
use ndarray::{LinalgScalar, ScalarOperand};
use std::fmt::{Debug, Display, LowerExp};
use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign, Neg, SubAssign};

/// A tensor's element type: f32, f64, and with the feature `half` f16 and bf16.
///
/// It has the arithmetic of its type: `+ - * /` with their assignments, −v, sums, comparisons, 0 and 1. So generic code
/// can add arrays, call `Array::zeros`, `dot` and `scaled_add`:
///
/// ```
/// use batchnorm::{BatchNorm, Element, Error, Real};
/// use ndarray::{Array2, array};
///
/// fn step<T: Element>(bn: &mut BatchNorm<T>, x: &Array2<T>, target: &Array2<T>) -> Result<(), Error> {
///     let rate = T::Compute::from_f64(0.1);
///     let (y, saved) = bn.forward(x)?;
///     let g = bn.backward(&saved, x, &(&y - target))?;
///     bn.weight.scaled_add(-rate, &g.dweight);
///     bn.bias -= &(g.dbias * rate);
///     Ok(())
/// }
///
/// step(&mut BatchNorm::<f64>::new(1)?, &array![[1.0], [3.0]], &array![[0.0], [1.0]])?;
/// # Ok::<(), Error>(())
/// ```
pub trait Element:
    LinalgScalar
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + Debug
    + Display
    + LowerExp
    + Default
    + PartialOrd
    + Send
    + Sync
{
    /// The type of arithmetic, parameters and running statistics: f32 for half types, else the type itself.
    type Compute: Real;
    /// The name users and reports know the type by.
    const NAME: &'static str;

    /// The value in the type it is computed in, exactly.
    fn to_compute(self) -> Self::Compute;
    /// The nearest value of this type.
    fn from_compute(v: Self::Compute) -> Self;
    /// [`Element::to_compute`] of as many values.
    ///
    /// # Panics
    /// Where the lengths differ, as the next.
    fn widen_all(from: &[Self], to: &mut [Self::Compute]);
    /// [`Element::from_compute`] of as many values.
    fn narrow_all(from: &[Self::Compute], to: &mut [Self]);
    /// Of one value for each element type, that of this type.
    fn pick<P: PerElement>(of: P) -> P::Of<Self>;
}

/// One value for each element type: how code that knows no more than `T: Element` comes to the one for T.
pub trait PerElement {
    /// The value for T.
    type Of<T: Element>;

    /// That for f32.
    fn f32(self) -> Self::Of<f32>;
    /// That for f64.
    fn f64(self) -> Self::Of<f64>;
    /// That for f16.
    #[cfg(feature = "half")]
    fn f16(self) -> Self::Of<::half::f16>;
    /// That for bf16.
    #[cfg(feature = "half")]
    fn bf16(self) -> Self::Of<::half::bf16>;
}

/// A type that arithmetic runs in, as parameters and statistics have it: f32 and f64. An array of it takes one as the other
/// operand.
pub trait Real: Element<Compute = Self> + ScalarOperand {
    /// The type of sums and coefficients, of about twice the precision.
    type Wide: Wide;
    /// Virtual lanes per feature and sum where a feature's values lie side by side (`runs.rs`).
    const LANES: usize;
    /// The forward sums a feature again, around its mean, where mean² exceeds this many variances: Σx² − (Σx)²/n cancels by that
    /// factor. See docs/numerics.md, as for the next.
    const RECENTRE: f64;
    /// The backward sums a feature around its mean where mean² exceeds this many variances: Σdy·x − μ·Σdy cancels by the root of
    /// that factor. A pilot costs less there than a second sweep.
    const OFF_CENTRE: f64;
    /// What is multiplied must be this large, or it may have lost digits to underflow: for f32 the least normal number;
    /// f64 leaves room for the remainders of double-double.
    const LOW: f64;
    /// What is larger could overflow before it cancels.
    const HIGH: f64;
    /// Σdy·(x−k) and σ² below this may have lost digits to underflow, 0 included: the exact product of two f64
    /// needs room below it. 0 where they cannot: that of two f32 has all of f64's exponents to itself.
    const SUM_MIN: f64;
    /// c may lose digits to underflow where n times this is at most the square of max(|m|, |h|)·|a|·invstd. For f32: an error of
    /// 2⁻¹⁵⁰ times √n/invstd is then below 2⁻⁵² of |a|·max |dy|, a fraction of a unit of dx. ∞ where none is let pass.
    const NEGLIGIBLE: f64;

    /// The value as an f64, exactly.
    fn to_f64(self) -> f64;
    /// The nearest value of this type.
    fn from_f64(v: f64) -> Self;

    /// Whether sums neither over- nor underflow, whatever the data.
    #[inline(always)]
    #[must_use]
    fn sums_are_safe() -> bool {
        Self::SUM_MIN == 0.0
    }
    /// Whether a number is not too large. False for NaN.
    #[inline(always)]
    #[must_use]
    fn fits(v: f64) -> bool {
        v.abs() <= Self::HIGH
    }
    /// Whether a sum has not overflowed.
    #[inline(always)]
    #[must_use]
    fn fits_sum(sum: f64) -> bool {
        Self::sums_are_safe() | Self::fits(sum)
    }
    /// Whether a sum of products is clear of underflow.
    #[inline(always)]
    #[must_use]
    fn sum_fits(sum: f64) -> bool {
        Self::sums_are_safe() | (sum.abs() >= Self::SUM_MIN)
    }
    /// The value in the wide type, exactly.
    #[inline(always)]
    fn widen(self) -> Self::Wide {
        Self::Wide::from_f64(self.to_f64())
    }
    /// The nearest value of this type.
    #[inline(always)]
    fn round(v: Self::Wide) -> Self {
        Self::from_f64(v.to_f64())
    }
}

macro_rules! real {
    ($t:ident, wide: $wide:ty, lanes: $lanes:literal, recentre: $recentre:expr, off_centre: $off_centre:expr, low: $low:expr, high: $high:literal, sum_min: $min:literal, negligible: $negligible:expr) => {
        impl Element for $t {
            type Compute = Self;
            const NAME: &'static str = stringify!($t);

            #[inline(always)]
            fn to_compute(self) -> Self {
                self
            }
            #[inline(always)]
            fn from_compute(v: Self) -> Self {
                v
            }
            fn widen_all(from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
            fn narrow_all(from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
            #[inline(always)]
            fn pick<P: PerElement>(of: P) -> P::Of<Self> {
                of.$t()
            }
        }

        impl Real for $t {
            type Wide = $wide;
            const LANES: usize = $lanes;
            const RECENTRE: f64 = $recentre;
            const OFF_CENTRE: f64 = $off_centre;
            const LOW: f64 = $low;
            const HIGH: f64 = $high;
            const SUM_MIN: f64 = $min;
            const NEGLIGIBLE: f64 = $negligible;

            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_f64(v: f64) -> Self {
                v as Self
            }
        }
    };
}

/// 2⁻¹⁹⁶ = (2⁻¹⁵⁰ / 2⁻⁵²)².
const F32_NEGLIGIBLE: f64 = 1.0 / (1u128 << 98) as f64 / (1u128 << 98) as f64;

real!(
    f32, wide: f64, lanes: 32, recentre: 16.0, off_centre: 4.0,
    low: f32::MIN_POSITIVE as f64, high: 1e30, sum_min: 0.0, negligible: F32_NEGLIGIBLE
);
real!(
    f64, wide: Dd, lanes: 8, recentre: 0.25, off_centre: 0.25,
    low: 1e-280, high: 1e280, sum_min: 1e-270, negligible: f64::INFINITY
);

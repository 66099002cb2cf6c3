//! The types a tensor may have, and the types it is computed in.

use super::range::Range;
use super::wide::{Dd, Wide};
use std::fmt::Debug;
use std::ops::{Add, Mul, Sub};

/// A tensor's element type: f32, f64, and with the feature `half` f16 and bf16.
pub trait Element: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    /// The type of arithmetic, parameters and running statistics: f32 for half types, else the type itself.
    type Compute: Real;
    /// Features with coefficients beyond it leave the kernels' arithmetic (see [`crate#range`]): far enough from
    /// the type's limits that a rounding error of a term that cancels cannot reach them.
    const RANGE: Range;
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

/// A type that arithmetic runs in: f32 and f64.
pub trait Real:
    Element<Compute = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// The type of sums and coefficients, of about twice the precision.
    type Wide: Wide;
    /// Virtual lanes per feature and sum where a feature's values lie side by side (`runs.rs`).
    const LANES: usize;
    /// A feature is summed around its mean where mean² exceeds this many variances: again in the forward, at once in the
    /// backward.
    ///
    /// Σx² − (Σx)²/n cancels by that factor, Σdy·x − μ·Σdy by its root. The products of f32 data are exact in f64 and the sums err by
    /// less than 2⁻⁴⁰, so 2¹² leaves them far below 2⁻²⁴; the products of f64 data are rounded to 2⁻⁵³.
    const RECENTRE: f64;
    /// Σdy·(x−k) and σ² below this (but for 0) may have lost digits to underflow: the exact product of two f64
    /// needs room below it, that of two f32 has all of f64's exponents to itself.
    const SUM_MIN: f64;

    /// The value as an f64, exactly.
    fn to_f64(self) -> f64;
    /// The nearest value of this type.
    fn from_f64(v: f64) -> Self;

    /// Whether a sum of products is clear of underflow.
    #[inline(always)]
    fn sum_fits(sum: f64) -> bool {
        (sum == 0.0) | (sum.abs() >= Self::SUM_MIN)
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
    ($t:ident, wide: $wide:ty, lanes: $lanes:literal, recentre: $recentre:expr, range: $range:literal, sum_min: $min:literal) => {
        impl Element for $t {
            type Compute = Self;
            const RANGE: Range = Range { low: 1.0 / $range, high: $range };
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
            const SUM_MIN: f64 = $min;

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

real!(f32, wide: f64, lanes: 32, recentre: 4096.0, range: 1e30, sum_min: 0.0);
real!(f64, wide: Dd, lanes: 8, recentre: 0.25, range: 1e280, sum_min: 1e-270);

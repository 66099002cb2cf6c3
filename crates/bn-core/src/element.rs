//! The types a tensor may have, and the types it is computed in.

use crate::coef::Range;
use crate::exec::Backend;
use crate::kernels::{Acc, Affine, GradAffine, Hints, Kernels, Tile};
use crate::strips::{Strips, StripsMut};
use crate::wide::{Dd, Wide};
use std::fmt::Debug;
use std::ops::{Add, Mul, Sub};

/// A tensor's element type: f32, f64, and with the feature `half` f16 and bf16.
///
/// These methods bring a tile of such elements to the kernels, which know [`Element::Compute`] only:
/// f32 and f64 are passed through, half types are converted tile by tile.
pub trait Element: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    /// The type of arithmetic, parameters and running statistics: f32 for half types, else the type itself.
    type Compute: Real;
    /// Features with coefficients beyond it leave the kernels' arithmetic (see [`crate#range`]): far enough from
    /// the type's limits that a rounding error of a term that cancels cannot reach them.
    const RANGE: Range;
    /// The name users and reports know the type by.
    const NAME: &'static str;

    /// [`Kernels::moments`] of a tile of this type.
    fn moments(
        kernels: &dyn Kernels<Self::Compute>,
        tile: Tile,
        x: Strips<'_, Self>,
        pilot: Option<&[Self::Compute]>,
        acc: Acc<'_>,
    );
    /// [`Kernels::normalize`] of a tile of this type.
    fn normalize(
        kernels: &dyn Kernels<Self::Compute>,
        tile: Tile,
        x: Strips<'_, Self>,
        affine: Affine<'_, Self::Compute>,
        y: StripsMut<'_, Self>,
        hints: Hints<'_, Self>,
    );
    /// [`Kernels::grad_sums`] of a tile of this type.
    fn grad_sums(
        kernels: &dyn Kernels<Self::Compute>,
        tile: Tile,
        x: Strips<'_, Self>,
        dy: Strips<'_, Self>,
        pilot: Option<&[Self::Compute]>,
        acc: Acc<'_>,
    );
    /// [`Kernels::grad_input`] of a tile of this type.
    fn grad_input(
        kernels: &dyn Kernels<Self::Compute>,
        tile: Tile,
        x: Strips<'_, Self>,
        dy: Strips<'_, Self>,
        affine: GradAffine<'_, Self::Compute>,
        dx: StripsMut<'_, Self>,
        hints: Hints<'_, Self>,
    );
    /// [`Kernels::normalize_and_moments`] of a tile of this type.
    fn normalize_and_moments(
        kernels: &dyn Kernels<Self::Compute>,
        tile: Tile,
        x: Strips<'_, Self>,
        affine: Affine<'_, Self::Compute>,
        y: StripsMut<'_, Self>,
        next: Strips<'_, Self>,
        acc: Acc<'_>,
    ) {
        Self::normalize(kernels, tile, x, affine, y, Hints::default());
        Self::moments(kernels, tile, next, None, acc);
    }
    /// [`Kernels::grad_input_and_sums`] of a tile of this type.
    fn grad_input_and_sums(
        kernels: &dyn Kernels<Self::Compute>,
        tile: Tile,
        [x, dy]: [Strips<'_, Self>; 2],
        affine: GradAffine<'_, Self::Compute>,
        dx: StripsMut<'_, Self>,
        [next_x, next_dy]: [Strips<'_, Self>; 2],
        acc: Acc<'_>,
    ) {
        Self::grad_input(kernels, tile, x, dy, affine, dx, Hints::default());
        Self::grad_sums(kernels, tile, next_x, next_dy, None, acc);
    }
    /// The value in the type it is computed in, exactly.
    fn to_compute(self) -> Self::Compute;
    /// The nearest value of this type.
    fn from_compute(v: Self::Compute) -> Self;
}

/// A type that kernels exist for: f32 and f64.
pub trait Real:
    Element<Compute = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// The type of sums and coefficients, of about twice the precision.
    type Wide: Wide;
    /// Virtual lanes per feature and sum where a feature's values lie side by side (`rows.rs`).
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
    /// `backend`'s kernels for this type.
    fn kernels<B: Backend>(backend: &B) -> &dyn Kernels<Self>;

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
            fn moments(
                kernels: &dyn Kernels<Self>,
                tile: Tile,
                x: Strips<'_, Self>,
                pilot: Option<&[Self]>,
                acc: Acc<'_>,
            ) {
                kernels.moments(tile, x, pilot, acc);
            }
            #[inline(always)]
            fn normalize(
                kernels: &dyn Kernels<Self>,
                tile: Tile,
                x: Strips<'_, Self>,
                affine: Affine<'_, Self>,
                y: StripsMut<'_, Self>,
                hints: Hints<'_, Self>,
            ) {
                kernels.normalize(tile, x, affine, y, hints);
            }
            #[inline(always)]
            fn grad_sums(
                kernels: &dyn Kernels<Self>,
                tile: Tile,
                x: Strips<'_, Self>,
                dy: Strips<'_, Self>,
                pilot: Option<&[Self]>,
                acc: Acc<'_>,
            ) {
                kernels.grad_sums(tile, x, dy, pilot, acc);
            }
            #[inline(always)]
            fn grad_input(
                kernels: &dyn Kernels<Self>,
                tile: Tile,
                x: Strips<'_, Self>,
                dy: Strips<'_, Self>,
                affine: GradAffine<'_, Self>,
                dx: StripsMut<'_, Self>,
                hints: Hints<'_, Self>,
            ) {
                kernels.grad_input(tile, x, dy, affine, dx, hints);
            }
            #[inline(always)]
            fn normalize_and_moments(
                kernels: &dyn Kernels<Self>,
                tile: Tile,
                x: Strips<'_, Self>,
                affine: Affine<'_, Self>,
                y: StripsMut<'_, Self>,
                next: Strips<'_, Self>,
                acc: Acc<'_>,
            ) {
                kernels.normalize_and_moments(tile, x, affine, y, next, acc);
            }
            #[inline(always)]
            fn grad_input_and_sums(
                kernels: &dyn Kernels<Self>,
                tile: Tile,
                inputs: [Strips<'_, Self>; 2],
                affine: GradAffine<'_, Self>,
                dx: StripsMut<'_, Self>,
                next: [Strips<'_, Self>; 2],
                acc: Acc<'_>,
            ) {
                kernels.grad_input_and_sums(tile, inputs, affine, dx, next, acc);
            }
            #[inline(always)]
            fn to_compute(self) -> Self {
                self
            }
            #[inline(always)]
            fn from_compute(v: Self) -> Self {
                v
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
            fn kernels<B: Backend>(backend: &B) -> &dyn Kernels<Self> {
                backend.$t()
            }
        }
    };
}

real!(f32, wide: f64, lanes: 32, recentre: 4096.0, range: 1e30, sum_min: 0.0);
real!(f64, wide: Dd, lanes: 8, recentre: 0.25, range: 1e280, sum_min: 1e-270);

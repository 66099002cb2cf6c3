//! The data that every shape is filled with: one name, one generator, seeded.

use bn_core::{Element, Real};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;

/// How a feature's inputs are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it; `input` has the formulae")]
pub enum X {
    Normal,
    Shifted,
    Constant,
    Zero,
    Ramp,
    OutlierFirst,
    OutlierLast,
    OutlierInside,
    /// mean/σ = 10³.
    LargeMean,
    /// mean/σ = 10⁶ in f32 and half types, 10¹² in f64.
    LargestMean,
    /// σ² far below eps.
    TinySpread,
    /// σ² far above what the type can hold.
    HugeSpread,
    /// Small integers, as pixels are: rounding errors of equal values add up.
    Pixels,
    /// Two values that nothing but a rounding tells apart from their mean.
    TwoNeighbours,
    NanInside,
    InfinityInside,
    /// Each feature another one of the others.
    Mixed,
}

/// How a feature's output gradients are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it; `gradient` has the formulae")]
pub enum Dy {
    Normal,
    Ones,
    /// 0.1 throughout, which no binary type has: dγ = Σdy·x̂ cancels, the rounding errors must too.
    Tenths,
    OneHot,
    /// x itself: dγ is large, dx nearly cancels.
    Input,
    Tiny,
    Large,
}

/// Every combination that is run.
pub const COMBINATIONS: &[(X, Dy)] = &[
    (X::Normal, Dy::Normal),
    (X::Normal, Dy::Ones),
    (X::Normal, Dy::Input),
    (X::Shifted, Dy::Normal),
    (X::Shifted, Dy::Tenths),
    (X::Constant, Dy::Normal),
    (X::Zero, Dy::Ones),
    (X::Ramp, Dy::Normal),
    (X::Ramp, Dy::Ones),
    (X::OutlierFirst, Dy::Normal),
    (X::OutlierFirst, Dy::OneHot),
    (X::OutlierLast, Dy::Normal),
    (X::OutlierInside, Dy::Ones),
    (X::LargeMean, Dy::Normal),
    (X::LargeMean, Dy::Tenths),
    (X::LargestMean, Dy::Normal),
    (X::LargestMean, Dy::Ones),
    (X::TinySpread, Dy::Normal),
    (X::TinySpread, Dy::Tiny),
    (X::HugeSpread, Dy::Normal),
    (X::HugeSpread, Dy::Large),
    (X::Pixels, Dy::Tenths),
    (X::Pixels, Dy::Input),
    (X::TwoNeighbours, Dy::Normal),
    (X::NanInside, Dy::Normal),
    (X::InfinityInside, Dy::Normal),
    (X::Mixed, Dy::Normal),
    (X::Normal, Dy::Tiny),
    (X::Normal, Dy::Large),
];

/// A seeded generator, the same everywhere.
#[must_use]
pub fn rng(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed)
}

/// A standard normal value.
pub fn normal(rng: &mut Pcg64Mcg) -> f64 {
    StandardNormal.sample(rng)
}

/// The limits that data of a type are made to.
struct Range {
    large_mean: f64,
    tiny: f64,
    huge: f64,
}

fn range<T: Element>() -> Range {
    match T::NAME {
        "f64" => Range { large_mean: 1e12, tiny: 1e-160, huge: 4e306 },
        "f16" => Range { large_mean: 1e3, tiny: 1e-3, huge: 5e3 },
        _ => Range { large_mean: 1e6, tiny: 1e-20, huge: 4e36 },
    }
}

/// n values of feature `f` as `kind` has them.
pub fn input<T: Element>(kind: X, f: usize, n: usize, rng: &mut Pcg64Mcg) -> Vec<T> {
    let Range { large_mean, tiny, huge } = range::<T>();
    let others =
        [X::Normal, X::Constant, X::LargestMean, X::TinySpread, X::OutlierFirst, X::NanInside, X::HugeSpread];
    let kind = if kind == X::Mixed { others[f % others.len()] } else { kind };
    let inside = n / 2;
    (0..n)
        .map(|i| {
            let z = normal(rng);
            let v = match kind {
                X::Normal | X::Mixed => z,
                X::Shifted => 5.0 * z + 12.0,
                X::Constant => 0.1 * (f as f64 + 1.0),
                X::Zero => 0.0,
                X::Ramp => i as f64 * 0.37 - 3.0,
                X::OutlierFirst if i == 0 => 1e6,
                X::OutlierLast if i + 1 == n => -1e6,
                X::OutlierInside if i == inside => 1e4,
                X::OutlierFirst | X::OutlierLast | X::OutlierInside => z,
                X::LargeMean => z + 1e3,
                X::LargestMean => z - large_mean,
                X::TinySpread => z * tiny,
                X::HugeSpread => z.clamp(-20.0, 20.0) * huge,
                X::Pixels => f64::from(rng.random_range(0..17u8)),
                X::TwoNeighbours => 1.0 + f64::from(rng.random_range(0..2u8)) * 2f64.powi(-7),
                X::NanInside if i == inside && f.is_multiple_of(2) => f64::NAN,
                X::InfinityInside if i == inside && f.is_multiple_of(2) => f64::INFINITY,
                X::NanInside | X::InfinityInside => z,
            };
            T::from_compute(T::Compute::from_f64(v))
        })
        .collect()
}

/// The output gradients that go with the inputs `x`.
pub fn gradient<T: Element>(kind: Dy, x: &[T], rng: &mut Pcg64Mcg) -> Vec<T> {
    let Range { tiny, huge, .. } = range::<T>();
    let hot = x.len() / 3;
    x.iter()
        .enumerate()
        .map(|(i, x)| {
            let z = normal(rng);
            let v = match kind {
                Dy::Normal => z,
                Dy::Ones => 1.0,
                Dy::Tenths => 0.1,
                Dy::OneHot => f64::from(u8::from(i == hot)),
                Dy::Input => x.to_compute().to_f64(),
                Dy::Tiny => z * tiny,
                Dy::Large => z.clamp(-20.0, 20.0) * huge / 1e3,
            };
            T::from_compute(T::Compute::from_f64(v))
        })
        .collect()
}

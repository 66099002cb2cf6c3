//! Renormalized cases of the table: running statistics near the batch's and far from it, limits that are met and limits that are
//! not.

use crate::case::Case;
use crate::data::{Dy, X, normal, rng};
use crate::hard::{Hard, Where, hard};
use crate::table::{Entry, first, inputs, last};
use bn_core::{Element, Mode, Real};

/// The limits, in turns: plain, the paper's, tight ones, and ones that few features meet.
const LIMITS: [[f64; 2]; 4] = [[1.0, 0.0], [3.0, 5.0], [1.5, 0.25], [1e3, 1e4]];

/// Few and many features, short and long runs, features last, and sums of several leaves.
const SHAPES: &[Entry] = &[
    first(&[4, 5]),
    first(&[67, 13]),
    first(&[3, 5, 64]),
    first(&[3, 4, 259]),
    last(&[4, 5, 7]),
    last(&[70, 31, 3]),
    first(&[3, 2, 20_011]),
];

const DATA: &[(X, Dy)] = &[
    (X::Normal, Dy::Normal),
    (X::Shifted, Dy::Tenths),
    (X::Ramp, Dy::Ones),
    (X::LargestMean, Dy::Normal),
    (X::TinySpread, Dy::Tiny),
    (X::HugeSpread, Dy::Large),
    (X::TwoNeighbours, Dy::Normal),
    (X::NanInside, Dy::Normal),
    (X::Mixed, Dy::Input),
];

const KINDS: &[Hard] = &[
    Hard::DecayedWeight,
    Hard::SubnormalWeight,
    Hard::HugeWeight,
    Hard::HugeX,
    Hard::TinyX,
    Hard::SubnormalX,
    Hard::SubnormalDy,
    Hard::FarDy,
    Hard::NanInDy,
    Hard::OneInfinityInDy,
    Hard::HugeConstant,
    Hard::Neighbours,
    Hard::Outlier,
    Hard::SubnormalY,
    Hard::TinyEps,
    Hard::HugeEps,
];

/// What is renormalized.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    /// Plain data.
    Plain(X, Dy),
    /// Hard features.
    Hard(Hard),
}

/// Every case: entry, data, and the turn of limits and settings.
pub(crate) fn all() -> impl Iterator<Item = (Entry, Of, usize)> {
    let plain = SHAPES.iter().flat_map(|entry| DATA.iter().map(move |&(x, dy)| (*entry, Of::Plain(x, dy))));
    let hard = SHAPES[..5].iter().flat_map(|entry| KINDS.iter().map(move |kind| (*entry, Of::Hard(*kind))));
    plain.chain(hard).enumerate().map(|(turn, (entry, of))| (entry, of, turn))
}

/// A case without its answer.
pub(crate) fn renormed<T: Element>(entry: Entry, of: Of, turn: usize) -> Case<T> {
    // With γ, β and running statistics; eps = 10⁻⁵ or 10⁻³⁰.
    let variant = [0, 2][turn / LIMITS.len() % 2];
    let mut case = match of {
        Of::Plain(x, dy) => inputs::<T>(entry, (x, dy), variant),
        Of::Hard(kind) => hard::<T>(entry, kind, [Where::All, Where::Alternating][turn % 2], variant),
    };
    let limits = LIMITS[turn % LIMITS.len()];
    (case.name, case.mode) = (format!("{}_renorm_{}_{}", case.name, limits[0], limits[1]), Mode::Train);
    case.renorm = Some(limits);
    let mut rng = rng(turn as u64 + 41);
    let by_feature = case.by_feature(&case.x);
    let Some([mean, var]) = &mut case.running else { return case };
    for (f, x) in by_feature.iter().enumerate().filter(|(f, _)| f % 3 != 2) {
        // Near the batch's, or just these.
        let (n, step) = (x.len() as f64, if f % 3 == 1 { 0.0 } else { 0.3 });
        let own = x.iter().sum::<f64>() / n;
        let spread = x.iter().map(|x| (x - own).powi(2)).sum::<f64>() / n;
        if own.is_finite() && spread.is_finite() {
            mean[f] = T::Compute::from_f64(own + step * normal(&mut rng) * spread.sqrt());
            var[f] = T::Compute::from_f64(spread * (step * normal(&mut rng)).exp());
        }
    }
    case
}

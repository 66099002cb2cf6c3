//! Cases whose steps have options: an activation, a residual, a mask, over data that are plain, odd and hard.

use crate::case::Case;
use crate::data::{self, Dy, X, normal};
use crate::hard::{self, HARD_SHAPES, Hard, Where};
use crate::measure::Scales;
use crate::oracle::Expected;
use crate::table::{Entry, answers, expected_of, first, inputs, last};
use bn_core::{Activation, Element, Real};
use rand::RngExt;

/// Every spread, with a remainder behind lanes and lines, and a single position.
pub const SHAPES: &[Entry] = &[
    first(&[5, 3]),
    first(&[67, 13]),
    first(&[37, 129]),
    first(&[3, 5, 49]),
    first(&[2, 3, 519]),
    first(&[2, 2, 2049]),
    last(&[4, 5, 7]),
    first(&[2, 3, 1]),
];

/// Data of plain features and of odd ones.
const DATA: [(X, Dy); 6] = [
    (X::Normal, Dy::Normal),
    (X::Shifted, Dy::Tenths),
    (X::LargeMean, Dy::Normal),
    (X::Constant, Dy::Normal),
    (X::InfinityInside, Dy::Normal),
    (X::Mixed, Dy::Input),
];

/// Kinds whose forward, backward or both leave the range.
const KINDS: [Hard; 9] = [
    Hard::DecayedWeight,
    Hard::HugeWeight,
    Hard::HugeX,
    Hard::TinyX,
    Hard::FarDy,
    Hard::NanInDy,
    Hard::OneInfinityInDy,
    Hard::SubnormalY,
    Hard::TinyRunningVar,
];

const ACTIVATIONS: [Activation; 5] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu(0.01),
    Activation::Identity,
    Activation::LeakyRelu(0.25),
];

/// What a case is made of.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Data of the table, and a variant of [`inputs`].
    Plain((X, Dy), usize),
    /// A hard kind.
    Hard(Hard),
}

/// Every case: its shape, what it is made of, and its number, which says what is done beside.
pub fn all() -> impl Iterator<Item = (Entry, Kind, usize)> {
    let plain = SHAPES.iter().flat_map(|entry| DATA.iter().map(move |data| (*entry, Ok(*data))));
    let hard = HARD_SHAPES.iter().flat_map(|entry| KINDS.iter().map(move |kind| (*entry, Err(*kind))));
    plain.chain(hard).enumerate().map(|(number, (entry, of))| {
        (entry, of.map_or_else(Kind::Hard, |data| Kind::Plain(data, [0, 4, 7, 0, 5][number % 5])), number)
    })
}

/// A case without its answer.
#[must_use]
pub fn dressed<T: Element>(entry: Entry, kind: Kind, number: usize) -> Case<T> {
    let mut case = match kind {
        Kind::Plain(data, variant) => inputs::<T>(entry, data, variant),
        Kind::Hard(kind) => {
            let place = [Where::One, Where::All, Where::Alternating][number % 3];
            hard::hard::<T>(entry, kind, place, hard::VARIANTS[number % hard::VARIANTS.len()])
        }
    };
    let mut rng = data::rng(number as u64 + 41);
    let narrow = |v: f64| T::from_compute(T::Compute::from_f64(v));
    case.activation = ACTIVATIONS[number % ACTIVATIONS.len()];
    if number.is_multiple_of(2) || case.activation == Activation::Identity {
        // In units of y, and now and then far larger or smaller.
        let size = [1.0, 1e-3, 30.0][number % 3];
        case.residual = Some((0..case.x.len()).map(|_| narrow(size * normal(&mut rng))).collect());
    }
    if number % 3 == 1 {
        let positions = case.x.len() / case.features().max(1);
        // One position in three, or the last part of each sample.
        let inner = case.inner();
        let mask = (0..positions).map(|at| match number % 2 {
            0 => rng.random_range(0..3) > 0,
            _ => inner < 4 || at % inner < inner * 3 / 4,
        });
        case.mask = Some(mask.collect());
        let odd = narrow(f64::NAN);
        for index in (0..case.x.len()).filter(|index| !case.is_valid(*index)).collect::<Vec<_>>() {
            case.x[index] = odd;
            case.dy.iter_mut().chain(&mut case.residual).for_each(|tensor| tensor[index] = odd);
        }
    }
    case.name = format!("{}_{:?}_options{number}", case.name, case.activation);
    case
}

/// A case with its answer. Where a value before the activation is so near a corner that either gate is right, dy is 0.
#[must_use]
pub fn answered<T: Element>(entry: Entry, kind: Kind, number: usize) -> Case<T> {
    let mut case = dressed::<T>(entry, kind, number);
    let scales = Scales::of(&case);
    let mut found = answers(&case);
    let near: Vec<Vec<bool>> = found.iter().enumerate().map(|(f, e)| near::<T>(e, scales.y(f))).collect();
    if case.activation != Activation::Identity && near.iter().flatten().any(|near| *near) {
        let near: Vec<_> = near.into_iter().map(|feature| case.spread(feature, false)).collect();
        let near = case.by_position(&near);
        let dy = case.dy.iter_mut().flatten();
        dy.zip(near).filter(|(_, near)| *near).for_each(|(dy, _)| *dy = T::default());
        found = answers(&case);
    }
    case.expect = expected_of(&case, &found, None);
    case
}

/// Which values before the activation lie near a corner.
fn near<T: Element>(expected: &Expected, scale: f64) -> Vec<bool> {
    let u = if T::Compute::NAME == "f64" { 2f64.powi(-53) } else { 2f64.powi(-24) };
    // Half types round before they compare: the least number, and a step below 6.
    let [least, step] = match T::NAME {
        "f16" => [-24, -8].map(|e| 2f64.powi(e)),
        "bf16" => [-133, -5].map(|e| 2f64.powi(e)),
        _ => [0.0; 2],
    };
    let apart = 16.0 * u * scale;
    let of = |v: f64| v.abs() <= apart + least || (v - 6.0).abs() <= apart + step;
    expected.before.iter().map(|v| of(v.near)).collect()
}

//! The cases of the double backward: those of the table and the hard ones, with cotangents.

use crate::case::{Case, Cotangents};
use crate::data::{self, Dy, X, normal};
use crate::hard::{self, Hard, Where};
use crate::table::{Entry, first, inputs, last};
use bn_core::{Element, Real};

/// Around the lane counts, joined rows, features last, runs, and nothing at all.
const SHAPES: &[Entry] = &[
    first(&[0, 3]),
    first(&[2, 1]),
    first(&[4, 5]),
    first(&[67, 13]),
    first(&[5, 257]),
    first(&[3, 1031]),
    first(&[2, 3, 33]),
    first(&[1, 4, 97]),
    first(&[2, 67, 7, 7]),
    first(&[3, 4, 259]),
    last(&[3, 4, 5, 7]),
    last(&[1, 11, 13, 65]),
];

/// Shapes whose sums are long.
const LONG: &[Entry] = &[
    first(&[100_000, 1]),
    first(&[3, 2, 20_021]),
    last(&[30_001, 3]),
    first(&[2, 37, 1000]),
    first(&[130, 400]),
    first(&[2, 2, 2049]),
];

const DATA: &[(X, Dy)] = &[
    (X::Normal, Dy::Normal),
    (X::Normal, Dy::Ones),
    (X::Shifted, Dy::Tenths),
    (X::Constant, Dy::Normal),
    (X::OutlierFirst, Dy::Normal),
    (X::OutlierInside, Dy::OneHot),
    (X::LargestMean, Dy::Normal),
    (X::TinySpread, Dy::Tiny),
    (X::HugeSpread, Dy::Normal),
    (X::Pixels, Dy::Input),
    (X::TwoNeighbours, Dy::Normal),
    (X::NanInside, Dy::Normal),
    (X::Mixed, Dy::Large),
];

const LONG_DATA: &[(X, Dy)] = &[(X::Shifted, Dy::Tenths), (X::Normal, Dy::Normal), (X::Pixels, Dy::Input)];

/// How the cotangents of dx are distributed, in turns.
const V: &[Dy] = &[Dy::Normal, Dy::Normal, Dy::Input, Dy::Ones, Dy::OneHot, Dy::Tenths, Dy::Tiny];

const HARD_SHAPES: &[Entry] = &[first(&[9, 5]), first(&[33, 37]), first(&[2, 3, 519]), last(&[4, 5, 7])];

const HARD: &[Hard] = &[
    Hard::DecayedWeight,
    Hard::TinyWeight,
    Hard::HugeWeight,
    Hard::HugeX,
    Hard::TinyX,
    Hard::SubnormalX,
    Hard::TinyDy,
    Hard::SubnormalDy,
    Hard::FarDy,
    Hard::ConstantDy,
    Hard::NanInDy,
    Hard::OneInfinityInDy,
    Hard::HugeConstant,
    Hard::Neighbours,
    Hard::Outlier,
    Hard::TinyEps,
    Hard::HugeEps,
    Hard::TinyRunningVar,
    Hard::HugeRunningVar,
];

/// What is hard about v, in turns, or nothing.
const HARD_V: &[Option<Hard>] = &[
    None,
    Some(Hard::FarDy),
    Some(Hard::NanInDy),
    Some(Hard::TinyDy),
    None,
    Some(Hard::OneInfinityInDy),
    Some(Hard::ConstantDy),
];

/// A case of the double backward.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// With plain data.
    Plain((X, Dy)),
    /// With a hard feature or more.
    Hard(Hard, Where),
}

/// Every case of the double backward: its shape, its data and the number that turns settings and cotangents.
pub fn all() -> impl Iterator<Item = (Entry, Kind, usize)> {
    let plain = SHAPES.iter().flat_map(|entry| DATA.iter().map(move |data| (*entry, Kind::Plain(*data))));
    let long = LONG.iter().flat_map(|entry| LONG_DATA.iter().map(move |data| (*entry, Kind::Plain(*data))));
    let hard = HARD_SHAPES.iter().enumerate().flat_map(|(s, entry)| {
        HARD.iter().enumerate().map(move |(kind, hard)| {
            let place = [Where::All, Where::Alternating, Where::One][(s + kind) % 3];
            (*entry, Kind::Hard(*hard, place))
        })
    });
    plain.chain(long).chain(hard).enumerate().map(|(turn, (entry, kind))| (entry, kind, turn))
}

/// A case of [`all`] without its answer.
#[must_use]
pub fn case<T: Element>(entry: Entry, kind: Kind, turn: usize) -> Case<T> {
    let mut case = match kind {
        Kind::Plain(data) => inputs::<T>(entry, data, turn),
        Kind::Hard(kind, place) => hard::hard::<T>(entry, kind, place, hard::VARIANTS[turn % 4]),
    };
    case.name += "_second";
    let mut rng = data::rng(turn as u64 + 101);
    let features = case.features();
    let mut param = || (0..features).map(|_| T::Compute::from_f64(normal(&mut rng))).collect::<Vec<_>>();
    let (dweight, dbias) = (Some(param()), Some(param()));
    let dx = match (kind, HARD_V[turn % HARD_V.len()]) {
        (Kind::Hard(_, place), Some(of_v)) => {
            hard::hard::<T>(entry, of_v, place, hard::VARIANTS[(turn + 1) % 4]).dy.unwrap_or_default()
        }
        _ => data::gradient(V[turn % V.len()], &case.x, &mut rng),
    };
    // Every eleventh case lacks one of them.
    let absent = if turn % 11 < 3 { turn % 11 } else { 3 };
    case.cotangents = Some(Cotangents {
        dx: Some(dx).filter(|_| absent != 0),
        dweight: dweight.filter(|_| absent != 1),
        dbias: dbias.filter(|_| absent != 2),
    });
    case
}

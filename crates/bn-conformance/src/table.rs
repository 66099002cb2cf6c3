//! The conformance table: shapes × data, each with the oracle's answer.

use crate::case::{Case, Results, Tensor};
use crate::data::{self, Dy, X};
use crate::exact::Exact;
use crate::oracle::{Expected, Feature, answer};
use crate::oracle_second::{Cotangent, Second, answer_second};
use bn_core::{Config, RunningVar};
use bn_core::{Element, Layout, Mode, Real};

/// A shape of the table: dimensions as the layout has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the features are.
    pub layout: Layout,
    /// The dimensions.
    pub dims: &'static [usize],
}

pub(crate) const fn first(dims: &'static [usize]) -> Entry {
    Entry { layout: Layout::ChannelsFirst, dims }
}

pub(crate) const fn last(dims: &'static [usize]) -> Entry {
    Entry { layout: Layout::ChannelsLast, dims }
}

/// Shapes around the lane counts (32, 8), the phases and blocks of the plan, and nothing at all.
pub const SHAPES: &[Entry] = &[
    first(&[0, 3]),
    first(&[3, 0]),
    first(&[2, 1]),
    first(&[2, 3]),
    first(&[4, 5]),
    first(&[3, 31]),
    first(&[7, 32]),
    first(&[8, 33]),
    first(&[31, 7]),
    first(&[67, 13]),
    first(&[33, 1]),
    first(&[257, 2]),
    first(&[1031, 1]),
    first(&[37, 129]),
    first(&[5, 257]),
    first(&[3, 1031]),
    first(&[4, 3, 0]),
    first(&[1, 2, 2]),
    first(&[5, 3, 1]),
    first(&[1, 1, 31]),
    first(&[3, 2, 7]),
    first(&[2, 3, 31]),
    first(&[2, 3, 32]),
    first(&[2, 3, 33]),
    first(&[3, 5, 64]),
    first(&[1, 4, 97]),
    first(&[4, 37, 3, 3]),
    first(&[2, 67, 7, 7]),
    first(&[3, 2, 2, 3, 5]),
    first(&[1, 3, 1021]),
    first(&[3, 4, 259]),
    last(&[4, 5, 3]),
    last(&[3, 4, 5, 7]),
    last(&[2, 3, 4, 2, 5]),
    last(&[1, 11, 13, 65]),
];

/// Shapes whose sums are long, run with few data sets: many rows of one feature, batches of several leaves; and
/// shapes with enough blocks of features to be shared out between threads.
pub const LONG: &[Entry] = &[
    first(&[400_000, 1]),
    first(&[3, 2, 50_021]),
    last(&[70_001, 3]),
    first(&[3, 301, 7, 7]),
    first(&[40, 1101]),
    first(&[2, 37, 1000]),
    // Rows that are joined, with more features than a block would take of separate ones.
    first(&[256, 512]),
    first(&[130, 400]),
    // Half types cut runs of more than 2048 elements; what is left of these is short.
    first(&[2, 2, 2049]),
    first(&[1, 3, 2070]),
];

/// The data sets for the long shapes: those that wear out a sum.
pub const LONG_DATA: &[(X, Dy)] = &[
    (X::Shifted, Dy::Tenths),
    (X::Ramp, Dy::Ones),
    (X::OutlierFirst, Dy::Normal),
    (X::LargestMean, Dy::Ones),
    (X::Pixels, Dy::Tenths),
];

/// A case of the table with its answer from the oracle.
#[must_use]
pub fn case<T: Element>(entry: Entry, data: (X, Dy), variant: usize) -> Case<T> {
    let mut case = inputs(entry, data, variant);
    case.expect = expected(&case);
    case
}

/// A case of the table without its answer. `variant` turns the settings: mode, which of γ and β there are, tracking, eps,
/// momentum and which variance is tracked.
#[must_use]
pub fn inputs<T: Element>(entry: Entry, (x, dy): (X, Dy), variant: usize) -> Case<T> {
    let Entry { layout, dims } = entry;
    let dims_name: Vec<String> = dims.iter().map(ToString::to_string).collect();
    let name = format!("{}_{layout:?}_{x:?}_{dy:?}_{}_v{variant}", dims_name.join("x"), T::NAME);
    let seed = name.bytes().fold(7u64, |h, b| h.wrapping_mul(0x0100_0000_01b3) ^ u64::from(b));
    let mut rng = data::rng(seed);
    let config = Config::default()
        .eps([1e-5, 1e-3, 1e-30, 1e-5][variant % 4])
        .momentum([Some(0.1), None, Some(0.9), Some(1.0)][variant % 4])
        .running_var(if variant % 3 == 2 { RunningVar::Biased } else { RunningVar::Unbiased })
        .layout(layout);
    let mut case = Case::<T> {
        name,
        dims: dims.to_vec(),
        mode: if variant % 5 == 4 { Mode::Eval } else { Mode::Train },
        config,
        num_batches_tracked: 3,
        x: Vec::new(),
        dy: None,
        affine: [None, None],
        running: None,
        ..Case::default()
    };
    let features = case.features();
    let parameter = |rng: &mut _, spread: f64, centre: f64| {
        (0..features).map(|_| T::Compute::from_f64(spread * data::normal(rng) + centre)).collect::<Vec<_>>()
    };
    let [weight, bias] = [![5, 6].contains(&(variant % 7)), ![3, 6].contains(&(variant % 7))];
    case.affine = [(weight, 0.5, 1.0), (bias, 1.0, 0.0)]
        .map(|(has, spread, centre)| has.then(|| parameter(&mut rng, spread, centre)));
    if variant % 6 != 5 {
        let var = (0..features).map(|_| T::Compute::from_f64(data::normal(&mut rng).powi(2) + 0.1)).collect();
        case.running = Some([parameter(&mut rng, 1.0, 0.0), var]);
    }
    let count = dims.iter().product::<usize>() / features.max(1);
    let by_feature: Vec<Vec<T>> = (0..features).map(|f| data::input(x, f, count, &mut rng)).collect();
    let gradients: Vec<Vec<T>> = by_feature.iter().map(|x| data::gradient(dy, x, &mut rng)).collect();
    let flat = |split: &[Vec<T>]| -> Vec<T> {
        // by_position works on f64, which holds every type exactly.
        let wide: Vec<Vec<f64>> = split.iter().map(|v| crate::run::widened(v)).collect();
        case.by_position(&wide).into_iter().map(|v| T::from_compute(T::Compute::from_f64(v))).collect()
    };
    let (x_flat, dy_flat) = (flat(&by_feature), flat(&gradients));
    (case.x, case.dy) = (x_flat, Some(dy_flat));
    case
}

/// The oracle's answer to a case.
#[must_use]
pub fn expected<T: Element>(case: &Case<T>) -> Results {
    let features = features(case);
    let answers: Vec<Expected> = features.iter().map(answer).collect();
    expected_of(case, &answers, second(case, &features))
}

/// The oracle's answer to each feature of a case.
pub(crate) fn answers<T: Element>(case: &Case<T>) -> Vec<Expected> {
    features(case).iter().map(answer).collect()
}

fn features<T: Element>(case: &Case<T>) -> Vec<Feature> {
    let valid = |tensor: &[T]| -> Vec<Vec<f64>> {
        case.by_feature(tensor).into_iter().map(|values| case.valid(values)).collect()
    };
    let x = valid(&case.x);
    let none = || vec![Vec::new(); x.len()];
    let [dy, plus] = [&case.dy, &case.residual].map(|t| t.as_deref().map_or_else(none, valid));
    let momentum = match case.config.momentum {
        Some(m) => (m, 1.0),
        None => (1.0, (case.num_batches_tracked + 1) as f64),
    };
    x.into_iter()
        .zip(dy.into_iter().zip(plus))
        .enumerate()
        .map(|(f, (x, (dy, plus)))| Feature {
            x,
            below: dy.iter().map(|dy| case.below(*dy)).collect(),
            dy,
            plus,
            activation: case.rounded_activation(),
            affine: case.params(f),
            running: case.running.as_ref().map(|[m, v]| (m[f].to_f64(), v[f].to_f64())),
            from_batch: case.from_batch(),
            renorm: case.renormed(),
            eps: case.config.eps,
            momentum,
            biased: case.config.running_var == RunningVar::Biased,
        })
        .collect()
}

/// The same as tensors.
pub(crate) fn expected_of<T: Element>(
    case: &Case<T>,
    features: &[Expected],
    second: Option<Vec<Second>>,
) -> Results {
    let mut results = Results::default();
    let mut insert = |tensor, values: Vec<Exact>| match T::NAME {
        // Of the other types f64 has digits to spare.
        "f64" => results.insert_exact(tensor, &values),
        _ => results.insert(tensor, values.iter().map(|v| v.near).collect()),
    };
    let each = |value: &dyn Fn(&Expected) -> Exact| features.iter().map(value).collect::<Vec<_>>();
    let tensor = |value: &dyn Fn(&Expected) -> Vec<Exact>| {
        let spread = |e: &Expected| case.spread(value(e), Exact::rounded(0.0));
        case.by_position(&features.iter().map(spread).collect::<Vec<_>>())
    };
    insert(Tensor::Y, tensor(&|e| e.y.clone()));
    insert(Tensor::Dx, tensor(&|e| e.dx.clone()));
    if case.residual.is_some() {
        insert(Tensor::Dresidual, tensor(&|e| e.passed.clone()));
    }
    if case.affine[0].is_some() {
        insert(Tensor::Dweight, each(&|e| e.dparams.0));
    }
    if case.affine[1].is_some() {
        insert(Tensor::Dbias, each(&|e| e.dparams.1));
    }
    let empty = case.count() == 0;
    if case.from_batch() && !empty {
        insert(Tensor::Mean, each(&|e| e.stats.0));
        insert(Tensor::Var, each(&|e| e.stats.1));
    }
    if let Some([mean, var]) = &case.running {
        let committed = case.mode == Mode::Train && !empty;
        let pick = |get: &dyn Fn((Exact, Exact)) -> Exact, before: &[T::Compute]| match committed {
            true => each(&|e| e.running.map_or(Exact::rounded(f64::NAN), get)),
            false => before.iter().map(|v| Exact::rounded(v.to_f64())).collect(),
        };
        insert(Tensor::RunningMean, pick(&|r| r.0, mean));
        insert(Tensor::RunningVar, pick(&|r| r.1, var));
    }
    if let Some(second) = second {
        let tensor = |value: &dyn Fn(&Second) -> Vec<Exact>| {
            case.by_position(&second.iter().map(value).collect::<Vec<_>>())
        };
        insert(Tensor::DdDy, tensor(&|e| e.dy.clone()));
        insert(Tensor::DdX, tensor(&|e| e.x.clone()));
        if case.affine[0].is_some() {
            insert(Tensor::DdWeight, second.iter().map(|e| e.weight).collect());
        }
    }
    results
}

/// The double backward's answer, where the case has cotangents.
fn second<T: Element>(case: &Case<T>, features: &[Feature]) -> Option<Vec<Second>> {
    let own = case.cotangents.as_ref()?;
    let v = own.dx.as_ref().map(|dx| case.by_feature(dx));
    let of = |param: &Option<Vec<T::Compute>>, f: usize| param.as_ref().map(|p| p[f].to_f64());
    let each = features.iter().enumerate().map(|(f, feature)| {
        let cotangent = Cotangent {
            v: v.as_ref().map(|v| v[f].clone()),
            params: (of(&own.dweight, f), of(&own.dbias, f)),
        };
        answer_second(feature, &cotangent)
    });
    Some(each.collect())
}

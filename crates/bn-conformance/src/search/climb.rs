//! One climb: from a starting point, a random step at a time, to data with a larger error of one tensor.
//!
//! A step changes one to three numbers of the case, the oracle answers the new case, and the step is kept where the error of
//! the climb's tensor does not fall below a bound. At first the bound is somewhat lower than the error reached, so that a climb
//! leaves small hills; at the end it is the error itself.

use super::Subject;
use super::starts::{STARTS, start};
use super::word::{Word, neighbour, nudged};
use crate::case::{Case, Cotangents, Tensor};
use crate::measure::{Row, check};
use crate::table::expected;
use bn_core::{Mode, Real};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// The most values of a feature that steps add to.
const MOST: usize = 64;

/// The share of the error that a step may lose at first.
const LOSS: f64 = 0.05;

/// The worst that was seen of a tensor: its row, and the case with its answers.
pub(super) struct Worst<T: Word> {
    pub(super) row: Row,
    pub(super) case: Case<T>,
}

/// What a climb came to.
pub(super) struct Climbed<T: Word> {
    pub(super) steps: u64,
    /// Of each tensor that was seen, not only of the climb's own.
    pub(super) worst: Vec<Worst<T>>,
}

/// A row's error as a share of its limit; ∞ for what no limit measures.
pub(super) fn share(row: &Row) -> f64 {
    let share = row.error / row.limit;
    if share.is_nan() { f64::INFINITY } else { share }
}

/// Where a climb goes, and how far.
pub(super) struct Way<'a> {
    /// The tensor whose error is to grow.
    pub(super) tensor: Tensor,
    /// The steps of a short feature.
    pub(super) steps: u64,
    /// Whether to end early.
    pub(super) stop: &'a dyn Fn() -> bool,
}

/// Climbs from a starting point of any kind.
pub(super) fn climb<T: Word, S: Subject>(
    subject: &S,
    &Way { tensor, steps, stop }: &Way<'_>,
    mut rng: Pcg64Mcg,
) -> Climbed<T>
where
    T::Compute: Word,
{
    let rng = &mut rng;
    let mut at = start::<T>(rng.random_range(0..STARTS.len()), rng);
    if matches!(tensor, Tensor::DdDy | Tensor::DdX | Tensor::DdWeight) {
        let other = start::<T>(rng.random_range(0..STARTS.len()), rng);
        let dx = other.dy.map(|dy| dy.into_iter().cycle().take(at.x.len()).collect());
        let [dweight, dbias] = other.affine;
        at.cotangents = Some(Cotangents { dx, dweight, dbias });
    }
    let mut climbed = Climbed { steps: 0, worst: Vec::new() };
    let mut reached = judge(subject, &mut at, tensor, &mut climbed.worst);
    // A long feature takes as much time as many short ones.
    let steps = (steps * 64 / at.x.len().max(64) as u64).max(50);
    for step in 0..steps {
        if step % 64 == 63 && stop() {
            break;
        }
        climbed.steps += 1;
        let mut next = at.clone();
        for _ in 0..[1, 1, 1, 2, 3][rng.random_range(0..5)] {
            moved(&mut next, tensor, rng);
        }
        let error = judge(subject, &mut next, tensor, &mut climbed.worst);
        let loss = LOSS * (1.0 - step as f64 / steps as f64) * rng.random_range(0.0..1.0f64).powi(3);
        if error >= reached * (1.0 - loss) {
            (at, reached) = (next, error);
        }
    }
    climbed
}

/// The error of `tensor` in the answer of `subject`; 0 where it is not given. Every tensor's row is held against the worst so far.
fn judge<T: Word, S: Subject>(
    subject: &S,
    case: &mut Case<T>,
    tensor: Tensor,
    worst: &mut Vec<Worst<T>>,
) -> f64 {
    case.expect = expected(case);
    // A case that is refused gives no tensor, and each that is expected counts as broken.
    let got = subject.answer(case).unwrap_or_default();
    let mut own = 0.0;
    for row in check(case, &got) {
        let share = share(&row);
        if row.tensor == tensor {
            own = share;
        }
        match worst.iter_mut().find(|w| w.row.tensor == row.tensor) {
            Some(w) if self::share(&w.row) < share => *w = Worst { row, case: case.clone() },
            Some(_) => {}
            None => worst.push(Worst { row, case: case.clone() }),
        }
    }
    own
}

/// What a step may change.
#[derive(Clone, Copy)]
enum Part {
    X,
    Dy,
    Weight,
    Bias,
    Eps,
    Running,
    Momentum,
    Count,
    /// The cotangent of dx, of dγ and of dβ.
    V,
    W,
    Z,
}

/// What a tensor follows from, the more often named the more it is changed.
fn parts(tensor: Tensor, eval: bool) -> &'static [Part] {
    use Part::{Bias, Count, Dy, Eps, Momentum, Running, V, W, Weight, X, Z};
    match (tensor, eval) {
        (Tensor::Y, true) => &[X, X, X, Weight, Bias, Eps, Running, Count],
        (Tensor::Y, false) => &[X, X, X, X, Weight, Weight, Bias, Eps, Count],
        (Tensor::Dx, true) => &[Dy, Dy, Dy, Weight, Eps, Running],
        (Tensor::Dx, false) => &[X, X, X, Dy, Dy, Dy, Weight, Eps, Count],
        (Tensor::Dweight, true) => &[X, X, Dy, Dy, Eps, Running, Count],
        (Tensor::Dweight, false) => &[X, X, X, Dy, Dy, Dy, Eps, Count],
        (Tensor::Dbias, _) => &[Dy, Dy, Dy, Count],
        (Tensor::Mean | Tensor::Var, _) => &[X, X, X, Count],
        (Tensor::RunningMean | Tensor::RunningVar, _) => &[X, X, Running, Momentum, Count],
        (Tensor::DdDy, _) => &[X, X, X, V, V, V, Weight, W, Z, Eps, Running, Count],
        (Tensor::DdX, _) => &[X, X, X, Dy, Dy, V, V, Weight, W, Eps, Count],
        (Tensor::DdWeight, _) => &[X, X, Dy, Dy, V, V, Eps, Count],
        (Tensor::Dresidual, _) => &[X, Dy],
    }
}

/// Changes one number of the case, or how many there are.
fn moved<T: Word>(case: &mut Case<T>, tensor: Tensor, rng: &mut Pcg64Mcg)
where
    T::Compute: Word,
{
    let parts = parts(tensor, case.mode == Mode::Eval);
    let part = parts[rng.random_range(0..parts.len())];
    match part {
        Part::X => {
            let mean = mean_of(&case.x);
            let near =
                case.running.as_ref().filter(|_| case.mode == Mode::Eval).map(|[mean, _]| mean[0].to_f64());
            value_moved(&mut case.x, near.unwrap_or(mean), rng);
        }
        Part::Dy => {
            if let Some(dy) = &mut case.dy {
                let mean = mean_of(dy);
                value_moved(dy, mean, rng);
            }
        }
        Part::Weight => case.affine[0].iter_mut().for_each(|weight| weight[0] = nudged(weight[0], rng)),
        Part::Bias => case.affine[1].iter_mut().for_each(|bias| bias[0] = nudged(bias[0], rng)),
        Part::Eps => {
            let eps = nudged(case.config.eps, rng).abs();
            case.config.eps = if eps > 0.0 { eps } else { f64::MIN_POSITIVE };
        }
        Part::Running => {
            if let Some([mean, var]) = &mut case.running {
                if rng.random_range(0..2) == 0 {
                    mean[0] = nudged(mean[0], rng);
                } else {
                    let moved = nudged(var[0], rng);
                    var[0] = Word::of(false, moved.parts().1);
                }
            }
        }
        Part::Momentum => {
            case.num_batches_tracked = rng.random_range(0..1 << 20);
            case.config.momentum = case.config.momentum.map(|m| nudged(m, rng).abs().min(1.0));
        }
        Part::Count => count_moved(case, rng),
        Part::V => {
            if let Some(v) = case.cotangents.as_mut().and_then(|own| own.dx.as_mut()) {
                let mean = mean_of(v);
                value_moved(v, mean, rng);
            }
        }
        Part::W | Part::Z => {
            let Some(own) = &mut case.cotangents else { return };
            let param = if matches!(part, Part::W) { &mut own.dweight } else { &mut own.dbias };
            param.iter_mut().for_each(|param| param[0] = nudged(param[0], rng));
        }
    }
}

/// The mean, where no sum overflows.
fn mean_of<T: Word>(values: &[T]) -> f64 {
    let n = values.len().max(1) as f64;
    values.iter().map(|v| v.to_compute().to_f64() / n).sum()
}

/// Changes one of the values, or all of them alike; `near` is what they are centred by.
fn value_moved<T: Word>(values: &mut [T], near: f64, rng: &mut Pcg64Mcg) {
    if values.is_empty() {
        return;
    }
    let (i, j) = (rng.random_range(0..values.len()), rng.random_range(0..values.len()));
    match rng.random_range(0..24) {
        0 => values.swap(i, j),
        1 => values[i] = values[j],
        2 => values[i] = neighbour(values[j], rng.random_range(-2..3)),
        3 => {
            let mean = T::from_compute(T::Compute::from_f64(near));
            if mean.parts().1 < T::INFINITY {
                values[i] = neighbour(mean, rng.random_range(-2..3));
            }
        }
        4 => {
            // On the other side of the centre.
            let mirrored =
                T::from_compute(T::Compute::from_f64(2.0 * near - values[i].to_compute().to_f64()));
            if mirrored.parts().1 < T::INFINITY {
                values[i] = mirrored;
            }
        }
        5 => {
            let e = rng.random_range(-2..3);
            values.iter_mut().for_each(|v| *v = super::word::shifted(*v, e));
        }
        _ => values[i] = nudged(values[i], rng),
    }
}

/// One value more, a copy of another, or one less.
fn count_moved<T: Word>(case: &mut Case<T>, rng: &mut Pcg64Mcg) {
    let Some(dy) = &mut case.dy else { return };
    let mut v = case.cotangents.as_mut().and_then(|own| own.dx.as_mut());
    let i = rng.random_range(0..case.x.len());
    if rng.random_range(0..2) == 0 {
        if case.x.len() < MOST {
            case.x.push(case.x[i]);
            dy.push(dy[i]);
            v.iter_mut().for_each(|v| v.push(v[i]));
        }
    } else if case.x.len() > 2 {
        case.x.swap_remove(i);
        dy.swap_remove(i);
        if let Some(v) = v {
            v.swap_remove(i);
        }
    }
    case.dims[0] = case.x.len();
}

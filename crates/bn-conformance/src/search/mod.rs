//! A search that tries to break the limits: hill climbing over data, parameters and settings, for every tensor and type.
//!
//! What is searched is the error as a share of its limit. Work is cut into climbs, and climb i of a search is the same
//! whatever the machine, the number of threads and the time: its type, tensor, starting point and random numbers follow from i
//! and the seed alone. A time limit only says how many climbs there are. Later rounds hold longer climbs.
//!
//! Each case has one feature, so that a step takes microseconds; features do not know of each other.

mod climb;
mod starts;
mod tell;
mod word;

use crate::any::AnyCase;
use crate::case::{Case, Tensor};
use crate::data::rng;
use crate::measure::Row;
use crate::run::{Answer, run};
use bn_core::{Backend, Element};
use climb::{Climbed, Way, climb, share};
use half::{bf16, f16};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use word::Word;

pub use tell::{dump, news, report};

/// What is held to the limits.
pub trait Subject: Sync {
    /// The results of a step.
    ///
    /// # Errors
    /// What it says to the case's input.
    fn answer<T: Element>(&self, case: &Case<T>) -> Answer;
}

/// The layer on a backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layer<B>(pub B);

impl<B: Backend + Clone> Subject for Layer<B> {
    fn answer<T: Element>(&self, case: &Case<T>) -> Answer {
        run(case, &self.0)
    }
}

/// The types that are searched.
pub const TYPES: [&str; 4] = ["f32", "f64", "f16", "bf16"];

/// The tensors of a round. The maps round most often, so that theirs come more often.
const TENSORS: [Tensor; 16] = [
    Tensor::Y,
    Tensor::Dx,
    Tensor::Dweight,
    Tensor::Dx,
    Tensor::Y,
    Tensor::Var,
    Tensor::Dx,
    Tensor::Dbias,
    Tensor::Mean,
    Tensor::Dx,
    Tensor::RunningMean,
    Tensor::RunningVar,
    Tensor::DdX,
    Tensor::DdDy,
    Tensor::DdX,
    Tensor::DdWeight,
];

/// The steps of a climb in the first round, and how much longer the longest are.
const STEPS: u64 = 2000;
const LONGEST: u32 = 5;

/// What a search does.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the random numbers begin.
    pub seed: u64,
    /// The names of the types, out of [`TYPES`].
    pub types: Vec<&'static str>,
    /// The tensors that are climbed for; empty for all.
    pub tensors: Vec<Tensor>,
    /// Climbs at the same time.
    pub threads: usize,
}

/// The worst of one tensor and type.
#[derive(Clone, Debug)]
pub struct Find {
    /// Its error and limit.
    pub row: Row,
    /// The case, with its answers. Its name says which climb it is from.
    pub case: AnyCase,
    /// The number of the climb.
    pub number: u64,
}

impl Find {
    /// The error as a share of the limit.
    #[must_use]
    pub fn share(&self) -> f64 {
        share(&self.row)
    }
}

/// What a search has come to, on the way and at its end.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// A find for each type and tensor that was seen, in the order of both.
    pub finds: Vec<Find>,
    /// Climbs that have ended.
    pub climbs: u64,
    /// Their steps.
    pub steps: u64,
}

impl Found {
    /// The finds beyond their limits.
    pub fn broken(&self) -> impl Iterator<Item = &Find> {
        self.finds.iter().filter(|find| !find.row.ok())
    }

    /// A climb's finds.
    fn of<T: Word>(number: u64, climbed: Climbed<T>) -> Self
    where
        AnyCase: From<Case<T>>,
    {
        let finds = climbed.worst.into_iter().map(|climb::Worst { row, mut case }| {
            case.name = format!("search_{}_{}_{number}", T::NAME, row.tensor.name());
            Find { row, case: case.into(), number }
        });
        Self { finds: finds.collect(), climbs: 1, steps: climbed.steps }
    }

    /// Adds what another part of the search has found. Among equals the earlier climb stays, whichever ended first.
    fn add(&mut self, other: Self) {
        self.climbs += other.climbs;
        self.steps += other.steps;
        let key = |f: &Find| (TYPES.iter().position(|t| *t == f.case.dtype()), f.row.tensor);
        for find in other.finds {
            match self.finds.binary_search_by_key(&key(&find), key) {
                Ok(i) => {
                    let old = &self.finds[i];
                    let (new, old) = ((find.share(), old.number), (old.share(), find.number));
                    if new > old {
                        self.finds[i] = find;
                    }
                }
                Err(i) => self.finds.insert(i, find),
            }
        }
    }
}

/// Searches until `stop` says so of the number of a climb, which it is asked before the climb and during it. `progress` sees
/// what was found after each.
pub fn search<S: Subject>(
    subject: &S,
    settings: &Settings,
    stop: &(dyn Fn(u64) -> bool + Sync),
    progress: &(dyn Fn(&Found) + Sync),
) -> Found {
    let (next, found) = (AtomicU64::new(0), Mutex::new(Found::default()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if stop(number) {
                return;
            }
            let part = one(subject, settings, number, &|| stop(number));
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.add(part);
            progress(&found);
        }
    };
    std::thread::scope(|scope| {
        (1..settings.threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The climb of this number.
fn one<S: Subject>(subject: &S, settings: &Settings, number: u64, stop: &dyn Fn() -> bool) -> Found {
    let Settings { seed, types, tensors, .. } = settings;
    let tensors = if tensors.is_empty() { &TENSORS[..] } else { tensors };
    let slots = types.len() * tensors.len();
    let (round, slot) = (number / slots as u64, (number % slots as u64) as usize);
    let (dtype, tensor) = (types[slot % types.len()], tensors[slot / types.len()]);
    let steps = STEPS << (round + 1).trailing_zeros().min(LONGEST);
    let rng = rng(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let way = Way { tensor, steps, stop };
    match dtype {
        "f32" => Found::of(number, climb::<f32, S>(subject, &way, rng)),
        "f64" => Found::of(number, climb::<f64, S>(subject, &way, rng)),
        "f16" => Found::of(number, climb::<f16, S>(subject, &way, rng)),
        "bf16" => Found::of(number, climb::<bf16, S>(subject, &way, rng)),
        other => unreachable!("no element type is called {other}"),
    }
}

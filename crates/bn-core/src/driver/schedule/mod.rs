//! How a step goes about its memory: learned from the steps themselves. It changes their speed and no bit.
//!
//! Steps over tensors of about one shape are a [`Class`]. The first ones try a few [`Candidate`]s in turn, in the caller's own
//! work; from then on the best one is taken. What was learned belongs to the program, not to a layer or a workspace. Steps
//! below 50 µs are not timed, nor those over data that take longer by themselves, nor the first one into an output.
//!
//! [`Policy::Fixed`], or `BATCHNORM_SCHEDULE=fixed`, leaves it at the first guess, which follows from the sizes of the caches.
//! [`saved`] gives what was learned as text, and [`load`] takes it for good. docs/schedule.md has the cost model and the figures.

mod candidates;
mod class;
mod facts;
mod policy;
mod table;
mod trials;

pub use candidates::{Candidate, Kind};
pub use class::{Class, Name, Task};
pub use policy::{Policy, PolicyError};

use super::plan::Plan;
use crate::kernel::{Executor, Form, Schedule, Share};
use crate::num::Element;
use candidates::{BASE, ones};
use facts::Facts;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use table::Entry;

/// Steps that move less are not timed: they take about 50 µs or less.
const LEAST_BYTES: usize = 1 << 20;
const LEAST_TIME: Duration = Duration::from_micros(50);

/// Whether there is a clock.
const CLOCK: bool = !cfg!(all(target_family = "wasm", target_os = "unknown"));

/// The schedule of a step, and the trial that it is, if it is one.
pub(super) struct Choice {
    pub(super) schedule: Schedule,
    trial: Option<Trial>,
}

struct Trial {
    entry: &'static Entry,
    candidate: usize,
    elements: usize,
    start: Instant,
}

/// Chooses for a step that begins now. `output` is where its output begins, if it has one.
pub(super) fn choose<T: Element>(
    policy: Policy,
    plan: &Plan,
    task: Task,
    form: Form,
    threads: usize,
    output: Option<usize>,
) -> Choice {
    let facts = Facts::new::<T>(plan, task, form);
    let alone = |schedule| Choice { schedule, trial: None };
    let taken = |candidate| alone(facts.schedule(candidate));
    let exists = |number| number < facts.kind.candidates().len();
    match policy {
        Policy::Candidate(number) if exists(number) => return taken(number),
        Policy::Miniature(number) if exists(number) => {
            return alone(candidates::in_miniature(facts.schedule(number)));
        }
        _ => {}
    }
    if !CLOCK
        || !form.follows
        || facts.traffic() < LEAST_BYTES
        || policy != Policy::Learn && !table::is_loaded()
    {
        return taken(facts.first());
    }
    let size = [plan.shape.outer(), plan.shape.features(), plan.shape.inner()];
    let class = Class {
        kernels: Name::new(form.name),
        element: Name::new(T::NAME),
        task,
        kind: facts.kind,
        size: size.map(|n| n.max(1).ilog2()),
        threads,
    };
    if policy != Policy::Learn {
        let pinned = table::find(class).and_then(|entry| entry.trials.pinned());
        return taken(pinned.unwrap_or(facts.first()));
    }
    let Some(entry) = table::entry(class, || (facts.offered(), facts.first())) else {
        return taken(facts.first());
    };
    if let Some(pinned) = entry.trials.pinned() {
        return taken(pinned);
    }
    let is_new = output.is_some_and(|address| !entry.outputs.has_seen(address));
    if is_new || !entry.learns_from(size) {
        return taken(entry.trials.choice());
    }
    let turn = entry.trials.next();
    let (candidate, elements) = (turn.candidate, plan.shape.len());
    let trial = turn.tried.then(|| Trial { entry, candidate, elements, start: Instant::now() });
    Choice { trial, ..taken(candidate) }
}

impl Choice {
    /// The step has ended; `odd` says that its data were such as take longer by themselves.
    pub(super) fn end(self, odd: bool) {
        let Some(Trial { entry, candidate, elements, start }) = self.trial.filter(|_| !odd) else {
            return;
        };
        let time = start.elapsed();
        if time < LEAST_TIME && candidate == entry.trials.choice() {
            return entry.trials.give_up();
        }
        // Per element, for those who read it: femtoseconds.
        let femtoseconds = time.as_nanos().saturating_mul(1_000_000) / elements as u128;
        entry.trials.record(candidate, u32::try_from(femtoseconds).unwrap_or(u32::MAX));
    }
}

/// How many threads of an executor work on a tensor of so many elements.
pub(super) fn threads(exec: &dyn Executor, wanted: Share, len: usize) -> usize {
    let share = exec.share(wanted);
    let worth = len >= if exec.is_inside() { share.awake } else { share.asleep };
    if worth { exec.width().max(1) } else { 1 }
}

/// The same where no schedule is chosen yet: all of them agree in it.
pub(super) fn threads_for(exec: &dyn Executor, len: usize) -> usize {
    threads(exec, BASE.share, len)
}

/// What was learned of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Which steps.
    pub class: Class,
    /// What was tried, in the order of [`Kind::candidates`].
    pub tried: Vec<Tried>,
    /// The first guess.
    pub first: &'static str,
    /// What is taken.
    pub choice: &'static str,
    /// Whether nothing is being tried.
    pub settled: bool,
}

impl Learned {
    /// The least time of the candidate of this name, in nanoseconds per element, if it was timed.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<f64> {
        self.tried.iter().find(|tried| tried.name == name)?.least
    }
}

/// What came of a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// The candidate's name.
    pub name: &'static str,
    /// How often it was timed, the last time that it was looked at.
    pub times: usize,
    /// The least time, in nanoseconds per element, if it was timed.
    pub least: Option<f64>,
}

/// What was learned until now, of all classes that there were steps of.
#[must_use]
pub fn learned() -> Vec<Learned> {
    let of = |entry: &Entry| {
        let all = entry.class.kind.candidates();
        let tried = ones(entry.offered).map(|i| {
            let (times, least) = entry.trials.of(i);
            Tried { name: all[i].name, times: times.into(), least: least.map(|fs| f64::from(fs) * 1e-6) }
        });
        let (first, choice) = (all[entry.first].name, all[entry.trials.choice()].name);
        Learned {
            class: entry.class,
            tried: tried.collect(),
            first,
            choice,
            settled: entry.trials.is_settled(),
        }
    };
    table::entries().map(of).collect()
}

/// What was learned as lines of text, for [`load`]: a class and its candidate each, of those where one was chosen.
///
/// ```
/// use batchnorm::schedule::{self, Policy};
///
/// let text = schedule::saved(); // at the end of a run
/// let classes = schedule::load(&text)?; // before the first step of the next one
/// assert_eq!(classes, schedule::learned().len());
/// Policy::Fixed.set(); // nothing else is tried
/// # Ok::<(), schedule::LoadError>(())
/// ```
#[must_use]
pub fn saved() -> String {
    let chosen = table::entries().filter(|entry| entry.trials.has_chosen());
    let name = |entry: &Entry| entry.class.kind.candidates()[entry.trials.choice()].name;
    let mut lines: Vec<_> = chosen.map(|entry| format!("{} {}\n", entry.class, name(entry))).collect();
    lines.sort();
    lines.concat()
}

/// Takes what [`saved`] gave: steps of these classes take that candidate for good, in [`Policy::Fixed`] as well. Empty lines and
/// those that begin with `#` say nothing; of two lines for one class the last one counts. How many classes were taken: the table
/// has room for some hundreds, with those that were learned. Steps that are not timed, as those that move less than 1 MiB, take nothing of
/// what is loaded.
///
/// # Errors
/// The first line that is none, with its number and what was expected. Nothing is taken then.
pub fn load(text: &str) -> Result<usize, LoadError> {
    let mut all = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            all.push(parse(line).map_err(|what| LoadError { line: number, what })?);
        }
    }
    let mut taken = HashSet::new();
    for (class, candidate) in all {
        if let Some(entry) = table::entry(class, || (1 << candidate, candidate)) {
            entry.trials.pin(candidate);
            taken.insert(class);
        }
    }
    table::set_loaded();
    Ok(taken.len())
}

fn parse(line: &str) -> Result<(Class, usize), String> {
    let (class, name) =
        line.trim().rsplit_once(char::is_whitespace).ok_or("expected a class and a candidate")?;
    let class: Class = class.parse()?;
    let all = class.kind.candidates();
    let found = all.iter().position(|candidate| candidate.name == name);
    let names = || all.iter().map(|candidate| candidate.name).collect::<Vec<_>>().join(", ");
    let candidate = found.ok_or_else(|| format!("expected a candidate of {}, got {name:?}", names()))?;
    Ok((class, candidate))
}

/// Why a text cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct LoadError {
    /// The line's number, from 1 on.
    pub line: usize,
    /// What was expected and what came.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn what_was_loaded_is_taken_for_good() {
        let text = "# by hand\n\nloaded f32 forward runs 5,6,11 1 apart-far\nloaded f64 backward rows 5,6,0 2 across\n";
        assert_eq!(load(text), Ok(2));
        let lines = saved();
        assert!(text.lines().skip(2).all(|line| lines.contains(line)), "{lines}");
        let all = learned();
        let found =
            all.iter().find(|learned| learned.class.to_string() == "loaded f32 forward runs 5,6,11 1");
        assert_eq!(found.map(|found| (found.choice, found.settled)), Some(("apart-far", true)));
    }

    const FORM: Form = Form { name: "asked", follows: true, turns: true };

    fn asked(policy: Policy, shape: (usize, usize, usize), output: usize) -> (Schedule, bool) {
        let plan = Plan::new(Shape::new(shape.0, shape.1, shape.2).unwrap());
        let choice = choose::<f32>(policy, &plan, Task::Forward, FORM, 1, Some(output));
        (choice.schedule, choice.trial.is_some())
    }

    fn named(name: &str) -> Schedule {
        let all = Kind::Runs.candidates();
        all.iter().find(|candidate| candidate.name == name).unwrap().schedule
    }

    #[test]
    fn what_was_loaded_is_what_steps_take() {
        assert_eq!(load("asked f32 forward runs 5,7,11 1 apart-far\n"), Ok(1));
        for policy in [Policy::Fixed, Policy::Learn] {
            assert_eq!(asked(policy, (32, 128, 3136), 4096), (named("apart-far"), false), "{policy:?}");
        }
        // Nothing was loaded for this one, and nothing is put into the table for it.
        let (schedule, tried) = asked(Policy::Fixed, (32, 256, 3136), 4096);
        assert!(schedule != named("apart-far") && !tried);
        assert!(learned().iter().all(|one| one.class.to_string() != "asked f32 forward runs 5,8,11 1"));
    }

    #[test]
    fn the_first_step_into_an_output_is_not_timed() {
        let shape = (32, 64, 3136);
        let tried = [4096, 4096, 8192, 4096].map(|output| asked(Policy::Learn, shape, output).1);
        assert_eq!(tried, [false, true, false, true]);
    }

    #[test]
    fn small_steps_and_kernels_that_ignore_hints_learn_nothing() {
        assert!(!(0..3).any(|_| asked(Policy::Learn, (8, 8, 300), 4096).1));
        let plan = Plan::new(Shape::new(32, 64, 3136).unwrap());
        let choice = || choose::<f32>(Policy::Learn, &plan, Task::Forward, Form::PLAIN, 1, Some(4096));
        assert!(!(0..3).any(|_| choice().trial.is_some()));
    }

    #[test]
    fn a_step_below_50_microseconds_ends_the_trials() {
        let shape = (16, 64, 3136);
        let step = || {
            let plan = Plan::new(Shape::new(shape.0, shape.1, shape.2).unwrap());
            let choice = choose::<f32>(Policy::Learn, &plan, Task::Forward, FORM, 1, None);
            let tried = choice.trial.is_some();
            choice.end(false);
            tried
        };
        assert_eq!([step(), step(), step()], [true, false, false]);
    }

    #[test]
    fn a_line_that_is_none_is_told() {
        let told = |text: &str| load(text).unwrap_err().to_string();
        assert!(told("# x\nnonsense").starts_with("line 2: expected a class and a candidate"));
        assert!(told("a b c").starts_with("line 1: expected kernels, type, task"));
        let wrong = told("avx512 f32 forward rows 5,6,0 1 turns-l1");
        assert!(wrong.starts_with("line 1: expected a candidate of across, far,"), "{wrong}");
        assert!(wrong.ends_with("got \"turns-l1\""), "{wrong}");
    }
}

//! The rounds of a shape: every implementation takes its turn in each, so that drift hits all alike.
//!
//! 1. A sample is one pass, or as many as take 50 µs, after passes that are not timed, until threads and core are awake
//!    ([`waking`](benches::implementation::waking)): what is in the caches is what the pass itself left there.
//! 2. The order is turned from round to round, and reversed every other one.
//! 3. Time is shared out: who is fast gets more samples, who is slow a least number of them.

use super::record::summary;
use super::stop;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Inputs, Outputs};
use bn_core::Element;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The shortest sample.
const SAMPLE: Duration = Duration::from_micros(50);

/// One that takes turns: the time of so many passes.
pub(crate) type Timed<'a> = Box<dyn FnMut(Pass, u32) -> Result<Duration, String> + 'a>;

/// A turn of one that works on these tensors.
pub(crate) fn turn<'a, T: Element>(
    one: &'a mut Box<dyn Implementation<T>>,
    inputs: &'a Inputs<T>,
    outputs: &'a RefCell<Outputs<T>>,
) -> Timed<'a> {
    Box::new(move |pass, runs| one.time(pass, runs, inputs, &mut outputs.borrow_mut()))
}

/// What a shape may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// All of it; more only where the least number of samples takes more.
    pub(crate) time: Duration,
    /// Samples of a pass.
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// A contestant's pass, and its nanoseconds.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) who: usize,
    pub(crate) pass: Pass,
    pub(crate) ns: Vec<f64>,
    pub(crate) failed: Option<String>,
    runs: u32,
    spent: Duration,
}

impl Samples {
    pub(crate) fn median(&self) -> Option<f64> {
        summary(&self.ns).map(|(median, ..)| median)
    }

    /// Takes one sample, or finds out how many runs make one.
    fn take(&mut self, one: &mut Timed<'_>) {
        let start = Instant::now();
        let runs = self.runs.max(1);
        match one(self.pass, runs) {
            Err(error) => self.failed = Some(error),
            Ok(time) if self.runs == 0 && time < SAMPLE => {
                let runs = SAMPLE.as_nanos().div_ceil(time.as_nanos().max(1));
                self.runs = u32::try_from(runs).unwrap_or(1).clamp(1, 10_000);
            }
            Ok(time) => {
                self.runs = runs;
                self.ns.push(time.as_nanos() as f64 / f64::from(runs));
            }
        }
        self.spent += start.elapsed();
    }
}

/// Measures everyone; what was asked to stop returns what it has. `tick` hears how far it is, from 0 to 1.
pub(crate) fn rounds(
    all: &mut [Timed<'_>],
    passes: &[Pass],
    budget: Budget,
    tick: &dyn Fn(f64),
) -> Vec<Samples> {
    let (n, of) = (all.len(), passes.len());
    let pairs = (0..n).flat_map(|who| passes.iter().map(move |&pass| (who, pass)));
    let new = |(who, pass)| Samples { who, pass, ns: vec![], failed: None, runs: 0, spent: Duration::ZERO };
    let mut samples: Vec<Samples> = pairs.map(new).collect();
    let share = budget.time / samples.len().max(1) as u32;
    let start = Instant::now();
    for round in 0.. {
        let mut took_part = false;
        for turn in 0..n {
            // The first round is in order: the floors first, which everything is measured against.
            let who = match round % 2 {
                0 => (turn + round / 2) % n,
                _ => (2 * n - 1 - turn - round / 2 % n) % n,
            };
            for samples in &mut samples[of * who..of * (who + 1)] {
                let enough = samples.ns.len() >= budget.least && samples.spent >= share;
                if enough || samples.ns.len() >= budget.most || samples.failed.is_some() || stop::requested()
                {
                    continue;
                }
                took_part = true;
                samples.take(&mut all[who]);
                tick((start.elapsed().as_secs_f64() / budget.time.as_secs_f64()).min(1.0));
            }
        }
        if !took_part {
            break;
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_takes_turns() {
        let calls = RefCell::new(Vec::new());
        let times = [1e-3, 2e-3, 1e-6, 4e-3];
        // Takes as long as it says, and keeps the order in which it was called.
        let fake = |(i, &time): (usize, &f64)| -> Timed<'_> {
            let calls = &calls;
            Box::new(move |pass, runs| {
                if pass == Pass::Forward {
                    calls.borrow_mut().push(i);
                }
                match i {
                    3 if pass == Pass::Step => Err("no step".into()),
                    _ => Ok(Duration::from_secs_f64(time * f64::from(runs))),
                }
            })
        };
        let mut all: Vec<Timed<'_>> = times.iter().enumerate().map(fake).collect();
        let budget = Budget { time: Duration::from_secs(5), least: 3, most: 4 };
        let samples = rounds(&mut all, &Pass::ALL, budget, &|_| ());
        assert_eq!(calls.borrow()[..16], [0, 1, 2, 3, 3, 2, 1, 0, 1, 2, 3, 0, 2, 1, 0, 3]);
        for sample in &samples {
            let failed = sample.who == 3 && sample.pass == Pass::Step;
            assert_eq!((sample.ns.len(), sample.failed.is_some()), (if failed { 0 } else { 4 }, failed));
            let want = (!failed).then(|| 1e9 * times[sample.who]);
            assert_eq!(sample.median().map(f64::round), want.map(f64::round));
        }
        // The short one ran many times per sample, which its first call found out.
        assert_eq!((samples[6].runs, samples[0].runs), (50, 1));

        let none = Budget { time: Duration::ZERO, least: 2, most: 4 };
        let samples = rounds(&mut all, &Pass::ALL, none, &|_| ());
        assert_eq!(samples[0].ns.len(), 2, "the least number is taken whatever the time");
    }
}

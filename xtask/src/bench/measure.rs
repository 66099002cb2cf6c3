//! The rounds of a shape: every implementation takes its turn in each, so that drift hits all alike.
//!
//! 1. A sample is one pass, or as many as take 50 µs, after passes that are not timed, until threads and core are awake
//!    ([`waking`](benches::implementation::waking)): what is in the caches is what the pass itself left there.
//! 2. The order is turned from round to round, and reversed every other one.
//! 3. Time is shared out: who is fast gets more samples, who is slow a least number of them.

use super::record::summary;
use super::stop;
use benches::floor::Stores;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Inputs, Outputs};
use bn_core::{Element, Real};
use std::time::{Duration, Instant};

/// The shortest sample.
const SAMPLE: Duration = Duration::from_micros(50);

/// Whose it is: what its answer must be, and how it is reported.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Floor(Stores),
    /// The layer's: the reference's bits.
    Ours,
    Textbook,
    /// Of this version.
    Peer(String),
}

/// One that takes part.
pub(crate) struct Contestant<T: Element> {
    pub(crate) kind: Kind,
    pub(crate) one: Box<dyn Implementation<T>>,
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
    fn take<T: Real>(
        &mut self,
        one: &mut dyn Implementation<T>,
        inputs: &Inputs<T>,
        outputs: &mut Outputs<T>,
    ) {
        let start = Instant::now();
        let runs = self.runs.max(1);
        match one.time(self.pass, runs, inputs, outputs) {
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
pub(crate) fn rounds<T: Real>(
    all: &mut [Contestant<T>],
    inputs: &Inputs<T>,
    outputs: &mut Outputs<T>,
    budget: Budget,
    tick: &dyn Fn(f64),
) -> Vec<Samples> {
    let passes = |who| {
        Pass::ALL.map(|pass| Samples {
            who,
            pass,
            ns: Vec::new(),
            failed: None,
            runs: 0,
            spent: Duration::ZERO,
        })
    };
    let mut samples: Vec<Samples> = (0..all.len()).flat_map(passes).collect();
    let share = budget.time / samples.len().max(1) as u32;
    let start = Instant::now();
    'rounds: for round in 0.. {
        let mut took_part = false;
        for turn in 0..all.len() {
            // The first round is in order: the floors first, which everything is measured against.
            let who = match round % 2 {
                0 => (turn + round / 2) % all.len(),
                _ => (2 * all.len() - 1 - turn - round / 2 % all.len()) % all.len(),
            };
            for samples in &mut samples[3 * who..3 * who + 3] {
                let enough = samples.ns.len() >= budget.least && samples.spent >= share;
                if enough || samples.ns.len() >= budget.most || samples.failed.is_some() {
                    continue;
                }
                if stop::requested() {
                    break 'rounds;
                }
                took_part = true;
                samples.take(all[who].one.as_mut(), inputs, outputs);
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
    use benches::inputs::Answer;
    use benches::shapes::parse;
    use bn_conformance::data::X;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Takes as long as it says, and keeps the order in which it was called.
    struct Fake(usize, f64, Rc<RefCell<Vec<usize>>>);

    impl Implementation<f32> for Fake {
        fn name(&self) -> &str {
            "fake"
        }
        fn threads(&self) -> usize {
            1
        }
        fn time(
            &mut self,
            pass: Pass,
            runs: u32,
            _: &Inputs<f32>,
            _: &mut Outputs<f32>,
        ) -> Result<Duration, String> {
            if pass == Pass::Forward {
                self.2.borrow_mut().push(self.0);
            }
            match self.0 {
                3 if pass == Pass::Step => Err("no step".into()),
                _ => Ok(Duration::from_secs_f64(self.1 * f64::from(runs))),
            }
        }
        fn answer(&mut self, _: &Inputs<f32>, _: &mut Outputs<f32>) -> Result<Option<Answer<f32>>, String> {
            Ok(None)
        }
    }

    #[test]
    fn everyone_takes_turns() {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let times = [1e-3, 2e-3, 1e-6, 4e-3];
        let fake = |(i, time): (usize, &f64)| Contestant {
            kind: Kind::Ours,
            one: Box::new(Fake(i, *time, calls.clone())) as Box<dyn Implementation<f32>>,
        };
        let mut all: Vec<_> = times.iter().enumerate().map(fake).collect();
        let inputs = Inputs::<f32>::new(&parse("a NC 2x3").unwrap()[0], X::Normal);
        let budget = Budget { time: Duration::from_secs(5), least: 3, most: 4 };
        let samples = rounds(&mut all, &inputs, &mut Outputs::new(6), budget, &|_| ());
        assert_eq!(calls.borrow()[..16], [0, 1, 2, 3, 3, 2, 1, 0, 1, 2, 3, 0, 2, 1, 0, 3]);
        for sample in &samples {
            let failed = sample.who == 3 && sample.pass == Pass::Step;
            assert_eq!(
                (sample.ns.len(), sample.failed.is_some()),
                if failed { (0, true) } else { (4, false) }
            );
            let want = (!failed).then(|| 1e9 * times[sample.who]);
            assert_eq!(sample.median().map(f64::round), want.map(f64::round));
        }
        // The short one ran many times per sample, which its first call found out.
        assert_eq!((samples[6].runs, samples[0].runs), (50, 1));

        let none = Budget { time: Duration::ZERO, least: 2, most: 4 };
        let samples = rounds(&mut all, &inputs, &mut Outputs::new(6), none, &|_| ());
        assert_eq!(samples[0].ns.len(), 2, "the least number is taken whatever the time");
    }
}

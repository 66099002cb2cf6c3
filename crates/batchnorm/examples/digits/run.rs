//! Two networks trained side by side, and what was measured on the way.

use crate::common::Result;
use crate::common::data::{Samples, Split};
use crate::common::stopwatch::Stopwatch;
use crate::common::train::{Score, Trainer, evaluate};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The held-out accuracy that steps are counted to.
pub(crate) const GOAL: f64 = 0.95;
/// Steps between two looks at the held-out samples.
pub(crate) const LOOK_EVERY: usize = 5;

/// What the numbers of a run depend on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) batch: usize,
    pub(crate) learning_rate: f32,
}

impl Settings {
    /// Whether a run on these samples can be made.
    pub(crate) fn check(&self, split: &Split) -> Result<()> {
        // Batch statistics need two samples, and an epoch a whole batch.
        let most = split.train.len();
        if !(2..=most).contains(&self.batch) {
            return Err(format!("expected a batch of 2 to {most} samples, got {}", self.batch).into());
        }
        let rate = self.learning_rate;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(format!("expected a learning rate finite and greater than 0, got {rate}").into());
        }
        Ok(())
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, batch, learning_rate } = self;
        write!(f, "seed {seed}, batch {batch} and learning rate {learning_rate}")
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) settings: Settings,
    /// With batch normalization.
    pub(crate) normalized: Contender,
    /// Without.
    pub(crate) plain: Contender,
}

/// A network in training with its record.
#[derive(Serialize, Deserialize)]
pub(crate) struct Contender {
    pub(crate) trainer: Trainer,
    pub(crate) watch: Stopwatch,
    pub(crate) steps: usize,
    /// The scores after each epoch.
    pub(crate) epochs: Vec<EpochScores>,
    /// (step, held-out accuracy), every few steps.
    pub(crate) looks: Vec<(usize, f64)>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct EpochScores {
    /// The step that ended the epoch.
    pub(crate) step: usize,
    pub(crate) train: Score,
    pub(crate) held_out: Score,
}

impl Run {
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        let contender = |normalized| Contender::new(normalized, settings);
        Ok(Self { settings, normalized: contender(true)?, plain: contender(false)? })
    }

    /// How many epochs are done.
    pub(crate) fn epochs(&self) -> usize {
        self.normalized.epochs.len().min(self.plain.epochs.len())
    }

    pub(crate) fn contenders_mut(&mut self) -> [&mut Contender; 2] {
        [&mut self.normalized, &mut self.plain]
    }

    pub(crate) fn epoch(&mut self, split: &Split) -> Result<()> {
        let batch = self.settings.batch;
        self.contenders_mut().into_iter().try_for_each(|contender| contender.epoch(split, batch))
    }
}

impl Contender {
    fn new(normalized: bool, Settings { seed, learning_rate, .. }: Settings) -> Result<Self> {
        // He's scale keeps the variance through `ReLU` layers: the plain network gets its best start
        // (<https://arxiv.org/abs/1502.01852>).
        let he = |inputs: usize| (2.0 / inputs as f32).sqrt();
        Ok(Self {
            trainer: Trainer::new(normalized, &he, learning_rate, seed)?,
            watch: Stopwatch::default(),
            steps: 0,
            epochs: Vec::new(),
            looks: Vec::new(),
        })
    }

    fn epoch(&mut self, Split { train, held_out }: &Split, batch: usize) -> Result<()> {
        let Self { trainer, watch, steps, epochs, looks } = self;
        trainer.epoch(train, batch, watch, |network| {
            *steps += 1;
            if steps.is_multiple_of(LOOK_EVERY) {
                looks.push((*steps, evaluate(network, held_out)?.accuracy));
            }
            Ok(())
        })?;
        let score = |samples: &Samples| evaluate(&trainer.network, samples);
        epochs.push(EpochScores { step: *steps, train: score(train)?, held_out: score(held_out)? });
        Ok(())
    }

    /// The first step after which the held-out accuracy was seen at the goal.
    pub(crate) fn steps_to_goal(&self) -> Option<usize> {
        self.looks.iter().find(|(_, accuracy)| *accuracy >= GOAL).map(|&(step, _)| step)
    }

    /// The share of the training steps' time that batch normalization took.
    pub(crate) fn norm_share(&self) -> f64 {
        let Stopwatch { steps, norm } = self.watch;
        if steps.is_zero() { 0.0 } else { norm.as_secs_f64() / steps.as_secs_f64() }
    }
}

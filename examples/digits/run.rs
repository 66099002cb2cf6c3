//! Two networks trained side by side, and what was measured on the way.

use examples::Result;
use examples::adam::Adam;
use examples::data::{Samples, Split};
use examples::perceptron::{Init, Perceptron};
use examples::stopwatch::Stopwatch;
use examples::train::{Model, Score, Trainer, evaluate, weights_rng};
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
    pub(crate) layers: usize,
    pub(crate) init: Init,
    pub(crate) batch: usize,
    pub(crate) learning_rate: f32,
}

impl Settings {
    /// Depth, initialization and learning rate that the plain network does not survive; they were chosen for that.
    ///
    /// People meet them: layers that are stacked as PyTorch makes them begin with a sixth of the variance that `ReLU`
    /// needs. Through twenty layers nothing is left of signal and gradient. With seven layers and He's
    /// initialization the plain network learns as well.
    pub(crate) const CHOSEN: Self =
        Self { seed: 1, layers: 20, init: Init::PyTorch, batch: 64, learning_rate: 5e-3 };

    /// Whether depth, initialization and learning rate are the chosen ones.
    pub(crate) fn chosen(&self) -> bool {
        *self == Self { seed: self.seed, batch: self.batch, ..Self::CHOSEN }
    }

    /// What the networks are.
    pub(crate) fn network(&self) -> String {
        let init = match self.init {
            Init::PyTorch => "PyTorch's default initialization".to_owned(),
            Init::He => "He's initialization".to_owned(),
            Init::Scale(scale) => format!("weights of scale {scale}"),
        };
        format!("{} hidden layers, {init}", self.layers)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, batch, learning_rate, .. } = self;
        write!(f, "{}, seed {seed}, batch {batch} and learning rate {learning_rate}", self.network())
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
    pub(crate) trainer: Trainer<Perceptron, Adam>,
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
    fn new(normalized: bool, settings: Settings) -> Result<Self> {
        let Settings { seed, layers, init, learning_rate, .. } = settings;
        let mut network = Perceptron::new(normalized, layers, init, &mut weights_rng(seed))?;
        let adam = Adam::new(&network.params_mut(), learning_rate);
        Ok(Self {
            trainer: Trainer::new(network, adam, seed),
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

//! Networks that differ in the layer and the learning rate, trained at the same time.

use crate::network::ResNet;
use crate::sgd::Sgd;
use examples::data::Split;
use examples::stopwatch::Stopwatch;
use examples::train::{Diverged, Model, Score, Trainer, evaluate, weights_rng};
use examples::{Error, Result};
use indicatif::ProgressBar;
use std::thread;

/// The held-out accuracy that epochs are counted to.
pub(crate) const GOAL: f64 = 0.95;

/// What all networks have in common.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    pub(crate) blocks: usize,
    pub(crate) batch: usize,
    /// The plain network has a second go at a tenth of it.
    pub(crate) learning_rate: f32,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
}

impl Settings {
    /// ResNet-20 with the learning rate it was published with, which the plain network does not survive: chosen for that.
    pub(crate) const CHOSEN: Self = Self { blocks: 3, batch: 64, learning_rate: 0.1, epochs: 15, seed: 1 };

    /// Whether depth, batch and learning rate are the chosen ones.
    pub(crate) fn chosen(&self) -> bool {
        *self == Self { epochs: self.epochs, seed: self.seed, ..Self::CHOSEN }
    }

    /// The layers with weights on the way from image to logits.
    pub(crate) fn layers(&self) -> usize {
        6 * self.blocks + 2
    }
}

/// A network with what came of it.
pub(crate) struct Contender {
    pub(crate) normalized: bool,
    pub(crate) learning_rate: f32,
    /// The scores after each epoch, on the training samples and on those held out.
    pub(crate) epochs: Vec<[Score; 2]>,
    /// Whether a loss was not finite. That ended its training.
    pub(crate) diverged: bool,
    pub(crate) watch: Stopwatch,
}

impl Contender {
    fn new(normalized: bool, learning_rate: f32) -> Self {
        Self { normalized, learning_rate, epochs: Vec::new(), diverged: false, watch: Stopwatch::default() }
    }

    pub(crate) fn name(&self) -> String {
        let layer = if self.normalized { "batch norm" } else { "without" };
        format!("{layer}, rate {}", self.learning_rate)
    }

    fn train(&mut self, settings: Settings, split: &Split, bar: &ProgressBar) -> Result<()> {
        let mut network = ResNet::new(settings.blocks, self.normalized, &mut weights_rng(settings.seed))?;
        let sgd = Sgd::new(&network.params_mut(), self.learning_rate);
        let mut trainer = Trainer::new(network, sgd, settings.seed);
        for _ in 0..settings.epochs {
            match trainer.epoch(&split.train, settings.batch, &mut self.watch, |_| Ok(())) {
                Err(error) if error.is::<Diverged>() => {
                    self.diverged = true;
                    return Ok(());
                }
                result => result?,
            }
            let score = |samples| evaluate(&trainer.network, samples);
            self.epochs.push([score(&split.train)?, score(&split.held_out)?]);
            bar.inc(1);
        }
        Ok(())
    }

    /// The first epoch, counted from 1, after which the held-out accuracy was at the goal.
    pub(crate) fn epochs_to_goal(&self) -> Option<usize> {
        self.epochs.iter().position(|[_, held_out]| held_out.accuracy >= GOAL).map(|i| i + 1)
    }

    /// The share of the training steps' time that batch normalization took.
    pub(crate) fn norm_share(&self) -> f64 {
        let Stopwatch { steps, norm } = self.watch;
        if steps.is_zero() { 0.0 } else { norm.as_secs_f64() / steps.as_secs_f64() }
    }
}

/// The networks to compare.
pub(crate) fn contenders(settings: Settings) -> [Contender; 3] {
    let rate = settings.learning_rate;
    [Contender::new(true, rate), Contender::new(false, rate), Contender::new(false, rate / 10.0)]
}

/// Trains them, each on a thread of its own.
pub(crate) fn train(
    contenders: &mut [Contender],
    settings: Settings,
    split: &Split,
    bar: &ProgressBar,
) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = contenders
            .iter_mut()
            .map(|contender| scope.spawn(move || contender.train(settings, split, bar)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| -> std::result::Result<(), Error> {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().try_for_each(join)
    })
}

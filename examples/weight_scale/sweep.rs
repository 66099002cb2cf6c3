//! Trains a pair of networks for each scale, as many networks at once as there are cores.

use examples::Result;
use examples::adam::Adam;
use examples::data::Split;
use examples::perceptron::{Init, Perceptron};
use examples::stopwatch::Stopwatch;
use examples::train::{Model, Trainer, evaluate, weights_rng};
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The course's depth, batch size and learning rate.
const HIDDEN_LAYERS: usize = 7;
pub(crate) const BATCH: usize = 50;
const LEARNING_RATE: f32 = 1e-3;

/// What all networks have in common.
pub(crate) struct Sweep {
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
}

/// What came of a scale.
pub(crate) struct Point {
    pub(crate) scale: f32,
    pub(crate) normalized: Outcome,
    pub(crate) plain: Outcome,
}

/// What came of a network.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// The best accuracy on the training samples after any epoch, from 0 to 1.
    pub(crate) train: f64,
    /// Likewise on those held out.
    pub(crate) validation: f64,
    /// The loss on the training samples after the last epoch, in nats.
    pub(crate) loss: f64,
}

/// `n` scales from 1e-4 to 1, evenly spaced in their logarithm.
pub(crate) fn scales(n: usize) -> Vec<f32> {
    let exponents = (0..n).map(|i| -4.0 + 4.0 * i as f64 / (n - 1) as f64);
    exponents.map(|exponent| 10f64.powf(exponent) as f32).collect()
}

impl Sweep {
    pub(crate) fn run(&self, scales: &[f32], split: &Split, bar: &ProgressBar) -> Result<Vec<Point>> {
        // Networks 2i and 2i + 1 are the pair of scale i.
        let (next, networks) = (AtomicUsize::new(0), 2 * scales.len());
        let worker = || -> Result<Vec<(usize, Outcome)>> {
            let mut outcomes = Vec::new();
            loop {
                let network = next.fetch_add(1, Ordering::Relaxed);
                let Some(&scale) = scales.get(network / 2) else { return Ok(outcomes) };
                let outcome = self.train(network % 2 == 0, scale, split, bar);
                // The others need not go on for a sweep that has failed.
                outcomes.push((network, outcome.inspect_err(|_| next.store(networks, Ordering::Relaxed))?));
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(networks);
        let mut outcomes = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            let join = |worker: thread::ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?
        .concat();
        outcomes.sort_by_key(|&(network, _)| network);
        let pairs = outcomes.chunks_exact(2).zip(scales);
        let point = |(pair, &scale): (&[(usize, Outcome)], &f32)| Point {
            scale,
            normalized: pair[0].1,
            plain: pair[1].1,
        };
        Ok(pairs.map(point).collect())
    }

    fn train(&self, normalized: bool, scale: f32, split: &Split, bar: &ProgressBar) -> Result<Outcome> {
        let init = Init::Scale(scale);
        let mut network = Perceptron::new(normalized, HIDDEN_LAYERS, init, &mut weights_rng(self.seed))?;
        let adam = Adam::new(&network.params_mut(), LEARNING_RATE);
        let mut trainer = Trainer::new(network, adam, self.seed);
        let mut outcome = Outcome { train: 0.0, validation: 0.0, loss: f64::INFINITY };
        for _ in 0..self.epochs {
            trainer.epoch(&split.train, BATCH, &mut Stopwatch::default(), |_| Ok(()))?;
            let train = evaluate(&trainer.network, &split.train)?;
            let validation = evaluate(&trainer.network, &split.held_out)?;
            outcome = Outcome {
                train: outcome.train.max(train.accuracy),
                validation: outcome.validation.max(validation.accuracy),
                loss: train.loss,
            };
            bar.inc(1);
        }
        Ok(outcome)
    }
}

//! The training loop: shuffled batches, Adam, and the measuring of it.

use super::Result;
use super::adam::Adam;
use super::data::Samples;
use super::network::{InitialScale, Network};
use super::softmax::{cross_entropy, hits};
use super::stopwatch::Stopwatch;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A network in training. With the data it is all that the next step depends on.
#[derive(Serialize, Deserialize)]
pub(crate) struct Trainer {
    pub(crate) network: Network,
    pub(crate) adam: Adam,
    rng: Pcg64,
}

/// How good a network is on some samples.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Score {
    /// The mean cross-entropy in nats.
    pub(crate) loss: f64,
    /// The share of samples classified right, from 0 to 1.
    pub(crate) accuracy: f64,
}

impl Trainer {
    /// Networks of the same seed see the same batches.
    pub(crate) fn new(
        normalized: bool,
        scale: InitialScale<'_>,
        learning_rate: f32,
        seed: u64,
    ) -> Result<Self> {
        // Its own stream: the batches must not depend on how many weights were drawn.
        let mut weights_rng = Pcg64::new(u128::from(seed), 1);
        let mut network = Network::new(normalized, scale, &mut weights_rng)?;
        let adam = Adam::new(&network.params_mut(), learning_rate);
        Ok(Self { network, adam, rng: Pcg64::seed_from_u64(seed) })
    }

    /// One pass over the samples in batches of `batch`; what is left at the end waits for the next shuffle.
    /// `after_step` sees the network after every step.
    pub(crate) fn epoch(
        &mut self,
        samples: &Samples,
        batch: usize,
        watch: &mut Stopwatch,
        mut after_step: impl FnMut(&Network) -> Result<()>,
    ) -> Result<()> {
        // Shuffled from the same order every time, the generator's state is all there is to save.
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.shuffle(&mut self.rng);
        for indices in order.chunks_exact(batch) {
            self.step(samples.select(indices), watch)?;
            after_step(&self.network)?;
        }
        Ok(())
    }

    fn step(&mut self, batch: Samples, watch: &mut Stopwatch) -> Result<()> {
        let start = Instant::now();
        let (logits, tape) = self.network.forward(batch.images, watch)?;
        let (loss, dlogits) = cross_entropy(&logits, &batch.labels);
        if !loss.is_finite() {
            return Err(format!("expected a finite training loss, got {loss}").into());
        }
        let grads = self.network.backward(tape, &dlogits, watch)?;
        self.adam.step(self.network.params_mut(), &grads);
        watch.steps += start.elapsed();
        Ok(())
    }
}

pub(crate) fn evaluate(network: &Network, samples: &Samples) -> Result<Score> {
    let logits = network.forward_eval(&samples.images)?;
    let accuracy = hits(&logits, &samples.labels) as f64 / samples.len() as f64;
    Ok(Score { loss: cross_entropy(&logits, &samples.labels).0, accuracy })
}

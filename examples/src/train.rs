//! The training loop: shuffled batches, an optimizer's steps, and the measuring of it.

use crate::Result;
use crate::data::Samples;
use crate::softmax::{cross_entropy, hits};
use crate::stopwatch::Stopwatch;
use ndarray::{Array2, ArrayD, ArrayViewMutD};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Instant;

/// A network that classifies images, given as shape (N, pixels).
pub trait Model {
    /// What a forward keeps for its backward.
    type Tape;

    /// The logits of a batch of training, shape (N, classes).
    ///
    /// # Errors
    /// Where a layer refuses its input.
    fn forward(&mut self, x: Array2<f32>, watch: &mut Stopwatch) -> Result<(Array2<f32>, Self::Tape)>;

    /// The logits outside training: batch normalization uses its running statistics.
    ///
    /// # Errors
    /// Where a layer refuses its input.
    fn forward_eval(&self, x: &Array2<f32>) -> Result<Array2<f32>>;

    /// The gradients of all parameters, in the order of [`params_mut`](Self::params_mut), from ∂L/∂logits.
    ///
    /// # Errors
    /// Where a layer refuses its gradient.
    fn backward(
        &self,
        tape: Self::Tape,
        dlogits: &Array2<f32>,
        watch: &mut Stopwatch,
    ) -> Result<Vec<ArrayD<f32>>>;

    /// All parameters.
    fn params_mut(&mut self) -> Vec<ArrayViewMutD<'_, f32>>;
}

/// What moves parameters.
pub trait Optimizer {
    /// Moves the parameters against their gradients, given in the same order.
    fn step(&mut self, params: Vec<ArrayViewMutD<'_, f32>>, grads: &[ArrayD<f32>]);
}

/// A network in training. With the data it is all that the next step depends on.
#[derive(Serialize, Deserialize)]
pub struct Trainer<M, O> {
    /// What learns.
    pub network: M,
    /// How it does.
    pub optimizer: O,
    rng: Pcg64,
}

/// A training loss that is not finite: there is no way on from here.
#[derive(Debug)]
pub struct Diverged(pub f64);

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a finite training loss, got {}", self.0)
    }
}

impl std::error::Error for Diverged {}

/// How good a network is on some samples.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Score {
    /// The mean cross-entropy in nats.
    pub loss: f64,
    /// The share of samples classified right, from 0 to 1.
    pub accuracy: f64,
}

/// Where a network's initial weights come from: a stream of their own, since the batches must not depend on how many
/// weights were drawn.
pub fn weights_rng(seed: u64) -> Pcg64 {
    Pcg64::new(u128::from(seed), 1)
}

impl<M: Model, O: Optimizer> Trainer<M, O> {
    /// Networks of the same seed see the same batches.
    pub fn new(network: M, optimizer: O, seed: u64) -> Self {
        Self { network, optimizer, rng: Pcg64::seed_from_u64(seed) }
    }

    /// One pass over the samples in batches of `batch`; what is left at the end waits for the next shuffle.
    /// `after_step` sees the network after every step.
    ///
    /// # Errors
    /// [`Diverged`] where a loss is not finite; where a layer refuses its input, and where `after_step` fails.
    pub fn epoch(
        &mut self,
        samples: &Samples,
        batch: usize,
        watch: &mut Stopwatch,
        mut after_step: impl FnMut(&M) -> Result<()>,
    ) -> Result<()> {
        // Shuffled from the same order every time, the generator's state is all there is to save.
        let mut order: Vec<usize> = (0..samples.count()).collect();
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
            return Err(Diverged(loss).into());
        }
        let grads = self.network.backward(tape, &dlogits, watch)?;
        self.optimizer.step(self.network.params_mut(), &grads);
        watch.steps += start.elapsed();
        Ok(())
    }
}

/// The score of a network as it stands.
///
/// # Errors
/// Where a layer refuses its input.
pub fn evaluate(network: &impl Model, samples: &Samples) -> Result<Score> {
    let logits = network.forward_eval(&samples.images)?;
    let accuracy = hits(&logits, &samples.labels) as f64 / samples.count() as f64;
    Ok(Score { loss: cross_entropy(&logits, &samples.labels).0, accuracy })
}

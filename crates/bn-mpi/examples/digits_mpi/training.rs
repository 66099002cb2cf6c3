//! Training over ranks: each has a share of every batch, and the gradients of all are added up.

use crate::network::{CHUNK, Network};
use batchnorm::ranks::{Communicator, Ranks};
use examples::Result;
use examples::adam::Adam;
use examples::data::{CLASSES, Samples};
use examples::softmax::{cross_entropy, hits};
use examples::train::{Diverged, Optimizer, weights_rng};
use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use std::ops::Range;

/// What the numbers depend on.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) batch: usize,
    pub(crate) learning_rate: f32,
    pub(crate) seed: u64,
}

pub(crate) struct Training<C> {
    ranks: Ranks<C>,
    network: Network,
    optimizer: Adam,
    rng: Pcg64,
    batch: usize,
}

impl<C: Communicator> Training<C> {
    /// Every rank begins with the same weights and sees the same order of samples.
    pub(crate) fn new(comm: C, Settings { batch, learning_rate, seed }: Settings) -> Result<Self> {
        let mut network = Network::new(&mut weights_rng(seed))?;
        let optimizer = Adam::new(&network.params_mut(), learning_rate);
        Ok(Self { ranks: Ranks::new(comm), network, optimizer, rng: Pcg64::seed_from_u64(seed), batch })
    }

    /// The samples of a batch that each rank has, in chunks that are not cut.
    pub(crate) fn shares(&self) -> Vec<Range<usize>> {
        let (ranks, chunks) = (self.ranks.communicator().size(), self.batch.div_ceil(CHUNK));
        let bound = |rank: usize| (chunks * rank / ranks * CHUNK).min(self.batch);
        (0..ranks).map(|rank| bound(rank)..bound(rank + 1)).collect()
    }

    /// One pass over the samples: the mean loss of each step, over its whole batch.
    pub(crate) fn epoch(&mut self, samples: &Samples) -> Result<Vec<f64>> {
        let mut order: Vec<usize> = (0..samples.count()).collect();
        order.shuffle(&mut self.rng);
        let own = self.shares()[self.ranks.communicator().rank()].clone();
        let batches = order.chunks_exact(self.batch);
        batches.map(|indices| self.step(&samples.select(&indices[own.clone()]))).collect()
    }

    fn step(&mut self, share: &Samples) -> Result<f64> {
        let (logits, tape) = self.network.forward(share.images.clone(), &mut self.ranks)?;
        let chunks = logits.axis_chunks_iter(Axis(0), CHUNK).zip(share.labels.chunks(CHUNK));
        let (mut losses, mut dlogits) = (Vec::new(), Array2::zeros((0, CLASSES)));
        for (logits, labels) in chunks {
            let (loss, dlogits_of_mean) = cross_entropy(&logits.to_owned(), labels);
            losses.push(loss * labels.len() as f64);
            // Means over the chunk become means over the batch.
            let factor = labels.len() as f32 / self.batch as f32;
            dlogits.append(Axis(0), (dlogits_of_mean * factor).view())?;
        }
        let grads = self.network.backward(tape, &dlogits, &mut self.ranks)?;
        let own: Vec<f64> = losses
            .iter()
            .zip(&grads.chunks)
            .flat_map(|(loss, grads)| std::iter::once(*loss).chain(grads.iter().map(|v| f64::from(*v))))
            .collect();
        let params = self.network.params_mut();
        let numbers =
            1 + params.iter().filter(|param| param.ndim() > 1).fold(0, |all, param| all + param.len());
        let sums = self.summed(&own, numbers)?;
        let loss = sums[0] / self.batch as f64;
        if !loss.is_finite() {
            return Err(Diverged(loss).into());
        }
        let params = self.network.params_mut();
        let grads = grads.summed(&sums[1..], &params)?;
        self.optimizer.step(params, &grads);
        Ok(loss)
    }

    /// The sums over all chunks of the batch, in their order, of so many numbers each.
    fn summed(&self, own: &[f64], numbers: usize) -> Result<Vec<f64>> {
        let lengths: Vec<usize> =
            self.shares().iter().map(|own| own.len().div_ceil(CHUNK) * numbers).collect();
        let words: Vec<u64> = own.iter().map(|v| v.to_bits()).collect();
        let mut all = vec![0; lengths.iter().sum()];
        self.ranks.communicator().all_gather(&words, &lengths, &mut all)?;
        let mut sums = vec![0.0; numbers];
        for chunk in all.chunks_exact(numbers) {
            sums.iter_mut().zip(chunk).for_each(|(sum, bits)| *sum += f64::from_bits(*bits));
        }
        Ok(sums)
    }

    /// The share of samples classified right, from 0 to 1.
    pub(crate) fn accuracy(&self, samples: &Samples) -> Result<f64> {
        let logits = self.network.forward_eval(&samples.images)?;
        Ok(hits(&logits, &samples.labels) as f64 / samples.count() as f64)
    }
}

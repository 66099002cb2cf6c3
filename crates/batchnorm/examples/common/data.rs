//! The 1797 handwritten digits of the UCI repository, 8×8 pixels each, as the crate smartcore carries them.

use super::Result;
use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use smartcore::dataset::digits;

pub(crate) const CLASSES: usize = 10;
pub(crate) const PIXELS: usize = 64;

/// A quarter of the samples is held out.
const HELD_OUT: f64 = 0.25;

/// Images, shape (N, 64), with the digit of each.
pub(crate) struct Samples {
    pub(crate) images: Array2<f32>,
    pub(crate) labels: Vec<usize>,
}

impl Samples {
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The samples at `indices`, in that order.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        Self {
            images: self.images.select(Axis(0), indices),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

pub(crate) struct Split {
    pub(crate) train: Samples,
    pub(crate) held_out: Samples,
}

/// The digits, shuffled by `seed` and split.
pub(crate) fn load(seed: u64) -> Result<Split> {
    let raw = digits::load_dataset();
    // Pixels are 0..=16; about zero and of unit size they suit an initialization that preserves variances.
    let pixels = raw.data.iter().map(|&p| p / 8.0 - 1.0).collect();
    let all = Samples {
        images: Array2::from_shape_vec((raw.num_samples, PIXELS), pixels)?,
        labels: raw.target.iter().map(|&digit| digit as usize).collect(),
    };

    let mut order: Vec<usize> = (0..all.len()).collect();
    order.shuffle(&mut Pcg64::seed_from_u64(seed));
    let (held_out, train) = order.split_at((all.len() as f64 * HELD_OUT).round() as usize);
    Ok(Split { train: all.select(train), held_out: all.select(held_out) })
}

//! The 1797 handwritten digits of the UCI repository, 8×8 pixels each.
//!
//! `digits.txt` holds the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
//! 1998, <https://doi.org/10.24432/C50P49>), under CC BY 4.0. A line is a sample: the digit, and its pixels row
//! by row, from 0 (white) to g (16, black). Only the notation is ours.

use crate::Result;
use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

/// How many digits there are to tell apart.
pub const CLASSES: usize = 10;
/// The pixels along an edge of an image.
pub const EDGE: usize = 8;
/// The pixels of an image.
pub const PIXELS: usize = EDGE * EDGE;

/// How many samples there are to train on.
pub const TRAIN: usize = 1348;

const DIGITS: &str = include_str!("digits.txt");
/// Images with the digit of each.
pub struct Samples {
    /// Shape (N, 64).
    pub images: Array2<f32>,
    /// From 0 to 9.
    pub labels: Vec<usize>,
}

impl Samples {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// The samples at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            images: self.images.select(Axis(0), indices),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

/// What is trained on, and what is not.
pub struct Split {
    /// Three quarters of the samples.
    pub train: Samples,
    /// The others.
    pub held_out: Samples,
}

/// The digits, shuffled by `seed` and split.
///
/// # Errors
/// Where the file of digits is not what it should be.
pub fn load(seed: u64) -> Result<Split> {
    let all = parse(DIGITS)?;
    let mut order: Vec<usize> = (0..all.count()).collect();
    order.shuffle(&mut Pcg64::seed_from_u64(seed));
    let (held_out, train) = order.split_at(all.count().saturating_sub(TRAIN));
    Ok(Split { train: all.select(train), held_out: all.select(held_out) })
}

fn parse(text: &str) -> Result<Samples> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let sample = sample(line);
        let (digit, image) = sample
            .ok_or_else(|| format!("digits, line {number}: expected a digit and 64 pixels, got {line:?}"))?;
        labels.push(digit);
        // Pixels are 0..=16; about zero and of unit size they suit an initialization that preserves variances.
        pixels.extend(image.iter().map(|&p| p as f32 / 8.0 - 1.0));
    }
    Ok(Samples { images: Array2::from_shape_vec((labels.len(), PIXELS), pixels)?, labels })
}

/// The digit and the pixels of a line.
fn sample(line: &str) -> Option<(usize, Vec<u32>)> {
    let (digit, image) = line.split_once(' ')?;
    let digit = digit.parse().ok().filter(|&digit| digit < CLASSES)?;
    let image: Vec<u32> = image.chars().map(|pixel| pixel.to_digit(17)).collect::<Option<_>>()?;
    (image.len() == PIXELS).then_some((digit, image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_digits_are_there() {
        let all = parse(DIGITS).expect("the digits");
        assert_eq!(all.images.dim(), (1797, 64));
        // The counts that the data set's own description has.
        let count = |digit| all.labels.iter().filter(|&&label| label == digit).count();
        let counts: Vec<usize> = (0..CLASSES).map(count).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let (low, high) =
            all.images.iter().fold((0.0f32, 0.0f32), |(low, high), &p| (low.min(p), high.max(p)));
        assert_eq!((low, high), (-1.0, 1.0));
    }

    #[test]
    fn another_line_is_refused() {
        let line = "3 ".to_owned() + &"g".repeat(64);
        assert_eq!(parse(&line).expect("a sample").labels, [3]);
        for bad in
            [" ", "3", "x 0", &line[1..], &line[..65], &line.replace('g', "h"), &line.replace('3', "10")]
        {
            let Err(error) = parse(&format!("{line}\n{bad}")) else { panic!("expected an error") };
            assert!(error.to_string().contains("line 2: expected a digit and 64 pixels, got"), "{error}");
        }
    }
}

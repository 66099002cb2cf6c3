//! A small residual network: a convolution, three stages of residual blocks, the mean over all pixels, and a linear
//! layer to the logits. It is ResNet-20's plan (<https://arxiv.org/abs/1512.03385>, 4.2) for images of 8×8.

use crate::block::{Block, BlockTape, ConvNorm, ConvNormTape, relu, relu_grad};
use examples::Result;
use examples::data::{CLASSES, EDGE};
use examples::stopwatch::Stopwatch;
use examples::train::Model;
use ndarray::{Array, Array1, Array2, Array4, ArrayD, ArrayViewMutD, Axis};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// The channels of the stages; from each to the next the image is halved.
const STAGES: [usize; 3] = [8, 16, 32];

pub(crate) struct ResNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    /// Shape (channels, classes).
    weight: Array2<f32>,
    bias: Array1<f32>,
}

/// What a forward keeps for its backward.
pub(crate) struct Tape {
    stem: ConvNormTape,
    blocks: Vec<BlockTape>,
    /// The inputs of the blocks, and the last one's output.
    between: Vec<Array4<f32>>,
    /// The input of the linear layer.
    means: Array2<f32>,
}

impl ResNet {
    /// A network with as many blocks in each stage.
    pub(crate) fn new(blocks: usize, normalized: bool, rng: &mut impl Rng) -> Result<Self> {
        let [mut inputs, .., last] = STAGES;
        let stem = ConvNorm::new([1, inputs, 3, 1], normalized, rng)?;
        let mut list = Vec::new();
        for (stage, outputs) in STAGES.into_iter().enumerate() {
            for block in 0..blocks {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                list.push(Block::new([inputs, outputs, stride], normalized, rng)?);
                inputs = outputs;
            }
        }
        let scale = 1.0 / (last as f32).sqrt();
        let mut normal = || -> f32 { StandardNormal.sample(rng) };
        let weight = Array::from_shape_simple_fn((last, CLASSES), || scale * normal());
        Ok(Self { stem, blocks: list, weight, bias: Array1::zeros(CLASSES) })
    }

    fn logits(&self, y: &Array4<f32>) -> (Array2<f32>, Array2<f32>) {
        let (n, h, w, c) = y.dim();
        let means = y.sum_axis(Axis(1)).sum_axis(Axis(1)) / (h * w) as f32;
        debug_assert_eq!(means.dim(), (n, c));
        (means.dot(&self.weight) + &self.bias, means)
    }
}

impl Model for ResNet {
    type Tape = Tape;

    fn forward(&mut self, x: Array2<f32>, watch: &mut Stopwatch) -> Result<(Array2<f32>, Tape)> {
        let (z, stem) = self.stem.forward(&images(x)?, watch)?;
        let (mut blocks, mut between) = (Vec::new(), vec![relu(z)]);
        for block in &mut self.blocks {
            let (y, tape) = block.forward(&between[between.len() - 1], watch)?;
            blocks.push(tape);
            between.push(y);
        }
        let (logits, means) = self.logits(&between[between.len() - 1]);
        Ok((logits, Tape { stem, blocks, between, means }))
    }

    fn forward_eval(&self, x: &Array2<f32>) -> Result<Array2<f32>> {
        let mut y = relu(self.stem.forward_eval(&images(x.clone())?)?);
        for block in &self.blocks {
            y = block.forward_eval(&y)?;
        }
        Ok(self.logits(&y).0)
    }

    fn backward(&self, tape: Tape, dlogits: &Array2<f32>, watch: &mut Stopwatch) -> Result<Vec<ArrayD<f32>>> {
        let Tape { stem, blocks, between, means } = tape;
        let mut grads = vec![means.t().dot(dlogits).into_dyn(), dlogits.sum_axis(Axis(0)).into_dyn()];
        let (n, h, w, c) = between[between.len() - 1].dim();
        let dmeans = dlogits.dot(&self.weight.t()) / (h * w) as f32;
        // The mean's gradient goes to every pixel alike.
        let dmeans = dmeans.insert_axis(Axis(1)).insert_axis(Axis(1));
        let mut dy = dmeans.broadcast((n, h, w, c)).expect("pixels of one value each").to_owned();
        for ((block, tape), y) in self.blocks.iter().zip(&blocks).zip(&between[1..]).rev() {
            dy = block.backward(tape, y, dy, watch, &mut grads)?;
        }
        self.stem.backward(&stem, relu_grad(&between[0], dy), watch, &mut grads)?;
        Ok(grads)
    }

    /// From the output back to the input, as the backward comes upon them.
    fn params_mut(&mut self) -> Vec<ArrayViewMutD<'_, f32>> {
        let mut params = vec![self.weight.view_mut().into_dyn(), self.bias.view_mut().into_dyn()];
        self.blocks.iter_mut().rev().for_each(|block| block.push_params(&mut params));
        self.stem.push_params(&mut params);
        params
    }
}

/// Pixels in rows as images of one channel, shape (N, H, W, 1).
fn images(x: Array2<f32>) -> Result<Array4<f32>> {
    let n = x.nrows();
    Ok(x.into_shape_with_order((n, EDGE, EDGE, 1))?)
}

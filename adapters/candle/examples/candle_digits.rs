//! A small residual network in candle that learns handwritten digits, with candle's batch normalization and with ours:
//!
//! ```text
//! cargo run --release -p bn-candle --example candle_digits
//! ```

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{AdamW, Conv2d, Conv2dConfig, Linear, Module, ModuleT, Optimizer, VarBuilder, VarMap};
use candle_nn::{conv2d_no_bias, linear, loss};
use clap::Parser;
use examples::beside::{self, Args, Norm, Trainee};
use examples::data::{CLASSES, EDGE, Samples};
use examples::train::weights_rng;
use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use std::process::ExitCode;

/// The channels of the stages; from each to the next the image is halved.
const STAGES: [usize; 2] = [32, 64];
/// Residual blocks in each stage.
const BLOCKS: usize = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let build = |norm| Ok(Box::new(Network::new(norm, args.seed)?) as Box<dyn Trainee>);
    examples::exit(beside::run(&args, ["candle-nn", "bn-candle"], build))
}

/// A layer in the network, and what comes behind it.
enum Layer {
    Theirs(candle_nn::BatchNorm),
    Ours(bn_candle::BatchNorm),
    Without,
}

impl Layer {
    fn new(norm: Norm, channels: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(match norm {
            Norm::Theirs => Self::Theirs(candle_nn::batch_norm(channels, 1e-5, vb)?),
            Norm::Ours => Self::Ours(bn_candle::batch_norm(channels, 1e-5, vb)?),
            Norm::Without => Self::Without,
        })
    }

    fn relu(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::Theirs(norm) => norm.forward_t(x, train)?.relu(),
            Self::Ours(norm) => norm.forward_t_relu(x, train),
            Self::Without => x.relu(),
        }
    }

    fn add_relu(&self, x: &Tensor, skip: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::Theirs(norm) => (norm.forward_t(x, train)? + skip)?.relu(),
            Self::Ours(norm) => norm.forward_t_add_relu(x, skip, train),
            Self::Without => (x + skip)?.relu(),
        }
    }
}

struct Block {
    convs: [Conv2d; 2],
    layers: [Layer; 2],
}

struct Network {
    stages: Vec<(Conv2d, Layer, Vec<Block>)>,
    head: Linear,
    adam: AdamW,
}

impl Network {
    fn new(norm: Norm, seed: u64) -> Result<Self> {
        let vars = VarMap::new();
        let vb = VarBuilder::from_varmap(&vars, candle_core::DType::F32, &Device::Cpu);
        let mut inputs = 1;
        let mut stages = Vec::new();
        for (s, channels) in STAGES.into_iter().enumerate() {
            let vb = vb.pp(s);
            let conv = |inputs, stride, name: &str| {
                let config = Conv2dConfig { padding: 1, stride, ..Default::default() };
                conv2d_no_bias(inputs, channels, 3, config, vb.pp(name))
            };
            let layer = |name: &str| Layer::new(norm, channels, vb.pp(name));
            let entry = (conv(inputs, 1 + usize::from(s > 0), "entry")?, layer("bn")?);
            let blocks: Result<Vec<Block>> = (0..BLOCKS)
                .map(|b| {
                    let [first, second] = ["a", "b"].map(|name| format!("{b}{name}"));
                    let convs = [conv(channels, 1, &first)?, conv(channels, 1, &second)?];
                    let layers = [layer(&format!("bn{first}"))?, layer(&format!("bn{second}"))?];
                    Ok(Block { convs, layers })
                })
                .collect();
            stages.push((entry.0, entry.1, blocks?));
            inputs = channels;
        }
        let head = linear(inputs, CLASSES, vb.pp("head"))?;
        draw_weights(&vars, seed)?;
        Ok(Self { stages, head, adam: AdamW::new_lr(vars.all_vars(), 1e-3)? })
    }

    fn forward(&self, images: &Array2<f32>, train: bool) -> Result<Tensor> {
        let pixels: Vec<f32> = images.iter().copied().collect();
        let mut y = Tensor::from_vec(pixels, (images.nrows(), 1, EDGE, EDGE), &Device::Cpu)?;
        for (conv, layer, blocks) in &self.stages {
            y = layer.relu(&conv.forward(&y)?, train)?;
            for Block { convs: [a, b], layers: [first, second] } in blocks {
                let inside = first.relu(&a.forward(&y)?, train)?;
                y = second.add_relu(&b.forward(&inside)?, &y, train)?;
            }
        }
        self.head.forward(&y.mean((2, 3))?)
    }
}

/// Weights by seed: candle draws its own from a generator that has none.
fn draw_weights(vars: &VarMap, seed: u64) -> Result<()> {
    let data = vars.data().lock().expect("nobody panicked");
    let mut names: Vec<(&String, &Var)> = data.iter().filter(|(_, var)| var.rank() > 1).collect();
    names.sort_by_key(|(name, _)| *name);
    let mut rng = weights_rng(seed);
    for (_, var) in names {
        let fan_in: usize = var.dims()[1..].iter().product();
        let scale = (2.0 / fan_in as f32).sqrt();
        let draw = |_| scale * Distribution::<f32>::sample(&StandardNormal, &mut rng);
        let values: Vec<f32> = (0..var.elem_count()).map(draw).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
    }
    data.get("head.bias").map_or(Ok(()), |bias| bias.set(&bias.zeros_like()?))
}

impl Trainee for Network {
    fn step(&mut self, batch: &Samples) -> examples::Result<()> {
        let labels: Vec<u32> = batch.labels.iter().map(|&label| label as u32).collect();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        let loss = loss::cross_entropy(&self.forward(&batch.images, true)?, &labels)?;
        Ok(self.adam.backward_step(&loss)?)
    }

    fn logits(&self, images: &Array2<f32>) -> examples::Result<Array2<f32>> {
        let logits = self.forward(images, false)?.to_vec2::<f32>()?;
        Ok(Array2::from_shape_vec((images.nrows(), CLASSES), logits.concat())?)
    }
}

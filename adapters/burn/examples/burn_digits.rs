//! A small residual network in burn that learns handwritten digits, with burn's batch normalization and with ours:
//!
//! ```text
//! cargo run --release -p bn-burn --example burn_digits
//! ```

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use examples::beside::{self, Args, Norm, Trainee};
use examples::data::{CLASSES, EDGE, Samples};
use ndarray::Array2;
use std::process::ExitCode;

/// The channels of the stages; from each to the next the image is halved.
const STAGES: [usize; 2] = [32, 64];
/// Residual blocks in each stage.
const BLOCKS: usize = 2;
const RATE: f64 = 1e-3;

fn main() -> ExitCode {
    let args = Args::parse();
    let build = |norm| Ok(Box::new(Training::new(norm, args.seed)) as Box<dyn Trainee>);
    examples::exit(beside::run(&args, ["burn-nn", "bn-burn"], build))
}

/// A layer in the network, which is one of the two or none, and what comes behind it.
#[derive(Module, Debug)]
struct Layer {
    theirs: Option<burn::nn::BatchNorm>,
    ours: Option<bn_burn::BatchNorm>,
}

impl Layer {
    fn new(norm: Norm, channels: usize, device: &Device) -> Self {
        Self {
            theirs: (norm == Norm::Theirs).then(|| burn::nn::BatchNormConfig::new(channels).init(device)),
            ours: (norm == Norm::Ours).then(|| bn_burn::BatchNormConfig::new(channels).init(device)),
        }
    }

    fn relu(&self, x: Tensor<4>) -> Tensor<4> {
        match (&self.theirs, &self.ours) {
            (Some(norm), _) => relu(norm.forward(x)),
            (_, Some(norm)) => norm.forward_relu(x),
            _ => relu(x),
        }
    }

    fn add_relu(&self, x: Tensor<4>, skip: Tensor<4>) -> Tensor<4> {
        match (&self.theirs, &self.ours) {
            (Some(norm), _) => relu(norm.forward(x) + skip),
            (_, Some(norm)) => norm.forward_add_relu(x, skip),
            _ => relu(x + skip),
        }
    }
}

#[derive(Module, Debug)]
struct Block {
    a: Conv2d,
    first: Layer,
    b: Conv2d,
    second: Layer,
}

#[derive(Module, Debug)]
struct Stage {
    conv: Conv2d,
    layer: Layer,
    blocks: Vec<Block>,
}

#[derive(Module, Debug)]
struct Network {
    stages: Vec<Stage>,
    head: Linear,
}

impl Network {
    fn new(norm: Norm, device: &Device) -> Self {
        let mut inputs = 1;
        let stages = STAGES.into_iter().enumerate().map(|(s, channels)| {
            let conv = |inputs, stride| {
                Conv2dConfig::new([inputs, channels], [3, 3])
                    .with_stride([stride, stride])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .with_bias(false)
                    .init(device)
            };
            let layer = || Layer::new(norm, channels, device);
            let (entry, between) = (conv(inputs, 1 + usize::from(s > 0)), layer());
            inputs = channels;
            let block =
                |_| Block { a: conv(channels, 1), first: layer(), b: conv(channels, 1), second: layer() };
            Stage { conv: entry, layer: between, blocks: (0..BLOCKS).map(block).collect() }
        });
        let stages = stages.collect();
        Self { stages, head: LinearConfig::new(inputs, CLASSES).init(device) }
    }

    fn forward(&self, images: &Array2<f32>, device: &Device) -> Tensor<2> {
        let pixels: Vec<f32> = images.iter().copied().collect();
        let mut y = Tensor::from_data(TensorData::new(pixels, [images.nrows(), 1, EDGE, EDGE]), device);
        for Stage { conv, layer, blocks } in &self.stages {
            y = layer.relu(conv.forward(y));
            for Block { a, first, b, second } in blocks {
                let inside = b.forward(first.relu(a.forward(y.clone())));
                y = second.add_relu(inside, y);
            }
        }
        let [n, channels, ..] = y.dims();
        self.head.forward(y.reshape([n as i32, channels as i32, -1]).mean_dim(2).reshape([n, channels]))
    }
}

struct Training {
    /// Moved out for a step of the optimizer.
    network: Option<Network>,
    optimizer: ModuleOptimizer,
}

impl Training {
    fn new(norm: Norm, seed: u64) -> Self {
        let device = Device::default().autodiff();
        device.seed(seed);
        let network = Network::new(norm, &device);
        // Weights are drawn where they are first read: now, from this seed.
        let _ = network.forward(&Array2::zeros((2, EDGE * EDGE)), &device);
        Self { network: Some(network), optimizer: AdamWConfig::new().init() }
    }
}

impl Trainee for Training {
    fn step(&mut self, batch: &Samples) -> examples::Result<()> {
        let device = Device::default().autodiff();
        let network = self.network.take().expect("the one of the step before");
        let labels: Vec<i64> = batch.labels.iter().map(|&label| label as i64).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch.count()]), &device);
        let loss = CrossEntropyLossConfig::new()
            .init(&device)
            .forward(network.forward(&batch.images, &device), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        self.network = Some(self.optimizer.step(RATE, network, gradients));
        Ok(())
    }

    fn logits(&self, images: &Array2<f32>) -> examples::Result<Array2<f32>> {
        let network = self.network.as_ref().expect("the one of the step before").valid();
        let logits: Vec<f32> = network.forward(images, &Device::default()).to_data().iter::<f32>().collect();
        Ok(Array2::from_shape_vec((images.nrows(), CLASSES), logits)?)
    }
}

//! Through whole networks: gradients are those of differences, and two models train side by side as one after the other.

use crate::{random, values};
use bn_burn::BatchNorm;
use burn::module::Param;
use burn::tensor::activation::log_softmax;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor};

/// A convolution, the layer and ReLU, another one around which a residual goes, and a linear map.
struct Network {
    convs: [Tensor<4>; 2],
    norms: [BatchNorm; 2],
    head: Tensor<2>,
}

impl Network {
    fn new(dtype: DType) -> Self {
        let weight = |seed, dims| (random::<4>(seed, dims, 0.0, dtype) * 0.5).detach().require_grad();
        let norm = || {
            let (mut norm, _) = crate::pair(4, dtype);
            norm.gamma = Param::from_tensor(norm.gamma.val().detach().require_grad());
            norm
        };
        let head = (random(3, [4 * 36, 3], 0.0, dtype) * 0.5).detach().require_grad();
        Self { convs: [weight(1, [4, 1, 3, 3]), weight(2, [4, 4, 3, 3])], norms: [norm(), norm()], head }
    }

    fn loss(&self, x: &Tensor<4>) -> Tensor<1> {
        let conv = |x, weight: &Tensor<4>| {
            conv2d(x, weight.clone(), None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
        };
        let [first, second] = &self.norms;
        let skip = first.forward_relu(conv(x.clone(), &self.convs[0]));
        let y = second.forward_add_relu(conv(skip.clone(), &self.convs[1]), skip);
        let logits = y.reshape([x.dims()[0], 4 * 36]).matmul(self.head.clone());
        -log_softmax(logits, 1).slice([0..5, 0..1]).mean()
    }
}

#[test]
fn gradients_through_a_network_are_those_of_differences() {
    let dtype = DType::F64;
    let x = random(50, [5, 1, 6, 6], 0.0, dtype);
    let mut network = Network::new(dtype);
    let gradients = network.loss(&x).backward();
    let gradient = values(&network.convs[0].grad(&gradients).expect("a gradient"));
    let gamma = values(&network.norms[0].gamma.val().grad(&gradients).expect("a gradient"));
    let loss = |network: &Network| values(&network.loss(&x))[0];
    let own = network.convs[0].clone();
    for i in (0..gradient.len()).step_by(5) {
        let mut moved = |by: f64| {
            let mut at = values(&own);
            at[i] += by;
            network.convs[0] = crate::tensor(burn::tensor::TensorData::new(at, own.dims()), dtype);
            loss(&network)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((slope - gradient[i]).abs() < 1e-7, "conv [{i}]: {slope}, got {}", gradient[i]);
    }
    network.convs[0] = own;
    let own = network.norms[0].gamma.val();
    for i in 0..4 {
        let mut moved = |by: f64| {
            let mut at = values(&own);
            at[i] += by;
            let data = burn::tensor::TensorData::new(at, [4]);
            network.norms[0].gamma = Param::from_tensor(crate::tensor(data, dtype));
            loss(&network)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((slope - gamma[i]).abs() < 1e-7, "γ [{i}]: {slope}, got {}", gamma[i]);
    }
}

/// The losses of a few steps of training.
fn train() -> Vec<f64> {
    let x = random(50, [5, 1, 6, 6], 0.0, DType::F32);
    let mut network = Network::new(DType::F32);
    let steps = (0..8).map(|_| {
        let loss = network.loss(&x);
        let gradients = loss.backward();
        for weight in &mut network.convs {
            let gradient = Tensor::from_inner(weight.grad(&gradients).expect("a gradient"));
            *weight = (weight.clone().detach() - gradient * 0.1).detach().require_grad();
        }
        values(&loss)[0]
    });
    steps.collect()
}

#[test]
fn two_models_train_at_once_as_one_after_the_other() {
    let alone = train();
    assert!(alone[7] < alone[0], "{alone:?}");
    let both = std::thread::scope(|scope| {
        [scope.spawn(train), scope.spawn(train)].map(|thread| thread.join().expect("no panic"))
    });
    assert_eq!(both, [alone.clone(), alone]);
    assert!(Device::default().autodiff().is_autodiff());
}

/// A running mean of ones that are weighed in by 1/1000 so many times.
fn assert_mean(norm: &BatchNorm, steps: i32) {
    let want = 1.0 - 0.999f64.powi(steps);
    let got = values(&norm.running_mean.value())[0];
    assert!((got - want).abs() < 1e-5, "{got}, expected {want}");
}

/// Threads that share a layer lose no batch, and the statistics are there at once.
#[test]
fn threads_that_share_a_layer_lose_no_batch() {
    let device = Device::default().autodiff();
    let layer = || bn_burn::BatchNormConfig::new(4).with_momentum(1e-3).init(&device);
    let step = |norm: &BatchNorm| drop(norm.forward(Tensor::<3>::ones([8, 4, 1], &device)));
    let norm = layer();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| step(&norm)));
        }
    });
    assert_mean(&norm, 400);
    let norm = layer();
    for _ in 0..50 {
        std::thread::scope(|scope| drop(scope.spawn(|| step(&norm))));
    }
    assert_mean(&norm, 50);
}

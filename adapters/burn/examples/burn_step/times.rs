//! What both allocators run.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use examples::steps::{self, Steps};
use std::process::ExitCode;

pub(crate) fn main(allocator: &str) -> ExitCode {
    let pools = ["RAYON_NUM_THREADS"];
    let build = |dims: &[usize]| match *dims {
        [n, c] => Ok(steps_of([n, c])),
        [n, c, h, w] => Ok(steps_of([n, c, h, w])),
        _ => unreachable!("shapes of two or four axes"),
    };
    examples::exit(steps::table(["burn-nn", "bn-burn"], allocator, &pools, build))
}

fn steps_of<const D: usize>(dims: [usize; D]) -> Steps {
    let device = Device::default().autodiff();
    let random = || Tensor::<D>::random(dims, Distribution::Normal(0.5, 1.0), &device);
    let (x, skip) = (random(), random());
    let ours = bn_burn::BatchNormConfig::new(dims[1]).init(&device);
    let theirs = burn::nn::BatchNormConfig::new(dims[1]).init(&device);
    // burn begins a backward with ones: a tensor of them is a part of every step.
    let step = |forward: Box<dyn Fn(Tensor<D>, Tensor<D>) -> Tensor<D>>| -> Box<dyn FnMut()> {
        let leaves = [x.clone(), skip.clone()];
        Box::new(move || {
            let [x, skip] = leaves.clone().map(|leaf| leaf.detach().require_grad());
            let gradients = forward(x.clone(), skip).backward();
            assert!(x.grad(&gradients).is_some());
        })
    };
    let (a, b, c, d) = (theirs.clone(), ours.clone(), theirs, ours);
    [
        step(Box::new(move |x, _| x)),
        step(Box::new(move |x, _| a.forward(x))),
        step(Box::new(move |x, _| b.forward(x))),
        step(Box::new(move |x, skip| relu(c.forward(x) + skip))),
        step(Box::new(move |x, skip| d.forward_add_relu(x, skip))),
    ]
}

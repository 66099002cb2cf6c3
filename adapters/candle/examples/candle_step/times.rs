//! What both allocators run.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, Var};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use examples::steps::{self, Steps};
use std::process::ExitCode;

pub(crate) fn main(allocator: &str) -> ExitCode {
    let pools = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];
    examples::exit(steps::table(["candle-nn", "bn-candle"], allocator, &pools, |dims| Ok(steps_of(dims)?)))
}

/// A scalar whose gradient with respect to y is dy: no pass over memory that is not the layer's.
struct Seed(Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

/// What it makes of x and what is to be added.
type Forward = Box<dyn Fn(&Tensor, &Tensor) -> Result<Tensor>>;

fn steps_of(dims: &[usize]) -> Result<Steps> {
    let device = Device::Cpu;
    let variable = || Tensor::randn(0.5f32, 1.0, dims, &device).and_then(|x| Var::from_tensor(&x));
    let (x, skip) = (variable()?, variable()?);
    let dy = Tensor::randn(0f32, 1.0, dims, &device)?;
    let vars = [VarMap::new(), VarMap::new()];
    let [own, other] = vars.each_ref().map(|vars| VarBuilder::from_varmap(vars, DType::F32, &device));
    let ours = bn_candle::batch_norm(dims[1], 1e-5, own)?;
    let theirs = candle_nn::batch_norm(dims[1], 1e-5, other)?;
    let step = |forward: Forward| -> Box<dyn FnMut()> {
        let (x, skip, dy) = (x.clone(), skip.clone(), dy.clone());
        Box::new(move || {
            let gradients = forward(&x, &skip).and_then(|y| y.apply_op1(Seed(dy.clone()))?.backward());
            assert!(gradients.expect("a step of valid shapes").get(&x).is_some());
        })
    };
    let (a, b, c, d) = (theirs.clone(), ours.clone(), theirs, ours);
    Ok([
        step(Box::new(|x, _| Ok(x.clone()))),
        step(Box::new(move |x, _| a.forward_t(x, true))),
        step(Box::new(move |x, _| b.forward_t(x, true))),
        step(Box::new(move |x, skip| (c.forward_t(x, true)? + skip)?.relu())),
        step(Box::new(move |x, skip| d.forward_t_add_relu(x, skip, true))),
    ])
}

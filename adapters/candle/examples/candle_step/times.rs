//! What both allocators run.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, Var};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use examples::steps::{self, Steps};
use std::process::ExitCode;
use std::rc::Rc;

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

fn steps_of(dims: &[usize]) -> Result<Steps> {
    let device = Device::Cpu;
    let variable = || Tensor::randn(0.5f32, 1.0, dims, &device).and_then(|x| Var::from_tensor(&x));
    let (x, skip) = (Rc::new(variable()?), Rc::new(variable()?));
    let dy = Tensor::randn(0f32, 1.0, dims, &device)?;
    let vars = [VarMap::new(), VarMap::new()];
    let [own, other] = vars.each_ref().map(|vars| VarBuilder::from_varmap(vars, DType::F32, &device));
    let ours = Rc::new(bn_candle::batch_norm(dims[1], 1e-5, own)?);
    let theirs = Rc::new(candle_nn::batch_norm(dims[1], 1e-5, other)?);
    let step = |forward: Box<dyn Fn() -> Result<Tensor>>| -> Box<dyn FnMut()> {
        let dy = dy.clone();
        Box::new(move || {
            let gradients = forward().and_then(|y| y.apply_op1(Seed(dy.clone()))?.backward());
            gradients.expect("a step of valid shapes");
        })
    };
    let of = |theirs: &Rc<candle_nn::BatchNorm>| (Rc::clone(theirs), Rc::clone(&x), Rc::clone(&skip));
    let our = |ours: &Rc<bn_candle::BatchNorm>| (Rc::clone(ours), Rc::clone(&x), Rc::clone(&skip));
    let ((a, xa, _), (b, xb, _), (c, xc, sc), (d, xd, sd)) =
        (of(&theirs), our(&ours), of(&theirs), our(&ours));
    let xn = Rc::clone(&x);
    Ok([
        step(Box::new(move || Ok(xn.as_tensor().clone()))),
        step(Box::new(move || a.forward_t(&xa, true))),
        step(Box::new(move || b.forward_t(&xb, true))),
        step(Box::new(move || (c.forward_t(&xc, true)? + sc.as_tensor())?.relu())),
        step(Box::new(move || d.forward_t_add_relu(&xd, &sd, true))),
    ])
}

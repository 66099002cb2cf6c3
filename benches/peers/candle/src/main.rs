//! The peer `candle`: candle-nn's `BatchNorm` in training, differentiated by candle's autograd.
//!
//! Channels last is taken as (rows, features), which is the same memory: its `BatchNorm` wants the features on axis 1.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, Var};
use candle_nn::BatchNorm;
use peer_protocol::{Case, Dtype, Error, Inputs, Outputs, Peer};
use std::process::ExitCode;

fn main() -> ExitCode {
    peer_protocol::main::<Candle>()
}

struct Candle {
    layer: BatchNorm,
    x: Var,
    dy: Tensor,
    weight: Var,
    bias: Var,
}

impl Peer for Candle {
    const NAME: &'static str = "candle";
    const PACKAGE: &'static str = "candle-nn";
    type Forward = Tensor;
    type Gradients = GradStore;

    fn load(case: &Case, inputs: Inputs) -> std::result::Result<Self, Error> {
        // Besides rayon's, candle has threads of its own, as many as the environment says when they are first used.
        let (threads, own) = (candle_core::utils::get_num_threads(), std::env::var("CANDLE_NUM_THREADS"));
        if threads != case.threads.get() || own.is_ok_and(|own| own != threads.to_string()) {
            return Err(format!(
                "expected RAYON_NUM_THREADS={} and no CANDLE_NUM_THREADS in the environment, got {threads} threads",
                case.threads
            )
            .into());
        }
        let [outer, features, inner] = case.shape()?;
        let dims: &[usize] = if inner == 1 { &[outer, features] } else { &[outer, features, inner] };
        let dtype = match case.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
        };
        let tensor = |bytes: &[u8], dims: &[usize]| Tensor::from_raw_buffer(bytes, dtype, dims, &Device::Cpu);
        let variable = |bytes: &[u8], dims: &[usize]| Var::from_tensor(&tensor(bytes, dims)?);
        let (x, dy) = (variable(&inputs.x, dims)?, tensor(&inputs.dy, dims)?);
        let (weight, bias) = (variable(&inputs.weight, &[features])?, variable(&inputs.bias, &[features])?);
        let mean = Tensor::zeros(features, dtype, &Device::Cpu)?;
        let var = Tensor::ones(features, dtype, &Device::Cpu)?;
        let parameters = (weight.as_tensor().clone(), bias.as_tensor().clone());
        let layer = BatchNorm::new(features, mean, var, parameters.0, parameters.1, case.eps)?;
        Ok(Self { layer, x, dy, weight, bias })
    }

    fn forward(&self) -> std::result::Result<Tensor, Error> {
        Ok(self.layer.forward_train(&self.x)?)
    }

    fn backward(&self, y: &Tensor) -> std::result::Result<GradStore, Error> {
        Ok(y.apply_op1(Seed(self.dy.clone()))?.backward()?)
    }

    fn outputs(&self, y: Tensor, gradients: GradStore) -> std::result::Result<Outputs, Error> {
        let bytes = |tensor: &Tensor| -> std::result::Result<Vec<u8>, Error> {
            let mut bytes = Vec::new();
            tensor.write_bytes(&mut bytes)?;
            Ok(bytes)
        };
        let gradient = |name: &str, of: &Var| match gradients.get(of) {
            Some(gradient) => bytes(gradient),
            None => Err(format!("expected a gradient of {name}, got none").into()),
        };
        Ok(Outputs {
            y: bytes(&y)?,
            dx: gradient("x", &self.x)?,
            dweight: gradient("weight", &self.weight)?,
            dbias: gradient("bias", &self.bias)?,
        })
    }
}

/// A scalar whose gradient with respect to y is dy. `backward` starts from ones, and (y·dy).sum() would cost several
/// passes over memory that are not batch normalization's.
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

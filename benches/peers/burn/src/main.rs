//! The peer `burn`: batch normalization of burn's CPU backend, flex.
//!
//! The operations `batch_norm_train` and `batch_norm_train_backward` are called as the autodiff backend calls them,
//! without its bookkeeping. Channels last is taken as (rows, features), which is the same memory.

use burn_backend::ops::{BatchNormTrain, BatchNormTrainBackward, ModuleOps};
use burn_backend::{Bytes, DType, Shape, TensorData};
use burn_flex::{Flex, FlexTensor};
use peer_protocol::{Case, Dtype, Error, Inputs, Outputs, Peer};
use std::process::ExitCode;

fn main() -> ExitCode {
    peer_protocol::main::<Burn>()
}

struct Burn {
    x: FlexTensor,
    dy: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    eps: f64,
}

impl Peer for Burn {
    const NAME: &'static str = "burn";
    const PACKAGE: &'static str = "burn-flex";
    type Forward = BatchNormTrain<Flex>;
    type Gradients = BatchNormTrainBackward<Flex>;

    fn load(case: &Case, inputs: Inputs) -> Result<Self, Error> {
        let [outer, features, inner] = case.shape()?;
        let dims = if inner == 1 { vec![outer, features] } else { vec![outer, features, inner] };
        let dtype = match case.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
        };
        let tensor = |bytes: Vec<u8>, dims: &[usize]| {
            let shape = Shape::from(dims.to_vec());
            FlexTensor::from_data(TensorData::from_bytes(Bytes::from_bytes_vec(bytes), shape, dtype))
        };
        Ok(Self {
            x: tensor(inputs.x, &dims),
            dy: tensor(inputs.dy, &dims),
            weight: tensor(inputs.weight, &[features]),
            bias: tensor(inputs.bias, &[features]),
            eps: case.eps,
        })
    }

    fn forward(&self) -> Result<Self::Forward, Error> {
        Ok(Flex::batch_norm_train(self.x.clone(), self.weight.clone(), self.bias.clone(), self.eps))
    }

    fn backward(&self, forward: &Self::Forward) -> Result<Self::Gradients, Error> {
        let (mean, variance) = (forward.mean.clone(), forward.variance.clone());
        let (x, dy) = (self.x.clone(), self.dy.clone());
        Ok(Flex::batch_norm_train_backward(x, self.weight.clone(), mean, variance, self.eps, dy))
    }

    fn outputs(&self, forward: Self::Forward, gradients: Self::Gradients) -> Result<Outputs, Error> {
        let bytes = |tensor: FlexTensor| tensor.into_data().as_bytes().to_vec();
        Ok(Outputs {
            y: bytes(forward.output),
            dx: bytes(gradients.x_grad),
            dweight: bytes(gradients.gamma_grad),
            dbias: bytes(gradients.beta_grad),
        })
    }
}

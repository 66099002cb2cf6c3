//! bn-burn beside burn's own layer, the oracle, finite differences, and records of both sides.

mod agreement;
mod network;
mod oracle;
mod state;

use bn_burn::{BatchNorm, BatchNormConfig};
use burn::module::{Param, RunningState};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// Values of about −1.7 to 1.7 around `mean`, the same for the same seed.
fn random<const D: usize>(seed: u64, dims: [usize; D], mean: f64, dtype: DType) -> Tensor<D> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let unit = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
    let values = (0..dims.iter().product()).map(|_| (unit(rng.next_u64()) - 0.5) * 12f64.sqrt() + mean);
    tensor(TensorData::new(values.collect::<Vec<f64>>(), dims), dtype)
}

fn tensor<const D: usize>(data: TensorData, dtype: DType) -> Tensor<D> {
    Tensor::from_data(data.convert_dtype(dtype), (&Device::default().autodiff(), dtype))
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// The largest difference, in parts of the largest value that is expected.
fn apart(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let size = want.iter().fold(1e-300, |size: f64, v| size.max(v.abs()));
    got.iter().zip(want).map(|(got, want)| (got - want).abs() / size).fold(0.0, f64::max)
}

/// The same layer twice, ours and burn's, with γ, β and statistics that are not the ones they begin with.
fn pair(features: usize, dtype: DType) -> (BatchNorm, burn::nn::BatchNorm) {
    let device = Device::default().autodiff();
    let mut ours = BatchNormConfig::new(features).with_momentum(0.3).with_unbiased(Some(false)).init(&device);
    let mut theirs = burn::nn::BatchNormConfig::new(features).with_momentum(0.3).init(&device);
    let value = |seed| random::<1>(seed, [features], 0.0, dtype);
    let float = FloatDType::from(dtype);
    let squares = value(103).powi_scalar(2).cast(float);
    for (gamma, beta, mean, var) in [
        (&mut ours.gamma, &mut ours.beta, &mut ours.running_mean, &mut ours.running_var),
        (&mut theirs.gamma, &mut theirs.beta, &mut theirs.running_mean, &mut theirs.running_var),
    ] {
        *gamma = Param::from_tensor(value(100));
        *beta = Param::from_tensor(value(101));
        *mean = RunningState::new(value(102));
        *var = RunningState::new(squares.clone().detach());
    }
    (ours, theirs)
}

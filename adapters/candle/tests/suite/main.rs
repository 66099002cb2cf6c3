//! bn-candle beside candle's own layer, the oracle, finite differences, and files of both sides.

mod agreement;
mod errors;
mod network;
mod oracle;
mod state;

use bn_candle::{BatchNorm, BatchNormConfig, batch_norm};
use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// Values of about −1.7 to 1.7 around `mean`, the same for the same seed.
fn random(seed: u64, shape: impl Into<Shape>, mean: f64, dtype: DType) -> Tensor {
    let (shape, mut rng) = (shape.into(), Pcg64::seed_from_u64(seed));
    let unit = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
    let values = (0..shape.elem_count()).map(|_| (unit(rng.next_u64()) - 0.5) * 12f64.sqrt() + mean);
    let values = Tensor::from_vec(values.collect::<Vec<f64>>(), shape, &Device::Cpu);
    values.and_then(|values| values.to_dtype(dtype)).expect("a tensor on the CPU")
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).and_then(|wide| wide.flatten_all()?.to_vec1());
    flat.expect("a tensor on the CPU")
}

/// The largest difference, in parts of the largest value that is expected.
fn apart(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (values(got), values(want));
    let size = want.iter().fold(1e-300, |size: f64, v| size.max(v.abs()));
    got.iter().zip(&want).map(|(got, want)| (got - want).abs() / size).fold(0.0, f64::max)
}

/// The same layer twice, ours and candle's, with γ, β and statistics that are not the ones they begin with.
struct Pair {
    ours: BatchNorm,
    theirs: candle_nn::BatchNorm,
    vars: [VarMap; 2],
}

fn pair(features: usize, config: BatchNormConfig, dtype: DType) -> Result<Pair> {
    let vars = [VarMap::new(), VarMap::new()];
    let build = |vars| VarBuilder::from_varmap(vars, dtype, &Device::Cpu).pp("bn");
    let ours = batch_norm(features, config, build(&vars[0]))?;
    let theirs = candle_nn::batch_norm(features, config, build(&vars[1]))?;
    for vars in &vars {
        let data = vars.data().lock().expect("nobody panicked");
        for (seed, name) in ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate() {
            if let Some(var) = data.get(&format!("bn.{name}")) {
                let value = random(100 + seed as u64, features, 0.0, dtype);
                var.set(&if name == "running_var" { value.sqr()? } else { value })?;
            }
        }
    }
    Ok(Pair { ours, theirs, vars })
}

fn variable(of: &VarMap, name: &str) -> Option<Var> {
    of.data().lock().expect("nobody panicked").get(&format!("bn.{name}")).cloned()
}

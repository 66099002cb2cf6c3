//! Variables: files of either side load in the other, and PyTorch's by name.

use crate::{Pair, apart, pair, random, values, variable};
use bn_candle::{BatchNormConfig, batch_norm};
use candle_core::{DType, Device, Result, safetensors};
use candle_nn::{ModuleT, VarBuilder, VarMap};

#[test]
fn saved_and_loaded_both_ways() -> Result<()> {
    let (dtype, config) = (DType::F32, BatchNormConfig::default());
    let file = std::env::temp_dir().join(format!("bn-candle-{}.safetensors", std::process::id()));
    let Pair { ours, theirs, vars: [mut own, mut other] } = pair(4, config, dtype)?;
    let x = random(1, (8, 4, 3), 2.0, dtype);
    // The statistics of a training step are in the file.
    ours.forward_train(&x)?;
    own.save(&file)?;
    other.load(&file)?;
    assert!(apart(&theirs.forward_t(&x, false)?, &ours.forward_t(&x, false)?) < 1e-5);
    theirs.forward_train(&random(2, (8, 4, 3), -1.0, dtype))?;
    other.save(&file)?;
    own.load(&file)?;
    for name in ["weight", "bias", "running_mean", "running_var"] {
        let [own, other] = [&own, &other].map(|vars| values(&variable(vars, name).expect("a variable")));
        assert_eq!(own, other, "{name}");
    }
    assert!(apart(&ours.forward_t(&x, false)?, &theirs.forward_t(&x, false)?) < 1e-5);
    std::fs::remove_file(&file)?;
    Ok(())
}

/// A file that PyTorch wrote, and its own evaluation of the layer in it.
#[test]
fn weights_of_pytorch_load_by_name() -> Result<()> {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/batchnorm/tests/fixtures/torch_f32.safetensors");
    let tensors = safetensors::load(path, &Device::Cpu)?;
    let [x, y] = ["case.dense.norm.x", "case.dense.norm.y"].map(|name| tensors[name].clone());
    let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let norm = batch_norm(5, 1e-5, vb.pp("dense.norm"))?;
    let (x, y) = (x.reshape((4, 5))?, y.reshape((4, 5))?);
    assert!(apart(&norm.forward_t(&x, false)?, &y) < 1e-6);
    Ok(())
}

#[test]
fn clones_share_their_variables() -> Result<()> {
    let vars = VarMap::new();
    let norm = batch_norm(2, 1e-5, VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu).pp("bn"))?;
    norm.clone().forward_train(&random(1, (8, 2), 3.0, DType::F64))?;
    let stored = variable(&vars, "running_mean").expect("a variable");
    assert!(values(norm.running_mean())[0] > 0.2);
    assert_eq!(values(norm.running_mean()), values(&stored));
    Ok(())
}

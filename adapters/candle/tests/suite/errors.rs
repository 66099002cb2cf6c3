//! Bad input: candle's kind of error, and nothing is written.

use crate::{pair, random, values};
use bn_candle::{BatchNorm, BatchNormConfig, batch_norm};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};

/// The message of what must fail, without the backtrace.
fn message<T>(result: Result<T>) -> String {
    let error = result.err().expect("an error");
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn wrong_inputs_are_named_and_leave_the_statistics_alone() -> Result<()> {
    let ours = pair(3, BatchNormConfig::default(), DType::F32)?.ours;
    let before = [values(ours.running_mean()), values(ours.running_var())];
    let zeros = |dims: &[usize], dtype| Tensor::zeros(dims, dtype, &Device::Cpu);
    let f32 = DType::F32;
    let cases = [
        (message(ours.forward_train(&zeros(&[3], f32)?)), "at least two dimensions"),
        (message(ours.forward_train(&zeros(&[4, 2, 5], f32)?)), "([4, 2, 5] <> 3)"),
        (
            message(ours.forward_train(&zeros(&[1, 3], f32)?)),
            "more than one value per channel in training, got [1, 3]",
        ),
        (
            message(ours.forward_train(&zeros(&[4, 3], DType::F64)?)),
            "dtype mismatch in batch-norm, lhs: F64, rhs: F32",
        ),
        (
            message(ours.forward_t_add_relu(&zeros(&[4, 3], f32)?, &zeros(&[4, 1], f32)?, true)),
            "shape mismatch in batch-norm add, lhs: [4, 3], rhs: [4, 1]",
        ),
        (
            message(ours.forward_t_add_relu(&zeros(&[4, 3], f32)?, &zeros(&[4, 3], DType::F64)?, true)),
            "dtype mismatch in batch-norm add, lhs: F32, rhs: F64",
        ),
    ];
    for (message, part) in &cases {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(before, [values(ours.running_mean()), values(ours.running_var())]);
    Ok(())
}

#[test]
fn settings_are_checked_as_candle_does() -> Result<()> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    assert!(message(batch_norm(3, -1.0, vb.clone())).contains("eps cannot be negative"));
    let of = |n: usize| Tensor::ones(n, DType::F32, &Device::Cpu);
    let momentum = BatchNorm::new_no_bias_with_momentum(3, of(3)?, of(3)?, 1e-5, 1.5);
    assert!(message(momentum).contains("momentum must be between 0 and 1"));
    assert!(message(BatchNorm::new(3, of(3)?, of(3)?, of(2)?, of(3)?, 1e-5)).contains("weight"));
    batch_norm(3, 1e-5, vb.pp("bn"))?;
    assert!(message(batch_norm(4, 1e-5, vb.pp("bn"))).contains("shape mismatch"));
    Ok(())
}

#[test]
fn batches_without_samples_change_nothing() -> Result<()> {
    let ours = pair(3, BatchNormConfig::default(), DType::F32)?.ours;
    let before = values(ours.running_mean());
    let y = ours.forward_t(&Tensor::zeros((0, 3, 4), DType::F32, &Device::Cpu)?, true)?;
    assert_eq!((y.dims(), values(ours.running_mean())), (&[0, 3, 4][..], before));
    let y = ours.forward_t(&random(1, (1, 3), 0.0, DType::F32), false)?;
    assert_eq!(y.dims(), [1, 3]);
    Ok(())
}

/// What goes to candle's own layer is checked before: it would move the statistics first.
#[test]
fn what_candles_layer_cannot_do_leaves_the_statistics_alone() -> Result<()> {
    let ones = || Tensor::ones(3, DType::F32, &Device::Cpu);
    let norm = BatchNorm::new(3, ones()?, ones()?, ones()?, ones()?, 0.0)?;
    let zeros = |dims: &[usize], dtype| Tensor::zeros(dims, dtype, &Device::Cpu);
    let mixed = message(norm.forward_train(&zeros(&[4, 3], DType::F16)?));
    assert!(mixed.contains("dtype mismatch in batch-norm, lhs: F16, rhs: F32"), "{mixed}");
    assert!(message(norm.forward_train(&zeros(&[1, 3], DType::F32)?)).contains("more than one value"));
    norm.forward_train(&zeros(&[0, 3, 4], DType::F32)?)?;
    assert_eq!([values(norm.running_mean()), values(norm.running_var())], [[1.0; 3]; 2]);
    Ok(())
}

#[test]
fn a_momentum_of_a_config_is_checked_before_the_step() -> Result<()> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let norm = batch_norm(3, BatchNormConfig { momentum: 2.0, ..Default::default() }, vb)?;
    let x = random(1, (4, 3), 0.0, DType::F32);
    assert!(message(norm.forward_train(&x)).contains("momentum must be between 0 and 1, is 2"));
    Ok(())
}

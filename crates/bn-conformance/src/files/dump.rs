//! What a backend gave, as a safetensors file.

use super::Stored;
use crate::any::AnyCase;
use crate::case::{Case, Results};
use bn_core::Real;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensorError, TensorView, serialize};

/// The bytes of a file that holds `got` under the names of the expectations without `expect.`, each tensor in its own
/// type: y and dx in the element type, parameters and statistics in f32, or f64 for an f64 case.
///
/// # Errors
/// Where a tensor has not the case's dimensions.
pub fn dump(case: &AnyCase, got: &Results) -> Result<Vec<u8>, SafeTensorError> {
    match case {
        AnyCase::F32(case) => of(case, got),
        AnyCase::F64(case) => of(case, got),
        AnyCase::F16(case) => of::<f16>(case, got),
        AnyCase::Bf16(case) => of::<bf16>(case, got),
    }
}

fn of<T: Stored>(case: &Case<T>, got: &Results) -> Result<Vec<u8>, SafeTensorError>
where
    T::Compute: Stored,
{
    let tensors = got.iter().map(|(tensor, values)| {
        let whole = tensor.is_whole();
        let dims = if whole { case.dims.clone() } else { vec![values.len()] };
        let (dtype, bytes) = match whole {
            true => (T::DTYPE, bytes(values, |v| T::from_compute(T::Compute::from_f64(v)))),
            false => (T::Compute::DTYPE, bytes(values, T::Compute::from_f64)),
        };
        (tensor.name(), dtype, dims, bytes)
    });
    let tensors: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = tensors.collect();
    let views = tensors
        .iter()
        .map(|(name, dtype, dims, bytes)| Ok((*name, TensorView::new(*dtype, dims.clone(), bytes)?)));
    serialize(views.collect::<Result<Vec<_>, SafeTensorError>>()?, None)
}

fn bytes<S: Stored>(values: &[f64], narrow: impl Fn(f64) -> S) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|v| narrow(*v).write(&mut bytes));
    bytes
}

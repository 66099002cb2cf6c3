//! A case as a file, in the format of cases/README.md.

use crate::any::AnyCase;
use crate::case::{Case, Cotangents};
use crate::files::Stored;
use bn_core::{Activation, Element, Layout, Mode, RunningVar};
use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use std::collections::HashMap;

/// The bytes of the file that holds `case`, which says that `source` made it.
///
/// # Errors
/// What the writer says, which is nothing where the case's tensors have the lengths that its dimensions say.
pub fn to_bytes(case: &AnyCase, source: &str) -> Result<Vec<u8>, SafeTensorError> {
    match case {
        AnyCase::F32(case) => bytes(case, source),
        AnyCase::F64(case) => bytes(case, source),
        AnyCase::F16(case) => bytes(case, source),
        AnyCase::Bf16(case) => bytes(case, source),
    }
}

/// The tensors of a file: name, type, dimensions, bytes.
type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn push<T: Stored>(tensors: &mut Tensors, name: &str, dims: &[usize], values: &[T]) {
    let mut bytes = Vec::new();
    values.iter().for_each(|v| v.write(&mut bytes));
    tensors.push((name.into(), T::DTYPE, dims.to_vec(), bytes));
}

fn bytes<T: Stored>(case: &Case<T>, source: &str) -> Result<Vec<u8>, SafeTensorError>
where
    T::Compute: Stored,
{
    let (mut tensors, features) = (Tensors::new(), [case.features()]);
    push(&mut tensors, "x", &case.dims, &case.x);
    if let Some(dy) = &case.dy {
        push(&mut tensors, "dy", &case.dims, dy);
    }
    if let Some(residual) = &case.residual {
        push(&mut tensors, "residual", &case.dims, residual);
    }
    if let Some(mask) = &case.mask {
        let mut dims = case.dims.clone();
        dims.remove(case.axis());
        let bytes = mask.iter().map(|valid| u8::from(*valid)).collect();
        tensors.push(("mask".into(), Dtype::U8, dims, bytes));
    }
    for (name, values) in case.per_feature() {
        push(&mut tensors, name, &features, values);
    }
    if let Some(Cotangents { dx, dweight, dbias }) = &case.cotangents {
        dx.iter().for_each(|v| push(&mut tensors, "v.dx", &case.dims, v));
        for (name, v) in [("v.dweight", dweight), ("v.dbias", dbias)] {
            v.iter().for_each(|v| push(&mut tensors, name, &features, v));
        }
    }
    for (tensor, values) in case.expect.iter() {
        let dims = if tensor.is_whole() { &case.dims[..] } else { &features };
        push(&mut tensors, &format!("expect.{tensor}"), dims, values);
    }
    let views = tensors
        .iter()
        .map(|(name, dtype, dims, bytes)| Ok((name, TensorView::new(*dtype, dims.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
    safetensors::serialize(views, Some(keys(case, source)))
}

/// What the format calls it; it has no more than these.
fn activation<T: Element>(case: &Case<T>) -> &'static str {
    match (case.activation, &case.residual) {
        (Activation::Relu, None) => "relu",
        (Activation::Relu, Some(_)) => "add_relu",
        _ => "none",
    }
}

fn keys<T: Element>(case: &Case<T>, source: &str) -> HashMap<String, String> {
    let config = &case.config;
    let mut keys = vec![
        ("format", "batchnorm-case-1".into()),
        ("mode", if case.mode == Mode::Train { "train" } else { "eval" }.into()),
        (
            "layout",
            if config.layout == Layout::ChannelsFirst { "channels_first" } else { "channels_last" }.into(),
        ),
        // Digits enough to come back to the same number.
        ("eps", format!("{:e}", config.eps)),
        ("momentum", config.momentum.map_or("none".into(), |m| format!("{m:e}"))),
        ("num_batches_tracked", case.num_batches_tracked.to_string()),
        ("activation", activation(case).into()),
        ("source", source.into()),
    ];
    if config.running_var == RunningVar::Biased {
        keys.push(("running_var", "biased".into()));
    }
    if let Some([r_max, d_max]) = case.renorm {
        keys.push(("renorm", format!("{r_max:e},{d_max:e}")));
    }
    if let Some((rtol, atol)) = case.rounded {
        keys.extend([("rtol", format!("{rtol:e}")), ("atol", format!("{atol:e}"))]);
    }
    keys.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

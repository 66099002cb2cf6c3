//! The element types that both sides have.

use bn_adapter::Room;
use candle_core::{CpuStorage, Error, Layout, Result, Storage, Tensor, WithDType};
use half::{bf16, f16};

/// An element type of candle's that the layer has, as its wide one has.
pub(crate) trait Float: Room<Compute = Self::Wide> + WithDType {
    /// What parameters and statistics are in.
    type Wide: WithDType + batchnorm::Real;
}

impl Float for f32 {
    type Wide = f32;
}
impl Float for f64 {
    type Wide = f64;
}
impl Float for f16 {
    type Wide = f32;
}
impl Float for bf16 {
    type Wide = f32;
}

/// The elements of a contiguous tensor's storage.
pub(crate) fn elements<'s, T: WithDType>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::RequiresContiguous { op: "batch-norm" }.bt());
    };
    Ok(&storage.as_slice::<T>()?[start..end])
}

/// What `read` makes of the elements of tensors, which are contiguous.
pub(crate) fn with_elements<T: WithDType, R>(
    tensor: &Tensor,
    read: impl FnOnce(&[T]) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => read(elements(storage, layout)?),
        _ => candle_core::bail!("batch-norm expected a tensor on the CPU, got one on {:?}", tensor.device()),
    }
}

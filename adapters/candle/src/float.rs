//! The element types that both sides have.

use bn_adapter::Room;
use candle_core::{CpuStorage, Error, Layout, Result, Storage, Tensor, WithDType};

/// An element type of candle's that the layer has. What parameters and statistics are in is one of candle's as well.
pub(crate) trait Float: Room<Compute: WithDType> + WithDType {}

impl<T: Room<Compute: WithDType> + WithDType> Float for T {}

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

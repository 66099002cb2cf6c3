//! Elements, and tensors of Flex read as slices.

use crate::pool;
use bn_adapter::Room;
use burn::tensor::{Bytes, DType, Element};
use burn_flex::FlexTensor;
use bytemuck::Pod;
use std::borrow::Cow;

/// An element type of Flex's that the layer has. What parameters and statistics are in is one of Flex's as well.
pub(crate) trait Float: Room<Compute: Element + Pod> + Element + Pod {}

impl<T: Room<Compute: Element + Pod> + Element + Pod> Float for T {}

/// The elements of a contiguous tensor.
pub(crate) fn elements<T: Element + Pod>(tensor: &FlexTensor) -> &[T] {
    tensor.as_slice().unwrap_or_else(|| unreachable!("a contiguous tensor of {:?}", T::dtype()))
}

/// A parameter or a statistic in the type that the layer computes in.
///
/// # Panics
/// Where it is in neither that type nor the tensors', as burn's own operations do.
pub(crate) fn wide<T: Float>(tensor: &FlexTensor) -> Cow<'_, [T::Compute]> {
    let (own, wide) = (tensor.dtype(), T::Compute::dtype());
    let narrow = |tensor: &FlexTensor| elements::<T>(tensor).iter().map(|v| v.to_compute()).collect();
    match (own == wide, own == T::dtype(), tensor.is_contiguous()) {
        (true, _, true) => Cow::Borrowed(elements(tensor)),
        (true, _, false) => Cow::Owned(elements(&tensor.to_contiguous()).to_vec()),
        (_, true, _) => Cow::Owned(narrow(&tensor.to_contiguous())),
        _ => panic!(
            "batch norm expected parameters of {wide:?} beside an input of {:?}, got {own:?}",
            T::dtype()
        ),
    }
}

/// Values per feature as a tensor of this type, which is the wide one or the tensors'.
pub(crate) fn per_feature<T: Float>(values: Vec<T::Compute>, dtype: DType) -> FlexTensor {
    let shape = [values.len()];
    match dtype == T::Compute::dtype() {
        true => fresh(values, &shape),
        false => fresh(values.into_iter().map(T::from_compute).collect(), &shape),
    }
}

/// A contiguous tensor of these elements.
pub(crate) fn fresh<T: Element + Pod + Send + Sync>(values: Vec<T>, dims: &[usize]) -> FlexTensor {
    of_bytes(Bytes::from_elems(values), dims, T::dtype())
}

/// The same of memory that [`pool::take`] gave.
pub(crate) fn pooled<T: Float>(values: Vec<T>, dims: &[usize]) -> FlexTensor {
    of_bytes(pool::bytes(values), dims, T::dtype())
}

fn of_bytes(bytes: Bytes, dims: &[usize], dtype: DType) -> FlexTensor {
    FlexTensor::new(bytes, burn_flex::Layout::contiguous(dims.to_vec().into()), dtype)
}

//! Memory of outputs that comes back when burn drops the tensor.

#![allow(unsafe_code, reason = "burn takes the memory of others as bytes")]

use bn_adapter::Room;
use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};
use bytemuck::Pod;
use std::mem::{MaybeUninit, take as take_out};

/// Below so many bytes allocators have memory of their own to hand out again.
const LARGE: usize = 64 << 10;

/// Memory for so many elements.
pub(crate) fn take<T: Room + Pod>(len: usize) -> Vec<T> {
    if is_large::<T>(len) { T::pool().take(len) } else { Vec::new() }
}

/// What has been filled of it, as burn's bytes. They go back to the pool when nobody has them any more.
pub(crate) fn bytes<T: Room + Pod>(values: Vec<T>) -> Bytes {
    if !is_large::<T>(values.len()) {
        return Bytes::from_elems(values);
    }
    T::pool().lend(values.len());
    let len = size_of_val(&values[..]);
    // SAFETY: the memory of a vector's elements, all of which hold values: as many bytes are initialized.
    unsafe { Bytes::from_controller(Box::new(Pooled(values)), len) }
}

/// Gives spare memory of outputs back to the allocator, which may keep it.
pub fn release() {
    f32::pool().clear();
    f64::pool().clear();
    half::f16::pool().clear();
    half::bf16::pool().clear();
}

fn is_large<T>(len: usize) -> bool {
    len * size_of::<T>() >= LARGE
}

struct Pooled<T: Room + Pod>(Vec<T>);

impl<T: Room + Pod> AllocationController for Pooled<T> {
    fn alloc_align(&self) -> usize {
        align_of::<T>()
    }

    // Not native: burn must not free what comes back.
    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.0);
        let len = bytes.len();
        // SAFETY: the same bytes for the same time. The trait's callers write initialized data alone, so that the elements, which may
        // have any bits, hold values afterwards.
        Ok(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        // SAFETY: the same bytes for the same time, as what may be anything.
        Ok(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
    }
}

impl<T: Room + Pod> Drop for Pooled<T> {
    fn drop(&mut self) {
        T::pool().give(take_out(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_elements_and_come_back() {
        for len in [3, 20_000] {
            let mut values: Vec<f64> = take(len);
            values.resize(len, 1.5);
            let place = values.as_ptr();
            let mut bytes = bytes(values);
            assert_eq!(bytemuck::cast_slice::<u8, f64>(&bytes), vec![1.5; len]);
            bytemuck::cast_slice_mut::<u8, f64>(&mut bytes)[1] = 2.0;
            let other = bytes.clone();
            drop(bytes);
            assert_eq!(bytemuck::cast_slice::<u8, f64>(&other)[..2], [1.5, 2.0]);
            let again: Vec<f64> = take(len);
            assert_eq!(is_large::<f64>(len), again.as_ptr() == place, "{len}");
        }
        release();
    }
}

//! Memory: the caches, stores past them, prefetch, and slices that are written and never read.

mod caches;
mod output;
pub mod prefetch;
mod stores;

pub use caches::Caches;
pub use output::Output;
pub(crate) use output::to_write;
pub use stores::{Bare, Built, Stores};
pub(crate) use stores::{Line, lines_mut, write};

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// The elements of `values` before the first that begins a cache line.
#[inline]
#[must_use]
pub fn lead<T>(values: &[T]) -> usize {
    values.as_ptr().align_offset(LINE).min(values.len())
}

//! Numbers: the types of elements and of sums, and arithmetic without loss. It knows nothing of tensors.

#![warn(clippy::disallowed_methods, reason = "the order of sums and products fixes the bits")]

pub mod eft;
mod element;
#[cfg(feature = "half")]
mod half;
pub mod wide;

pub use element::{Element, PerElement, Real};
pub use wide::{Dd, Wide};

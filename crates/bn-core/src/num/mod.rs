//! Numbers: the types of elements and of sums, and arithmetic without loss. It knows nothing of tensors.

pub mod eft;
mod element;
#[cfg(feature = "half")]
mod half;
mod range;
pub mod wide;

pub use element::{Element, PerElement, Real};
pub use range::Range;
pub use wide::{Dd, Wide};

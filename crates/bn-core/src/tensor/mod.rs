//! Tensors as batch normalization sees them: one shape, and strips of contiguous elements.

mod held;
mod shape;
mod strips;

pub(crate) use held::Held;
pub use shape::{Layout, Shape, ShapeError};
pub(crate) use strips::Place;
pub use strips::{Strips, StripsMut};

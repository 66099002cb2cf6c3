//! The crate's tests, in one program: the layer is compiled once for both.

mod bits;
mod conformance;

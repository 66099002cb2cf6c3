//! The crate's tests, in one program: the layer is compiled once for both.

mod agreement;
mod conformance;

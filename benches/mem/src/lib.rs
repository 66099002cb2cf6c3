//! What the benchmarks do with memory in `unsafe` code: [`pages`], huge pages for tensors; [`stream`], the floor's loops.
//!
//! A crate of its own, so that AddressSanitizer need not build the rest.

pub mod pages;
pub mod stream;

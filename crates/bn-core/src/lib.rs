//! The core of `batchnorm`: everything but the kernels.
//!
//! A program uses the facade crate `batchnorm`; this one is for those who write a backend or want to follow
//! a tensor through the code. In the order a tensor takes:
//!
//! | folder | holds | may import |
//! | --- | --- | --- |
//! | [`num`] | element types, the wide type, error-free transformations | |
//! | [`mem`] | stores past the caches, prefetch, slices that are only written | |
//! | [`tensor`] | (outer, features, inner), and a tensor as strips of contiguous elements | mem |
//! | [`kernel`] | the contract: operations as data, tiles, accumulators, the traits of a backend | num, tensor, mem |
//! | [`walk`] | what the vector kernel crates share: stacks, maps line by line, the terms of sums | kernel, tensor, mem, num |
//! | `maths` | statistics and coefficients, O(C), in the wide type | num |
//! | `driver` | plan, schedule, and the one loop over blocks; half types, hard features | all of these but walk |
//! | `layer` | [`BatchNorm`], the [`functions`] under it, settings, state, checkpoints, errors | driver, maths, kernel, tensor, num, mem |
//!
//! # Range
//!
//! Kernels compute maps in the data's own type; half types are computed in f32. A feature is hard where that would break a limit:
//!
//! 1. A coefficient is not 0 and no normal number, or above 10³⁰ (f64: beyond 10^±280), unless what it loses is nothing beside
//!    the scale of its result.
//! 2. The mean's rounding is more than a quarter of σ.
//! 3. The means of dy and dy·x̂ are so small that their digits are lost.
//! 4. f32 and half types in training: σ, |γ|·σ·invstd or these means would make subnormal numbers, which are slow.
//!
//! docs/numerics.md has the premises, R1 to R6 and O, and the proof. The map of a hard feature runs in f64 and is rounded once;
//! f64 data are taken in units of powers of two (`driver/hard`). So values near the type's largest and smallest, and settings
//! far from the usual, keep their digits. Flush-to-zero is not supported: steps must run with the rounding mode and the
//! denormals of IEEE 754, on every thread of an executor.

mod driver;
pub mod kernel;
mod layer;
mod maths;
pub mod mem;
pub mod num;
pub mod tensor;
pub mod walk;

pub use driver::{Workspace, schedule};
pub use kernel::{Backend, Executor, KernelSet, Kernels, Serial};
#[cfg(feature = "safetensors")]
pub use layer::checkpoint;
pub use layer::{
    Activation, Affine, BatchNorm, Config, Cotangents, DoubleGradients, Error, Folded, Frozen, Gradients,
    Grads, Kept, Mode, NonFinite, OneValue, Options, ParameterGradients, Recalibrate, Renorm, RunningStats,
    RunningVar, Saved, Single, Sizes, functions, parts, ranks,
};
pub use num::{Element, Real};
pub use tensor::{Layout, Shape, ShapeError};

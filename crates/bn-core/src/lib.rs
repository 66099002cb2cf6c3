//! The core of `batchnorm`: everything but the kernels.
//!
//! A program uses the facade crate `batchnorm`; this one is for those who write a backend or want to follow
//! a tensor through the code. In the order a tensor takes:
//!
//! | module | what it does |
//! | --- | --- |
//! | [`layer`] | [`BatchNorm`]: checks the input and turns arrays and slices into strips |
//! | [`shape`], [`strips`] | (outer, features, inner), and a tensor as strips of contiguous elements |
//! | [`plan`] | how a shape is cut; from the shape and the element type alone |
//! | `driver` | jobs, blocks, reduce and map |
//! | [`kernels`], [`exec`] | the traits that a backend implements |
//! | [`group`] | strips that are summed together, for kernels |
//! | [`stream`] | writing past the caches, and prefetch, for kernels |
//! | [`coef`] | coefficient maths between the kernels, in the wide type |
//! | [`wide`], [`eft`] | f64 for f32 data, double-double for f64 data |
//! | `half` | f16 and bf16 tensors, converted piece by piece |
//! | `rescue` | features that leave the kernels' range |
//! | [`saved`], [`running`] | what the backward and the evaluation need |
//!
//! # Range
//!
//! Kernels compute maps in the data's own type. Where a coefficient of a feature lies beyond 10^±30 (f32, bf16),
//! 10^±280 (f64), or above 10^10 in an f16 tensor, that feature is recomputed in scaled double-double by `rescue`, so that values near the
//! type's largest and settings far from the usual keep their digits. It is slow and hardly ever needed.

pub mod beside;
pub mod coef;
pub mod config;
mod driver;
pub mod eft;
pub mod element;
pub mod error;
pub mod exec;
pub mod group;
#[cfg(feature = "half")]
mod half;
pub mod kernels;
pub mod layer;
pub mod plan;
mod rescue;
pub mod running;
pub mod saved;
pub mod shape;
pub mod stream;
pub mod strips;
pub mod wide;
pub mod workspace;

pub use config::{Config, RunningVar};
pub use element::{Element, Real};
pub use error::Error;
pub use exec::{Backend, Executor, Serial};
pub use kernels::Kernels;
pub use layer::{BatchNorm, Gradients, Grads};
pub use running::RunningStats;
pub use saved::{Mode, Saved};
pub use shape::{Layout, Shape};
pub use workspace::Workspace;

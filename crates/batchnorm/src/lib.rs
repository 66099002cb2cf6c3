//! Batch normalization for CPUs, with its fused analytic backward.
//!
//! ```
//! use batchnorm::BatchNorm;
//! use ndarray::{Array2, array};
//!
//! # fn main() -> Result<(), batchnorm::Error> {
//! let mut bn = BatchNorm::<f32>::new(2)?; // PyTorch's defaults
//! let x = array![[1.0, -2.0], [3.0, 0.5], [5.0, 6.0]]; // (N, C); any rank from 2 on
//!
//! let (y, saved) = bn.forward(x.view())?; // commits the running statistics
//! approx::assert_abs_diff_eq!(y.column(0), array![-1.224_744, 0.0, 1.224_744], epsilon = 1e-5);
//!
//! let dy = Array2::from_elem(y.dim(), 1.0); // ∂L/∂y, from your loss
//! let g = bn.backward(&saved, x.view(), dy.view())?;
//! approx::assert_abs_diff_eq!(g.dbias, array![3.0, 3.0]); // dβ = Σdy
//! approx::assert_abs_diff_eq!(g.dx.sum(), 0.0, epsilon = 1e-6); // a constant dy moves only β
//!
//! bn.weight.scaled_add(-0.1, &g.dweight);
//! bn.bias.scaled_add(-0.1, &g.dbias);
//!
//! let y = bn.forward_eval(x.view())?; // with the running statistics
//! assert_eq!(y.dim(), x.dim());
//! # Ok(())
//! # }
//! ```
//!
//! The slice API writes into the caller's buffers and allocates nothing after its first step:
//!
//! ```
//! use batchnorm::{BatchNorm, Grads, Saved, Shape, Workspace};
//!
//! # fn main() -> Result<(), batchnorm::Error> {
//! let shape = Shape::nchw(4, 3, 8, 8)?;
//! let mut bn = BatchNorm::<f32>::new(3)?;
//! let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
//! let x: Vec<f32> = (0..shape.len()).map(|i| (i % 17) as f32).collect();
//! let dy = vec![0.5; shape.len()];
//! let (mut y, mut dx) = (vec![0.0; shape.len()], vec![0.0; shape.len()]);
//! let (mut dweight, mut dbias) = ([0.0; 3], [0.0; 3]);
//!
//! bn.forward_into(shape, &x, &mut y, &mut saved, &mut workspace)?;
//! let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
//! bn.backward_into(&saved, &x, &dy, grads, &mut workspace)?;
//! assert_eq!(dbias, [0.5 * 4.0 * 64.0; 3]);
//! # Ok(())
//! # }
//! ```
//!
//! # Which backend runs
//!
//! [`DefaultBackend`] follows from the Cargo features; a program can also name a backend that is compiled in,
//! `BatchNorm::<f32, Scalar>::new(64)`. All of them give the same bits, so a choice is one of speed alone.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `scalar` (always there) | the kernels in plain Rust, the reference |
//! | `dispatch` (default) | the kernels compiled per instruction set, chosen at run time |
//! | `wide` | the kernels on the crate `wide`, as fast as the build's target allows |
//! | `rayon` (default) | [`Rayon`]: any kernels, run in parallel on the caller's rayon pool |
//! | `half` | tensors of f16 and bf16 ([`Element`]); parameters and statistics stay f32 |
//! | `serde` | `Serialize` and `Deserialize` for the layer, [`Config`] and [`RunningStats`] |
//!
//! The default of any combination is the fastest kernels that are compiled in, dispatch before wide before scalar, wrapped in
//! [`Rayon`] where `rayon` is on.
//!
//! How a step goes about its memory is learned from the program's own steps, see [`schedule`]. No bit depends on it.

pub use bn_core::mem::Output;
pub use bn_core::{
    Backend, Config, Element, Error, Executor, Gradients, Grads, KernelSet, Kernels, Layout, Mode, Real,
    RunningStats, RunningVar, Saved, Serial, Shape, ShapeError, Workspace, functions, parts, schedule,
};
#[cfg(feature = "dispatch")]
pub use bn_dispatch::{Dispatch, Level, LevelError};
#[cfg(feature = "rayon")]
pub use bn_rayon::Rayon;
pub use bn_scalar::Scalar;
#[cfg(feature = "wide")]
pub use bn_wide::Wide;

cfg_if::cfg_if! {
    // The fastest kernels that are compiled in come first; a backend that joins puts its branch above the slower.
    if #[cfg(feature = "dispatch")] {
        type DefaultKernels = Dispatch;
    } else if #[cfg(feature = "wide")] {
        type DefaultKernels = Wide;
    } else {
        type DefaultKernels = Scalar;
    }
}

cfg_if::cfg_if! {
    if #[cfg(feature = "rayon")] {
        /// The backend that the Cargo features choose.
        pub type DefaultBackend = Rayon<DefaultKernels>;
    } else {
        /// The backend that the Cargo features choose.
        pub type DefaultBackend = DefaultKernels;
    }
}

/// The layer, run by [`DefaultBackend`] unless another backend is named: see [`bn_core::BatchNorm`].
pub type BatchNorm<T, B = DefaultBackend> = bn_core::BatchNorm<T, B>;

/// The README's examples compile.
#[cfg(all(doctest, feature = "dispatch"))]
#[doc = include_str!("../../../README.md")]
mod readme {}

/// So do those of docs/reproducibility.md.
#[cfg(all(doctest, feature = "dispatch"))]
#[doc = include_str!("../../../docs/reproducibility.md")]
mod reproducibility {}

/// And those of docs/schedule.md.
#[cfg(all(doctest, feature = "dispatch"))]
#[doc = include_str!("../../../docs/schedule.md")]
mod schedules {}

/// And those of docs/recipes.md.
#[cfg(all(doctest, feature = "dispatch"))]
#[doc = include_str!("../../../docs/recipes.md")]
mod recipes {}

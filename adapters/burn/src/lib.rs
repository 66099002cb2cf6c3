//! burn's batch normalization with this project's kernels, on burn's CPU backend Flex. A program changes one line:
//!
//! ```text
//! use burn::nn::{BatchNorm, BatchNormConfig};    // before
//! use bn_burn::{BatchNorm, BatchNormConfig};     // after
//! ```
//!
//! ```
//! use bn_burn::BatchNormConfig;
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::default().autodiff();
//! let norm = BatchNormConfig::new(3).init(&device);
//! let x = Tensor::<4>::random([8, 3, 14, 14], Distribution::Default, &device);
//! let y = norm.forward(x.clone()); // the batch's statistics; the running ones move
//! let gradients = y.powi_scalar(2).sum().backward();
//! assert!(norm.gamma.val().grad(&gradients).is_some());
//! let y = norm.forward_relu(x); // with ReLU in the same sweep
//! # assert_eq!(y.dims(), [8, 3, 14, 14]);
//! ```
//!
//! | | burn-nn | here |
//! | --- | --- | --- |
//! | f32, f64 | errors grow with the mean over σ | within 4.01 units of roundoff (dx: 5.01) on any data |
//! | the running variance | Σ(x−μ)²/n | Σ(x−μ)²/(n−1), as PyTorch; burn's with `with_unbiased(Some(false))` |
//! | memory in another order | as it lies | channels-last memory is taken as it lies, other orders are copied |
//! | a batch without samples in training | the running statistics become NaN | they stay |
//! | a second derivative | none | none |
//!
//! Records load both ways: the fields are burn's. Tensors on other devices go to burn's own operations: where other backends are
//! compiled in, `Device::default()` may be one of them, and `Device::flex()` is this one. Parameters are in the type of x, or in f32
//! for half types.
//!
//! Large outputs take the memory of tensors that burn has dropped: without that the system would clear new pages in every step.
//! Outputs and what is kept are together no more than outputs were at once; [`release`] gives it back. `try_into_vec` of such an
//! output copies.
//!
//! Steps run on rayon's pool, whose size is `RAYON_NUM_THREADS`.

mod call;
mod float;
mod module;
mod node;
mod ops;
mod pool;

pub use call::Call;
pub use module::{BatchNorm, BatchNormConfig};
pub use ops::{Committer, NormOps, Normed, Residual, Tensors};
pub use pool::release;

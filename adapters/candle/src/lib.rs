//! candle's batch normalization with this project's kernels. A program changes one line:
//!
//! ```text
//! use candle_nn::{BatchNorm, BatchNormConfig, batch_norm};    // before
//! use bn_candle::{BatchNorm, BatchNormConfig, batch_norm};    // after
//! ```
//!
//! ```
//! use bn_candle::batch_norm;
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{ModuleT, VarBuilder, VarMap};
//!
//! let vars = VarMap::new();
//! let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
//! let norm = batch_norm(3, 1e-5, vb.pp("bn1"))?;
//! let x = Tensor::randn(0f32, 1.0, (8, 3, 14, 14), &Device::Cpu)?;
//! let y = norm.forward_t(&x, true)?; // the batch's statistics; the running ones move
//! let gradients = y.sqr()?.sum_all()?.backward()?;
//! assert!(gradients.get(norm.weight_and_bias().expect("γ and β").0).is_some());
//! let y = norm.forward_t_relu(&x, false)?; // the running statistics, and ReLU in the same sweep
//! # assert_eq!(y.dims(), x.dims());
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! | | candle-nn | here |
//! | --- | --- | --- |
//! | f32, f64 | errors grow with the mean over σ | within 4.01 units of roundoff (dx: 5.01) on any data |
//! | f16, bf16 in training | an error of types, but for f32 variables without γ and β | computed in f32, rounded once; variables in f32 or in the type of x |
//! | a backward in evaluation | to x, γ and β | likewise, one sweep |
//! | one value per channel in training | the running variance becomes NaN | an error |
//! | a batch without samples in training | the running statistics become NaN | they stay |
//! | NaN before a fused ReLU | `relu()` makes it 0 | it stays NaN, as in PyTorch |
//! | a variable set between forward and backward | gradients by its values of the forward, but for γ in the one of x | γ and β of the forward; x is read again |
//! | memory in another order | copied | channels-last memory is taken as it lies |
//! | gradients of gradients | with `CANDLE_GRAD_DO_NOT_DETACH` | none, without an error: a custom op has no second derivative |
//!
//! Half types are best used with a `VarMap` in f32: a running variance in f16 is infinite above 65504.
//!
//! Layers with `remove_mean: false` or `eps: 0`, and tensors on other devices, go to candle's own layer, with variables in the type
//! of x, and in training no half types. A fused ReLU is then candle's.
//!
//! Steps run on rayon's pool, whose size is `RAYON_NUM_THREADS`.

mod float;
mod module;
mod op;

pub use candle_nn::BatchNormConfig;
pub use module::{BatchNorm, batch_norm};

//! Batch normalization for CPUs, with its fused analytic backward.
//!
//! ```
//! use batchnorm::BatchNorm;
//! use ndarray::{Array2, array};
//!
//! # fn main() -> Result<(), batchnorm::Error> {
//! let mut bn = BatchNorm::<f32>::new(2)?; // two features
//! let x = array![[1.0, -2.0], [3.0, 0.5], [5.0, 6.0]]; // (N, C); any rank from 2 on
//!
//! let (y, saved) = bn.forward(&x)?; // commits the running statistics
//! approx::assert_abs_diff_eq!(y.column(0), array![-1.224_744, 0.0, 1.224_744], epsilon = 1e-5);
//!
//! let dy = Array2::from_elem(y.dim(), 1.0); // ∂L/∂y, from your loss
//! let g = bn.backward(&saved, &x, &dy)?;
//! approx::assert_abs_diff_eq!(g.dbias, array![3.0, 3.0]); // dβ = Σdy
//! approx::assert_abs_diff_eq!(g.dx.sum(), 0.0, epsilon = 1e-6); // a constant dy moves only β
//!
//! bn.weight.scaled_add(-0.1, &g.dweight);
//! bn.bias.scaled_add(-0.1, &g.dbias);
//!
//! let y = bn.forward_eval(&x)?; // with the running statistics
//! assert_eq!(y.dim(), x.dim());
//! # Ok(())
//! # }
//! ```
//!
//! The arrays are those of the crate [`ndarray`], which is re-exported. Conventions and defaults are PyTorch's.
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
//! `BatchNorm::<f32, backend::Scalar>::new(64)` ([`backend`]). All of them give the same bits, so a choice is one of speed alone.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `scalar` (always there) | the kernels in plain Rust, the reference |
//! | `dispatch` (default) | the kernels compiled per instruction set, chosen at run time |
//! | `wide` | the kernels on the crate `wide`, as fast as the build's target allows |
//! | `rayon` (default) | [`Rayon`](backend::Rayon): any kernels, run in parallel on the caller's rayon pool |
//! | `half` | tensors of f16 and bf16 ([`Element`]); parameters and statistics stay f32 |
//! | `safetensors` | `checkpoint`: files of safetensors under PyTorch's names |
//! | `serde` | `Serialize` and `Deserialize` for the layer, [`Config`], [`RunningStats`], [`Saved`], [`Shape`], [`Recalibrate`], and what [`parts`] merge |
//!
//! The default of any combination is the fastest kernels that are compiled in, dispatch before wide before scalar, wrapped in
//! [`Rayon`](backend::Rayon) where `rayon` is on.
//!
//! How a step goes about its memory is learned from the program's own steps, see [`schedule`]. No bit depends on it.
//!
//! # Statistics from elsewhere
//!
//! [`parts::Moments`] are statistics that merge, whoever took them. [`Recalibrate`] collects those of a data set,
//! [`RunningStats::merge`] makes one of several layers' running ones.

pub mod backend;

pub use backend::DefaultBackend;
#[cfg(feature = "safetensors")]
pub use bn_core::checkpoint;
pub use bn_core::mem::Output;
pub use bn_core::{
    Activation, Affine, Config, Cotangents, DoubleGradients, Element, Error, Folded, Frozen, Gradients,
    Grads, Kept, Layout, Mode, NonFinite, OneValue, Options, ParameterGradients, Real, Recalibrate, Renorm,
    RunningStats, RunningVar, Saved, Shape, ShapeError, Single, Sizes, Workspace, functions, parts, ranks,
    schedule,
};
/// The version of ndarray whose arrays the layer takes.
pub use ndarray;
/// The version of safetensors whose files the layer reads.
#[cfg(feature = "safetensors")]
pub use safetensors;

/// The batch-normalization layer over the feature axis of a tensor of elements `T`: f32, f64, and with the feature `half`
/// f16 and bf16. [`DefaultBackend`] runs it, unless another [`backend`] is named.
///
/// ```
/// use batchnorm::BatchNorm;
/// use ndarray::array;
///
/// let mut bn = BatchNorm::<f32>::new(2)?;
/// let x = array![[1.0, -2.0], [3.0, 0.5], [5.0, 6.0]]; // (N, C)
/// let (y, saved) = bn.forward(&x)?;
/// let dy = &y * 2.0; // ∂L/∂y of the loss Σy²
/// let g = bn.backward(&saved, &x, &dy)?;
/// for (parameter, gradient) in bn.parameters_with(&g)? {
///     parameter.iter_mut().zip(gradient).for_each(|(p, g)| *p -= 0.1 * g);
/// }
/// println!("{bn}, {}", bn.forward_eval(&x)?);
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// # What it computes
///
/// In training, per feature over the n values of the batch, with the parameters γ (`weight`) and β (`bias`) (Ioffe and Szegedy,
/// <https://arxiv.org/abs/1502.03167>, algorithm 1 and section 3):
///
/// ```text
/// forward    μ = Σx/n    σ² = Σ(x−μ)²/n    invstd = 1/√(σ²+eps)    x̂ = (x−μ)·invstd    y = γ·x̂ + β
/// backward   dβ = Σdy    dγ = Σdy·x̂       dx = (γ·invstd/n)·(n·dy − dβ − x̂·dγ)
/// commit     r ← (1−m)·r + m·s             of the running mean and variance, m the momentum
/// ```
///
/// Evaluation puts the running statistics in place of μ and σ². Its backward takes them for constants: dx = γ·invstd·dy.
///
/// # Fields
///
/// | field | type | at first |
/// | --- | --- | --- |
/// | `weight` | `Array1<T::Compute>`, shape (C,): γ | 1 |
/// | `bias` | `Array1<T::Compute>`, shape (C,): β | 0 |
/// | `running` | `Option<`[`RunningStats`]`>`: running mean and variance, shape (C,), how many batches went into them, and how many each feature left out | 0, 1, 0, 0 |
///
/// `T::Compute` is the type of the parameters: f32 for half types, else `T` itself. A parameter that
/// the layer does not have ([`Affine`]) has length 0.
///
/// # Methods
///
/// | wish | arrays | slices of the caller |
/// | --- | --- | --- |
/// | train | [`forward`](BatchNorm::forward), [`backward`](BatchNorm::backward) | [`forward_into`](BatchNorm::forward_into), [`backward_into`](BatchNorm::backward_into) |
/// | train, and commit later | [`forward_uncommitted`](BatchNorm::forward_uncommitted) | [`forward_uncommitted_into`](BatchNorm::forward_uncommitted_into) |
/// | evaluate | [`forward_eval`](BatchNorm::forward_eval) | [`forward_eval_into`](BatchNorm::forward_eval_into) |
/// | take the gradient of an evaluation | [`forward_eval_saved`](BatchNorm::forward_eval_saved), [`backward_eval`](BatchNorm::backward_eval) | [`forward_eval_into`](BatchNorm::forward_eval_into), [`backward_eval_into`](BatchNorm::backward_eval_into) |
/// | do any of these with [`Options`]: an activation, a residual, a mask, renormalization, ghost batches | [`forward_with`](BatchNorm::forward_with), [`forward_uncommitted_with`](BatchNorm::forward_uncommitted_with), [`forward_eval_with`](BatchNorm::forward_eval_with), [`backward_with`](BatchNorm::backward_with) | [`forward_step`](BatchNorm::forward_step), [`forward_uncommitted_step`](BatchNorm::forward_uncommitted_step), [`forward_eval_step`](BatchNorm::forward_eval_step), [`backward_step`](BatchNorm::backward_step) |
/// | write y over x, dx over dy, or add dx to a gradient that is there | [`forward_eval_over`](BatchNorm::forward_eval_over) | [`functions::To`] |
/// | take gradients of gradients | [`double_backward`](BatchNorm::double_backward) | [`functions::double_backward`] |
///
/// | wish | method |
/// | --- | --- |
/// | make a layer | [`new`](BatchNorm::new), [`with_config`](BatchNorm::with_config), [`with_backend`](BatchNorm::with_backend) |
/// | hand parameters and gradients to an optimizer | [`parameters_with`](BatchNorm::parameters_with) |
/// | weigh a batch into the running statistics | [`commit`](BatchNorm::commit) |
/// | begin them anew | [`reset_running_stats`](BatchNorm::reset_running_stats) |
/// | freeze statistics, parameters or both, so that training leaves them | [`set_frozen`](BatchNorm::set_frozen) |
/// | see and change settings | [`config`](BatchNorm::config), [`features`](BatchNorm::features), [`set_momentum`](BatchNorm::set_momentum), [`set_eps`](BatchNorm::set_eps) |
/// | fold it into the layer before | [`fold_into`](BatchNorm::fold_into), [`fold_into_transposed`](BatchNorm::fold_into_transposed); as scale and shift [`fold`](BatchNorm::fold) |
/// | print it | `Display`: `BatchNorm<f32>(64, eps=1e-5, momentum=0.1, …) on rayon+dispatch` |
/// | store it | `Serialize` and `Deserialize`, with the feature `serde` |
#[cfg_attr(
    feature = "safetensors",
    doc = "| store it for PyTorch, and load what PyTorch stored | [`state_dict`](BatchNorm::state_dict), [`load_state_dict`](BatchNorm::load_state_dict) |"
)]
///
/// Arrays and views go in by reference: `&x`, `&x.view()`, `&x.slice(s![..8, ..])`. The methods themselves, with an example each,
/// stand on the page of [the struct](backend::BatchNorm) behind this alias.
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

//! Batch normalization as one writes it in NumPy, in `ndarray`: two strategies for the same gradient.
//!
//! [`graph`] walks the computational graph forward and back, every node an array of its own, as Frederik
//! Kratzert's post of 2016 and the first half of CS231n's assignment do. [`analytic`] takes the gradient on
//! paper first and computes three lines. `docs/math.md` leads from one to the other.
//!
//! They are the baselines: what the fused layer is compared with, and plain enough to be read beside the
//! formulae. They work in the data's own precision throughout, so far from zero they lose digits that the
//! layer keeps. Training only: no running statistics, no evaluation.
//!
//! ```
//! use bn_textbook::{analytic, graph};
//! use ndarray::array;
//!
//! # fn main() -> Result<(), bn_core::Error> {
//! let x = array![[1.0, -2.0], [3.0, 0.5], [5.0, 6.0]]; // (N, C) or (N, C, H, W)
//! let (weight, bias) = (array![1.0, 2.0], array![0.0, 1.0]);
//! let dy = array![[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]];
//!
//! let (y, cache) = graph::forward(x.view(), weight.view(), bias.view(), 1e-5)?;
//! let by_node = graph::backward(dy.view(), &cache)?;
//!
//! let (same_y, cache) = analytic::forward(x.view(), weight.view(), bias.view(), 1e-5)?;
//! let by_formula = analytic::backward(dy.view(), &cache)?;
//!
//! approx::assert_abs_diff_eq!(y, same_y, epsilon = 1e-14);
//! approx::assert_abs_diff_eq!(by_node.dx, by_formula.dx, epsilon = 1e-14);
//! # Ok(())
//! # }
//! ```

pub mod analytic;
pub mod graph;

mod features;

pub use bn_core::{Error, Gradients};

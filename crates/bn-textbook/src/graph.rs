//! The computational graph, node by node: each operation has one array as its result, forward and back.
//!
//! ```text
//! x ─┬──────────────▶ centred ─┬─────────────────────────────────▶ normalized ─▶ scaled ─▶ shifted = y
//!    └─▶ mean ───────▶         └─▶ squared ─▶ var ─▶ std ─▶ inverse ▶      weight ▶   bias ▶
//! ```
//!
//! The backward walks it from right to left; where paths part in the forward, gradients are added.

use crate::features::{check, check_dy, count, each, owned, reshape, restore, spread, sum};
use bn_core::{Error, Gradients, Real, Shape};
use ndarray::{Array, Array1, Array3, ArrayView, ArrayView1, Dimension, NdFloat};
use std::ops::{Add, Mul, Sub};

/// What the forward leaves for the backward: the nodes whose values the local gradients need.
#[derive(Clone, Debug)]
pub struct Cache<T> {
    /// x − mean, as (N, C, the product of the other axes).
    pub centred: Array3<T>,
    /// x̂ = centred·inverse, likewise.
    pub normalized: Array3<T>,
    /// The batch's mean, shape (C,).
    pub mean: Array1<T>,
    /// The batch's biased variance, shape (C,).
    pub var: Array1<T>,
    /// √(var + eps), shape (C,).
    pub std: Array1<T>,
    /// 1/std, shape (C,).
    pub inverse: Array1<T>,
    /// γ, shape (C,).
    pub weight: Array1<T>,
    dims: Vec<usize>,
    shape: Shape,
}

/// The training forward of x, shape (N,C) or (N,C,…), with γ `weight` and β `bias` of shape (C,):
///
/// y = γ·(x − μ)/√(σ² + eps) + β, with the mean μ and the biased variance σ² of each feature over all other axes
/// (Ioffe and Szegedy, <https://arxiv.org/abs/1502.03167>, algorithm 1).
///
/// # Errors
/// As the layer: [`Error::Eps`], [`Error::Shape`], [`Error::Features`], [`Error::Length`] where `bias` has another
/// length than `weight`, and [`Error::OneValue`] where there is a single value per feature.
pub fn forward<T: NdFloat + Real, D: Dimension>(
    x: ArrayView<'_, T, D>,
    weight: ArrayView1<'_, T>,
    bias: ArrayView1<'_, T>,
    eps: f64,
) -> Result<(Array<T, D>, Cache<T>), Error> {
    let shape = check(&x, weight, bias, eps)?;
    let (dims, x) = (x.raw_dim(), reshape(x, shape));
    let (weight, bias, eps) = (owned(weight), owned(bias), T::from_f64(eps));
    let n = count(&x);

    let mean = sum(&x) / n;
    let centred = each(&x, Sub::sub, &mean);
    let squared = &centred * &centred;
    let var = sum(&squared) / n;
    let std = var.mapv(|var| (var + eps).sqrt());
    let inverse = std.mapv(T::recip);
    let normalized = each(&centred, Mul::mul, &inverse);
    let scaled = each(&normalized, Mul::mul, &weight);
    let shifted = each(&scaled, Add::add, &bias);

    let y = restore(shifted, dims.clone());
    let dims = dims.slice().to_vec();
    Ok((y, Cache { centred, normalized, mean, var, std, inverse, weight, dims, shape }))
}

/// The backward of [`forward`] from the gradient `dy` = ∂L/∂y, of x's dimensions.
///
/// # Errors
/// [`Error::Dims`] where `dy` has other dimensions than `x` had.
pub fn backward<T: NdFloat + Real, D: Dimension>(
    dy: ArrayView<'_, T, D>,
    cache: &Cache<T>,
) -> Result<Gradients<T, D>, Error> {
    let Cache { centred, normalized, std, inverse, weight, dims, shape, .. } = cache;
    let (dx_dims, dshifted) = (dy.raw_dim(), check_dy(dy, dims, *shape)?);
    let n = count(&dshifted);
    let two = T::from_f64(2.0);

    // shifted = scaled + bias: the gradient of a sum goes to both, and that of a broadcast operand is summed.
    let dbias = sum(&dshifted);
    let dscaled = dshifted;
    // scaled = normalized · weight
    let dweight = sum(&(&dscaled * normalized));
    let dnormalized = each(&dscaled, Mul::mul, weight);
    // normalized = centred · inverse
    let dinverse = sum(&(&dnormalized * centred));
    let dcentred_direct = each(&dnormalized, Mul::mul, inverse);
    // inverse = 1/std
    let dstd = -(dinverse / (std * std));
    // std = √(var + eps)
    let dvar = dstd / (std * two);
    // var = Σ squared / n
    let dsquared = spread(&(dvar / n), centred.dim());
    // squared = centred²
    let dcentred_squared = centred * two * dsquared;
    // centred went two ways.
    let dcentred = dcentred_direct + dcentred_squared;
    // centred = x − mean
    let dmean = -sum(&dcentred);
    // mean = Σ x / n
    let dx_mean = spread(&(dmean / n), centred.dim());
    // x went two ways.
    let dx = dcentred + dx_mean;

    Ok(Gradients { dx: restore(dx, dx_dims), dweight, dbias, dresidual: None })
}

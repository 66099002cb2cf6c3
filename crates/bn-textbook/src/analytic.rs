//! The gradient taken on paper first: three lines in place of the graph's backward.
//!
//! ```text
//! dβ = Σ dy        dγ = Σ x̂·dy        dx = (γ·invstd/n)·(n·dy − x̂·dγ − dβ)
//! ```
//!
//! `docs/math.md` derives them from the graph.

use crate::features::{check, check_dy, count, each, each_in, owned, reshape, restore, sum};
use bn_core::{Error, Gradients, Real, Shape};
use ndarray::{Array, Array1, Array3, ArrayView, ArrayView1, Dimension, NdFloat};
use std::ops::{Add, Mul, Sub};

/// What the forward leaves for the backward.
#[derive(Clone, Debug)]
pub struct Cache<T> {
    /// x̂ = (x − mean)·invstd, as (N, C, the product of the other axes).
    pub xhat: Array3<T>,
    /// The batch's mean, shape (C,).
    pub mean: Array1<T>,
    /// The batch's biased variance, shape (C,).
    pub var: Array1<T>,
    /// 1/√(var + eps), shape (C,).
    pub invstd: Array1<T>,
    /// γ, shape (C,).
    pub weight: Array1<T>,
    dims: Vec<usize>,
    shape: Shape,
}

/// The training forward of x, shape (N,C) or (N,C,…), with γ `weight` and β `bias` of shape (C,):
///
/// y = γ·x̂ + β with x̂ = (x − μ)·invstd and invstd = 1/√(σ² + eps), the mean μ and the biased variance σ² of each
/// feature taken over all other axes (Ioffe and Szegedy, <https://arxiv.org/abs/1502.03167>, algorithm 1).
///
/// # Errors
/// As [`graph::forward`](crate::graph::forward).
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
    let var = sum(&(&centred * &centred)) / n;
    let invstd = var.mapv(|var| (var + eps).sqrt().recip());
    let xhat = each_in(centred, Mul::mul, &invstd);
    let y = each_in(each(&xhat, Mul::mul, &weight), Add::add, &bias);

    let cache = Cache { xhat, mean, var, invstd, weight, dims: dims.slice().to_vec(), shape };
    Ok((restore(y, dims), cache))
}

/// The backward of [`forward`] from the gradient `dy` = ∂L/∂y, of x's dimensions:
///
/// dβ = Σ dy, dγ = Σ x̂·dy, dx = (γ·invstd/n)·(n·dy − x̂·dγ − dβ)
///
/// # Errors
/// [`Error::Dims`] where `dy` has other dimensions than `x` had.
pub fn backward<T: NdFloat + Real, D: Dimension>(
    dy: ArrayView<'_, T, D>,
    cache: &Cache<T>,
) -> Result<Gradients<T, D>, Error> {
    let Cache { xhat, invstd, weight, dims, shape, .. } = cache;
    let (dx_dims, dy) = (dy.raw_dim(), check_dy(dy, dims, *shape)?);
    let n = count(&dy);

    let dbias = sum(&dy);
    let dweight = sum(&(xhat * &dy));
    let through = each_in(&dy * n - each(xhat, Mul::mul, &dweight), Sub::sub, &dbias);
    let dx = each_in(through, Mul::mul, &(weight * invstd / n));

    Ok(Gradients { dx: restore(dx, dx_dims), dweight, dbias, dresidual: None })
}

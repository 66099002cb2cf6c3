//! What both strategies do about shapes: the checks, the sums over all axes but the features', and the
//! broadcasting of one value per feature.
//!
//! A tensor (N,C,…) is worked on as (N, C, the product of the rest), NumPy's `x.reshape(N, C, -1)`: sums run over
//! the axes 0 and 2, and what belongs to a feature is broadcast over them. No axis is moved, so nothing is copied.
//!
//! 1. ndarray's own broadcasting operators step through a broadcast operand by a stride that is known at run time
//!    only, an element at a time. NumPy has vector loops for both cases, a row of values and a single one. Here
//!    they are written as loops over slices, which the compiler makes vector loops of.
//! 2. An axis of length 1 in the innermost place makes every inner loop of ndarray one element long, hence the
//!    separate arms for (N,C).

use bn_core::{Config, Error, Layout, Mode, Real, Shape, Single, Sizes};
use ndarray::{
    Array, Array1, Array3, ArrayRef3, ArrayView, ArrayView1, Axis, CowArray, Dimension, Ix3, NdFloat,
};

/// Whether the layer would take this input: its errors, in its order.
pub(crate) fn check<T, D: Dimension>(
    x: &ArrayView<'_, T, D>,
    weight: ArrayView1<'_, T>,
    bias: ArrayView1<'_, T>,
    eps: f64,
) -> Result<Shape, Error> {
    Config::default().eps(eps).check()?;
    let shape = Shape::from_dims(x.shape(), Layout::ChannelsFirst)?;
    let features = weight.len();
    if shape.features() != features {
        return Err(Error::Features { what: "x", expected: features, got: sizes(x) });
    }
    if bias.len() != features {
        return Err(Error::Length { what: "bias", expected: features, got: bias.len() });
    }
    if shape.count() == 1 && features > 0 {
        return Err(Error::OneValue { mode: Mode::Train, of: Single::Batch, got: sizes(x) });
    }
    Ok(shape)
}

fn sizes<T, D: Dimension>(x: &ArrayView<'_, T, D>) -> Sizes {
    Sizes::Array { dims: x.shape().to_vec(), layout: Layout::ChannelsFirst }
}

/// `dy` as [`reshape`] has it, if its dimensions are those of the forward.
pub(crate) fn check_dy<'a, T: Clone, D: Dimension>(
    dy: ArrayView<'a, T, D>,
    dims: &[usize],
    shape: Shape,
) -> Result<CowArray<'a, T, Ix3>, Error> {
    if dy.shape() != dims {
        return Err(Error::Dims { what: "dy", expected: dims.to_vec(), got: dy.shape().to_vec() });
    }
    Ok(reshape(dy, shape))
}

/// The tensor as (outer, features, inner), copied only where it does not lie in memory in that order.
pub(crate) fn reshape<T: Clone, D: Dimension>(
    tensor: ArrayView<'_, T, D>,
    shape: Shape,
) -> CowArray<'_, T, Ix3> {
    let dims = (shape.outer(), shape.features(), shape.inner());
    let tensor = match tensor.is_standard_layout() {
        true => CowArray::from(tensor),
        false => CowArray::from(tensor.as_standard_layout().into_owned()),
    };
    tensor.into_shape_with_order(dims).unwrap_or_else(|_| unreachable!("as many elements as the shape has"))
}

/// The tensor in its own dimensions again.
pub(crate) fn restore<T, D: Dimension>(tensor: Array3<T>, dims: D) -> Array<T, D> {
    tensor.into_shape_with_order(dims).unwrap_or_else(|_| unreachable!("as many elements as the shape has"))
}

/// A parameter side by side in memory, whatever the view's stride.
pub(crate) fn owned<T: Clone>(parameter: ArrayView1<'_, T>) -> Array1<T> {
    // Not `to_owned`: it keeps a reversed view's order of memory.
    parameter.as_standard_layout().into_owned()
}

/// n, the number of values per feature, as a float.
pub(crate) fn count<T: Real>(a: &ArrayRef3<T>) -> T {
    let (outer, _, inner) = a.dim();
    T::from_f64((outer * inner) as f64)
}

/// The sum per feature, shape (C,): NumPy's `a.sum(axis=(0, 2))`.
pub(crate) fn sum<T: NdFloat>(a: &ArrayRef3<T>) -> Array1<T> {
    match a.dim() {
        (_, _, 1) => a.index_axis(Axis(2), 0).sum_axis(Axis(0)),
        _ => a.sum_axis(Axis(2)).sum_axis(Axis(0)),
    }
}

/// A new array of each element and its feature's value, NumPy's `a op v[:, None]`.
pub(crate) fn each<T: NdFloat>(a: &ArrayRef3<T>, op: impl Fn(T, T) -> T, v: &Array1<T>) -> Array3<T> {
    let (_, features, inner) = a.dim();
    let (from, values) = (slice(a.as_slice()), slice(v.as_slice()));
    // Extending writes each element once; an array made of zeros would be written twice.
    let mut to = Vec::with_capacity(from.len());
    if inner == 1 {
        for row in from.chunks_exact(features.max(1)) {
            to.extend(row.iter().zip(values).map(|(&a, &v)| op(a, v)));
        }
    } else {
        for (run, &v) in from.chunks_exact(inner.max(1)).zip(values.iter().cycle()) {
            to.extend(run.iter().map(|&a| op(a, v)));
        }
    }
    Array3::from_shape_vec(a.raw_dim(), to).unwrap_or_else(|_| unreachable!("as many elements as before"))
}

/// The same in place, NumPy's `a op= v[:, None]`, which it also makes of an operator whose operand is a temporary.
pub(crate) fn each_in<T: NdFloat>(mut a: Array3<T>, op: impl Fn(T, T) -> T, v: &Array1<T>) -> Array3<T> {
    let (_, features, inner) = a.dim();
    let (to, values) = (a.as_slice_mut().unwrap_or_default(), slice(v.as_slice()));
    if inner == 1 {
        for row in to.chunks_exact_mut(features.max(1)) {
            row.iter_mut().zip(values).for_each(|(a, &v)| *a = op(*a, v));
        }
    } else {
        for (run, &v) in to.chunks_exact_mut(inner.max(1)).zip(values.iter().cycle()) {
            run.iter_mut().for_each(|a| *a = op(*a, v));
        }
    }
    a
}

/// Each feature's value in all its places: NumPy's `np.ones(dims) * v[:, None]`, in one write.
pub(crate) fn spread<T: NdFloat>(
    v: &Array1<T>,
    (outer, features, inner): (usize, usize, usize),
) -> Array3<T> {
    let mut to = Vec::with_capacity(outer * features * inner);
    for _ in 0..outer {
        match inner {
            1 => to.extend_from_slice(slice(v.as_slice())),
            _ => v.iter().for_each(|&v| to.resize(to.len() + inner, v)),
        }
    }
    Array3::from_shape_vec((outer, features, inner), to)
        .unwrap_or_else(|_| unreachable!("as many elements as asked for"))
}

fn slice<T>(elements: Option<&[T]>) -> &[T] {
    elements.unwrap_or_else(|| unreachable!("made in standard order here"))
}

//! The layer in evaluation, folded: as scale and shift, or into the linear layer or convolution before it.
//!
//! Of each feature, with μ and σ² the running statistics:
//!
//! ```text
//! scale = γ/√(σ²+eps)    y = scale·x + shift    shift = β + (0−μ)·scale
//! x = W·z + b            y = (scale·W)·z + b'   b' = β + (b−μ)·scale
//! ```
//!
//! Jacob et al., <https://arxiv.org/abs/1712.05877>, section 3.2. All of it is computed in the wide type and rounded once.

use super::error::{Error, check_len};
use super::{BatchNorm, RunningStats};
use crate::kernel::Backend;
use crate::maths::Stats;
use crate::num::{Element, Real, Wide};
use ndarray::{Array1, ArrayRef, ArrayViewD, ArrayViewMutD, Axis, Dimension, Ix1};

/// A layer in evaluation as y = scale·x + shift.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded<R> {
    /// γ/√(running_var + eps), shape (C,).
    pub scale: Array1<R>,
    /// β − running_mean·scale, shape (C,).
    pub shift: Array1<R>,
}

/// What is folded into, in messages.
const WEIGHT: &str = "the preceding weight";
const BIAS: &str = "the preceding bias";

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// The layer in evaluation as y = scale·x + shift: scale = γ/√(running_var + eps), shift = β − running_mean·scale, of shape
    /// (C,). Computed in the wide type and rounded once.
    ///
    /// The map scale·x + shift is less exact than [`forward_eval`](Self::forward_eval), which subtracts the mean first: its error
    /// grows with |scale·x| + |shift|, that of the layer with |y − β| + |β|. A feature whose mean is 10ᵏ standard deviations from
    /// zero loses about k digits.
    ///
    /// # Errors
    /// [`Error::Fold`] where no statistics are tracked, or where finite numbers give a scale or shift that the type does not hold;
    /// [`Error::Length`] and [`Error::Strided`] where parameters or statistics were replaced by arrays of another length or with a
    /// stride.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Config};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::with_config(1, Config::default().eps(1.0))?;
    /// bn.bias[0] = 5.0;
    /// let running = bn.running.as_mut().expect("tracked by default");
    /// (running.mean[0], running.var[0]) = (2.0, 3.0);
    /// let folded = bn.fold()?;
    /// assert_eq!((folded.scale, folded.shift), (array![0.5], array![4.0])); // 1/√(3+1), 5 − 2·0.5
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn fold(&self) -> Result<Folded<T::Compute>, Error> {
        let features = self.folds()?;
        let scale = |(f, of): (usize, &Fold<T::Compute>)| rounded("scale", f, of.scale, of.finite);
        let shift = |(f, of): (usize, &Fold<T::Compute>)| of.shift("shift", f, T::Compute::default());
        Ok(Folded {
            scale: features.iter().enumerate().map(scale).collect::<Result<_, _>>()?,
            shift: features.iter().enumerate().map(shift).collect::<Result<_, _>>()?,
        })
    }

    /// Folds the layer into the linear layer or convolution before it, whose output then is the layer's in evaluation.
    ///
    /// `weight` is changed in place. Its output features come first: (C, I) of a linear layer, (C, I/groups, …) of a convolution,
    /// with any number of groups and of spatial axes. `bias`, of shape (C,), is the one it has, if any; the result takes its place:
    ///
    /// ```text
    /// weight ← scale·weight    b' = β + (bias − running_mean)·scale    scale = γ/√(running_var + eps)
    /// ```
    ///
    /// Each value is computed in the wide type and rounded once. So y moves by the rounding of weights and sums alone; beside the
    /// sizes of the terms scale·weight·z and b', not of y. A slice goes in as a view, `ArrayViewMut::from_shape(dims, slice)`.
    ///
    /// # Errors
    /// [`Error::Fold`] as [`fold`](Self::fold); [`Error::Dims`] where the first axis of `weight` is not C long, [`Error::Length`] where
    /// `bias` is not. `weight` then is as it was.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Error};
    /// use ndarray::{Array1, Array2, array};
    ///
    /// let mut bn = BatchNorm::<f64>::new(2)?;
    /// let (mut weight, bias) = (array![[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]], array![0.5, 0.0]); // 3 features to 2
    /// let linear = |z: &Array2<f64>, weight: &Array2<f64>, bias: &Array1<f64>| z.dot(&weight.t()) + bias;
    /// let z = array![[1.0, 2.0, 3.0], [4.0, 0.0, -1.0], [0.5, 0.5, 2.0]];
    /// bn.forward(&linear(&z, &weight, &bias))?; // a step of training
    ///
    /// let y = bn.forward_eval(&linear(&z, &weight, &bias))?;
    /// let bias = bn.fold_into(&mut weight, Some(&bias))?;
    /// assert!((linear(&z, &weight, &bias) - y).iter().all(|apart| apart.abs() < 1e-12));
    ///
    /// let error = bn.fold_into(&mut Array2::ones((3, 2)), None).unwrap_err(); // (I, C)
    /// let text = "expected the preceding weight of the dimensions [2, 2], got [3, 2]";
    /// assert_eq!(error.to_string(), text);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fold_into<D: Dimension>(
        &self,
        weight: &mut ArrayRef<T::Compute, D>,
        bias: Option<&ArrayRef<T::Compute, Ix1>>,
    ) -> Result<Array1<T::Compute>, Error> {
        let features = self.folds()?;
        check_axis(weight.shape(), 0, self.features)?;
        let bias = folded_bias(&features, bias)?;
        for (f, row) in weight.view().into_dyn().axis_iter(Axis(0)).enumerate() {
            features[f].check(f, &row)?;
        }
        for (of, row) in features.iter().zip(weight.view_mut().into_dyn().axis_iter_mut(Axis(0))) {
            of.scale(row);
        }
        Ok(bias)
    }

    /// As [`fold_into`](Self::fold_into), for a transposed convolution with `groups`, whose weight has the shape (I, C/groups, …):
    /// its input features come first. Input feature i belongs to the group g = ⌊i·groups/I⌋, and `weight[i, j]` to the output
    /// feature g·C/groups + j.
    ///
    /// # Errors
    /// As [`fold_into`](Self::fold_into), C/groups being the length of the second axis; [`Error::Fold`] where C or I does not fall
    /// into `groups` groups.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::Array4;
    ///
    /// let mut bn = BatchNorm::<f32>::new(6)?;
    /// bn.weight[4] = 3.0;
    /// let mut weight = Array4::ones((4, 3, 2, 2)); // 4 features to 6, in 2 groups
    /// let bias = bn.fold_into_transposed(&mut weight, None, 2)?; // it had none
    /// assert_eq!(bias.len(), 6);
    /// assert_eq!(weight[[2, 1, 0, 0]], 3.0 * weight[[1, 1, 0, 0]]); // of features 4 and 1
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn fold_into_transposed<D: Dimension>(
        &self,
        weight: &mut ArrayRef<T::Compute, D>,
        bias: Option<&ArrayRef<T::Compute, Ix1>>,
        groups: usize,
    ) -> Result<Array1<T::Compute>, Error> {
        let features = self.folds()?;
        let each = check_groups("features", self.features, groups)?;
        check_axis(weight.shape(), 1, each)?;
        let inputs = check_groups("input features of the preceding weight", weight.shape()[0], groups)?;
        let bias = folded_bias(&features, bias)?;
        let first = |i: usize| i / inputs.max(1) * each;
        for (i, of_input) in weight.view().into_dyn().axis_iter(Axis(0)).enumerate() {
            for (j, block) in of_input.axis_iter(Axis(0)).enumerate() {
                features[first(i) + j].check(first(i) + j, &block)?;
            }
        }
        for (i, mut of_input) in weight.view_mut().into_dyn().axis_iter_mut(Axis(0)).enumerate() {
            for (of, block) in features[first(i)..].iter().zip(of_input.axis_iter_mut(Axis(0))) {
                of.scale(block);
            }
        }
        Ok(bias)
    }

    /// Of each feature what is folded.
    fn folds(&self) -> Result<Vec<Fold<T::Compute>>, Error> {
        let (weight, bias) = self.params()?;
        let Some(RunningStats { mean, var, .. }) = &self.running else {
            let (expected, got) = ("running statistics to fold", "a layer that tracks none");
            return Err(Error::Fold { expected: expected.into(), got: got.into() });
        };
        let of = |f: usize| {
            let (mean, var) = (mean[f], var[f]);
            let weight = weight.map_or(T::Compute::from_f64(1.0), |weight| weight[f]);
            let bias = bias.map_or(T::Compute::default(), |bias| bias[f]);
            let scale = weight.widen() * Stats::from_running(mean, var, self.config.eps).invstd;
            Fold {
                scale,
                mean,
                bias,
                finite: [weight, bias, mean, var].iter().all(|v| v.to_f64().is_finite()),
            }
        };
        Ok((0..self.features).map(of).collect())
    }
}

/// A feature's part.
struct Fold<R: Real> {
    /// γ·invstd.
    scale: R::Wide,
    mean: R,
    bias: R,
    /// Whether all numbers of the layer are.
    finite: bool,
}

impl<R: Real> Fold<R> {
    /// β + (b − μ)·scale.
    fn shift(&self, what: &str, feature: usize, before: R) -> Result<R, Error> {
        let shift = self.bias.widen() + (before.widen() - self.mean.widen()) * self.scale;
        rounded(what, feature, shift, self.finite && before.to_f64().is_finite())
    }

    fn scaled(&self, weight: R) -> R::Wide {
        weight.widen() * self.scale
    }

    /// Whether a feature's weights stay in the range of the type.
    fn check(&self, feature: usize, weights: &ArrayViewD<'_, R>) -> Result<(), Error> {
        weights.iter().try_for_each(|&weight| {
            rounded::<R>("weight", feature, self.scaled(weight), self.finite && weight.to_f64().is_finite())
                .map(|_| ())
        })
    }

    fn scale(&self, mut weights: ArrayViewMutD<'_, R>) {
        weights.map_inplace(|weight| *weight = R::round(self.scaled(*weight)));
    }
}

/// A number of the type. Of finite ones it must be finite.
fn rounded<R: Real>(what: &str, feature: usize, wide: R::Wide, finite: bool) -> Result<R, Error> {
    let value = R::round(wide);
    if finite && !value.to_f64().is_finite() {
        let expected = format!("a folded {what} that {} holds", R::NAME);
        return Err(Error::Fold { expected, got: format!("{:e} for feature {feature}", wide.to_f64()) });
    }
    Ok(value)
}

fn folded_bias<R: Real>(features: &[Fold<R>], bias: Option<&ArrayRef<R, Ix1>>) -> Result<Array1<R>, Error> {
    if let Some(bias) = bias {
        check_len(BIAS, features.len(), bias.len())?;
    }
    let before = |f: usize| bias.map_or(R::default(), |bias| bias[f]);
    features.iter().enumerate().map(|(f, of)| of.shift("bias", f, before(f))).collect()
}

/// Whether an axis of the preceding weight is as long as the layer has it.
fn check_axis(dims: &[usize], axis: usize, len: usize) -> Result<(), Error> {
    if dims.get(axis) == Some(&len) {
        return Ok(());
    }
    let mut expected = dims.to_vec();
    expected.resize(dims.len().max(axis + 1), 1);
    expected[axis] = len;
    Err(Error::Dims { what: WEIGHT, expected, got: dims.to_vec() })
}

/// How many of them a group has.
fn check_groups(what: &str, number: usize, groups: usize) -> Result<usize, Error> {
    match number.checked_rem(groups) {
        Some(0) => Ok(number / groups),
        _ => Err(Error::Fold {
            expected: format!("{what} that fall into groups of one size"),
            got: format!("{number} in {groups} groups"),
        }),
    }
}

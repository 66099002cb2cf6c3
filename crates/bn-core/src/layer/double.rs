//! The double backward: what a loss that depends on gradients of the layer needs, a gradient penalty say.

use super::BatchNorm;
use super::activation::Activation;
use super::error::{Error, check_len};
use super::memory::InMemory;
use super::saved::Saved;
use super::sizes::Sizes;
use crate::driver::{self, Workspace};
use crate::kernel::Backend;
use crate::mem::Output;
use crate::num::Element;
use ndarray::{Array, Array1, ArrayRef, ArrayView, ArrayView1, Dimension};

/// What a double backward reads, and which gradients it writes: those of
/// ⟨`v_dx`,dx⟩ + ⟨`v_dweight`,dγ⟩ + ⟨`v_dbias`,dβ⟩, dx, dγ and dβ being what [`backward`](super::functions::backward) gives. An
/// absent cotangent is 0. What is not asked for is not computed.
///
/// A program names what it sets, and leaves the rest to [`new`](Self::new); the example stands at [`double_backward`].
#[derive(Debug)]
pub struct DoubleBackward<'a, T: Element> {
    /// The forward's input.
    pub x: &'a [T],
    /// ∂L/∂y as the backward had it, of the same length.
    pub dy: &'a [T],
    /// γ as the forward had it; `None` for 1.
    pub weight: Option<&'a [T::Compute]>,
    /// The cotangent of dx, of the tensor's length.
    pub v_dx: Option<&'a [T]>,
    /// The cotangent of dγ, of length C.
    pub v_dweight: Option<&'a [T::Compute]>,
    /// The cotangent of dβ, likewise.
    pub v_dbias: Option<&'a [T::Compute]>,
    /// The gradient with respect to dy, of the tensor's length, overwritten. Where a double backward is Ok, every element of it
    /// has been written.
    pub d_dy: Option<Output<'a, T>>,
    /// The gradient with respect to x, likewise.
    pub d_x: Option<Output<'a, T>>,
    /// The gradient with respect to γ, of length C, overwritten.
    pub d_weight: Option<&'a mut [T::Compute]>,
}

/// The double backward of the forward that was `saved`, as far as it is asked for: the gradients of
/// ⟨v,dx⟩ + ⟨w,dγ⟩ + ⟨z,dβ⟩ with respect to dy, x and γ. With s = invstd, g = dy, ḡ and v̄ means over the batch, h = mean(g·x̂),
/// p = mean(v·x̂) and q = mean((g−ḡ)(v−v̄))
///
/// ```text
///                 through the batch's statistics                               where they are constants
/// d_dy      γs·(v − v̄ − x̂p) + w·x̂ + z                                        γs·v + w·x̂ + z
/// d_x       −γs²·( h(v−v̄) + p(g−ḡ) + x̂(q−3hp) ) + w·s·(g − ḡ − x̂h)           w·s·g
/// d_weight  n·s·(q − hp)                                                       s·Σvg
/// ```
///
/// `docs/math.md` derives them. The bits of each do not depend on what else is asked for. An empty batch has zeros.
///
/// # Errors
/// [`Error::EmptySaved`], [`Error::Length`] where a buffer does not fit the saved shape, [`Error::Parts`] for the state of a
/// part of a batch, whose sums are those of the whole and which has [its own](crate::ranks::Synchronized::double_backward), and [`Error::Options`] for that of a forward with an activation or a mask.
/// Nothing is then written.
///
/// ```
/// use batchnorm::functions::{self, DoubleBackward, Forward};
/// use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
///
/// let (backend, shape) = (DefaultBackend::default(), Shape::nc(3, 1)?);
/// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
/// let (x, dy, v) = ([1.0_f64, 2.0, 6.0], [1.0, 0.0, -1.0], [0.5, 0.0, 0.0]);
/// functions::train(&backend, Forward::new(shape, &x, &mut [0.0; 3]), &mut saved, &mut workspace)?;
///
/// let (mut d_x, mut d_weight) = ([0.0; 3], [0.0]);
/// let step = DoubleBackward {
///     v_dx: Some(&v),
///     d_x: Some((&mut d_x).into()),
///     d_weight: Some(&mut d_weight),
///     ..DoubleBackward::new(&x, &dy)
/// };
/// functions::double_backward(&backend, step, &saved, &mut workspace)?;
/// // Moving all of x changes no gradient.
/// assert!((d_x[0] + d_x[1] + d_x[2]).abs() < 1e-15 && d_x[0].abs() > 1e-3);
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn double_backward<T: Element, B: Backend>(
    backend: &B,
    step: DoubleBackward<'_, T>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    saved.check_second()?;
    saved.check_no_part()?;
    driver::double_backward(backend, step.checked(saved)?, workspace);
    Ok(())
}

impl<'a, T: Element> DoubleBackward<'a, T> {
    /// Of these inputs, with γ = 1 and cotangents of 0, and nothing that is asked for.
    ///
    /// ```
    /// use batchnorm::functions::DoubleBackward;
    ///
    /// let (x, dy, mut d_dy) = ([1.0_f32, 3.0], [1.0, 0.5], [0.0; 2]);
    /// let step = DoubleBackward { v_dbias: Some(&[2.0]), d_dy: Some((&mut d_dy).into()), ..DoubleBackward::new(&x, &dy) };
    /// assert!(step.v_dx.is_none() && step.d_x.is_none());
    /// ```
    #[must_use]
    pub fn new(x: &'a [T], dy: &'a [T]) -> Self {
        let (v_dx, v_dweight, v_dbias) = (None, None, None);
        Self { x, dy, weight: None, v_dx, v_dweight, v_dbias, d_dy: None, d_x: None, d_weight: None }
    }

    /// The step, its buffers as strips, which have the lengths they must have. The state is checked already.
    pub(super) fn checked(self, saved: &'a Saved<T>) -> Result<driver::DoubleBackward<'a, T>, Error> {
        let Self { x, dy, weight, v_dx, v_dweight, v_dbias, d_dy, d_x, d_weight } = self;
        let (shape, features) = (saved.shape, saved.shape.features());
        let own = [("weight", weight), ("v_dweight", v_dweight), ("v_dbias", v_dbias)];
        for (what, of) in own.into_iter().filter_map(|(what, of)| Some((what, of?))) {
            check_len(what, features, of.len())?;
        }
        d_weight.as_ref().map_or(Ok(()), |to| check_len("d_weight", features, to.len()))?;
        let of = |what, of: &'a [T]| {
            let got = of.len();
            shape.strips(of).ok_or(Error::Length { what, expected: shape.len(), got })
        };
        let to = |what, to: Option<Output<'a, T>>| match to {
            None => Ok(None),
            Some(to) => {
                let got = to.len();
                let strips = shape.strips_mut(to);
                strips.map(Some).ok_or(Error::Length { what, expected: shape.len(), got })
            }
        };
        Ok(driver::DoubleBackward {
            shape,
            x: of("x", x)?,
            dy: of("dy", dy)?,
            v: v_dx.map(|v| of("v_dx", v)).transpose()?,
            w: v_dweight.unwrap_or_default(),
            z: v_dbias.unwrap_or_default(),
            weight: weight.unwrap_or_default(),
            d_dy: to("d_dy", d_dy)?,
            d_x: to("d_x", d_x)?,
            d_weight: d_weight.unwrap_or_default(),
            stats: saved.stats.as_ref(),
            from_batch: saved.from_batch,
            eps: saved.eps,
            count: saved.count,
            moments: None,
            given: None,
            given_first: None,
        })
    }
}

impl<T: Element> Saved<T> {
    /// Whether it is the state of a forward by the statistics of a batch, and of nothing beside.
    pub(super) fn check_second(&self) -> Result<(), Error> {
        self.check(self.mode)?;
        if self.done.activation != Activation::Identity || self.done.mask {
            let expected = "the saved state of a forward without activation and mask".into();
            let got = if self.done.mask { "one with a mask" } else { "one with an activation" };
            return Err(Error::Options { expected, got: got.into() });
        }
        self.check_plain()
    }
}

/// What the gradients of a backward are multiplied with, in [`BatchNorm::double_backward`]: the cotangents of dx, dγ and dβ. An
/// absent one is 0.
///
/// ```
/// use batchnorm::Cotangents;
/// use ndarray::array;
///
/// let v = array![[0.5_f32], [0.0]];
/// let cotangents = Cotangents { dx: Some(v.view()), ..Cotangents::default() };
/// assert_eq!(cotangents.dweight, None);
/// ```
#[derive(Clone, Debug)]
pub struct Cotangents<'a, T: Element, D: Dimension> {
    /// That of dx, of its dimensions.
    pub dx: Option<ArrayView<'a, T, D>>,
    /// That of dγ, shape (C,).
    pub dweight: Option<ArrayView1<'a, T::Compute>>,
    /// That of dβ, likewise.
    pub dbias: Option<ArrayView1<'a, T::Compute>>,
}

impl<T: Element, D: Dimension> Default for Cotangents<'_, T, D> {
    fn default() -> Self {
        Self { dx: None, dweight: None, dbias: None }
    }
}

/// The gradients of a double backward, in fresh arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct DoubleGradients<T: Element, D: Dimension> {
    /// With respect to dy, of the input's dimensions.
    pub dy: Array<T, D>,
    /// With respect to x, likewise.
    pub x: Array<T, D>,
    /// With respect to γ, shape (C,); of length 0 for a layer without γ, or where it is frozen.
    pub weight: Array1<T::Compute>,
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// The double backward: the gradients of ⟨v,dx⟩ + ⟨w,dγ⟩ + ⟨z,dβ⟩ with respect to dy, x and γ, where dx, dγ and dβ are what
    /// [`backward`](Self::backward) gives for the same `saved`, `x` and `dy`, and v, w and z are the `cotangents`. The state may be
    /// that of a training forward or of an evaluation. [`functions::double_backward`](super::functions::double_backward) has the
    /// formulas, and takes slices.
    ///
    /// # Errors
    /// As [`backward`](Self::backward), but for [`Error::SavedMode`]; [`Error::Dims`] where `cotangents.dx` has other dimensions than
    /// `x`, and [`Error::Length`] where one of dγ or dβ has not a value per feature.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Cotangents};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f64>::new(1)?;
    /// let (x, dy) = (array![[1.0], [2.0], [6.0]], array![[1.0], [0.0], [-1.0]]);
    /// let (_y, saved) = bn.forward(&x)?;
    ///
    /// // Of the penalty ‖dx‖²/2 the cotangent of dx is dx itself.
    /// let dx = bn.backward(&saved, &x, &dy)?.dx;
    /// let cotangents = Cotangents { dx: Some(dx.view()), ..Cotangents::default() };
    /// let penalty = bn.double_backward(&saved, &x, &dy, &cotangents)?;
    /// // dx is linear in γ = 1: the derivative of ‖dx‖²/2 is ‖dx‖².
    /// assert!((penalty.weight[0] - (&dx * &dx).sum()).abs() < 1e-15);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn double_backward<D: Dimension>(
        &self,
        saved: &Saved<T>,
        x: &ArrayRef<T, D>,
        dy: &ArrayRef<T, D>,
        cotangents: &Cotangents<'_, T, D>,
    ) -> Result<DoubleGradients<T, D>, Error> {
        let sizes = self.sizes(x)?;
        let of_v = cotangents.dx.as_ref();
        let others = [("dy", Some(dy.shape())), ("cotangents.dx", of_v.map(ArrayView::shape))];
        for (what, got) in others.into_iter().filter_map(|(what, got)| Some((what, got?))) {
            if x.shape() != got {
                return Err(Error::Dims { what, expected: x.shape().to_vec(), got: got.to_vec() });
            }
        }
        self.check_saved(saved, saved.mode)?;
        saved.check_second()?;
        saved.check_no_part()?;
        if matches!(saved.sizes, Sizes::Array { .. }) && saved.sizes != sizes {
            return Err(Error::SavedShape { what: "x", expected: saved.sizes.clone(), got: sizes });
        }
        let Some(x) = InMemory::of_shape(x.view().into_dyn(), self.config.layout, saved.shape) else {
            return Err(Error::SavedShape { what: "x", expected: saved.sizes.clone(), got: sizes });
        };
        let [w, z] = [("cotangents.dweight", &cotangents.dweight), ("cotangents.dbias", &cotangents.dbias)]
            .map(|(what, of)| {
                let of = of.as_ref().map(|of| of.iter().copied().collect::<Vec<_>>());
                of.map_or(Ok(Vec::new()), |of| check_len(what, self.features, of.len()).map(|()| of))
            });
        let ((w, z), (weight, _)) = ((w?, z?), self.params()?);
        let (dy, v) = (x.like(dy.view().into_dyn()), of_v.map(|v| x.like(v.view().into_dyn())));
        let (mut d_dy, mut d_x) = (x.result(), x.result());
        let learned = if self.config.learned()[0] { self.features } else { 0 };
        let mut d_weight = vec![T::Compute::default(); learned];
        let step = driver::DoubleBackward {
            shape: saved.shape,
            x: x.strips(),
            dy: dy.strips(),
            v: v.as_ref().map(InMemory::strips),
            w: &w,
            z: &z,
            weight: weight.unwrap_or_default(),
            d_dy: Some(d_dy.strips_mut()),
            d_x: Some(d_x.strips_mut()),
            d_weight: &mut d_weight,
            stats: saved.stats.as_ref(),
            from_batch: saved.from_batch,
            eps: saved.eps,
            count: saved.count,
            moments: None,
            given: None,
            given_first: None,
        };
        driver::double_backward(&self.backend, step, &mut Workspace::default());
        Ok(DoubleGradients { dy: d_dy.into_array(), x: d_x.into_array(), weight: d_weight.into() })
    }
}

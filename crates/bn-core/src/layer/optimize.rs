//! The parameters beside their gradients, as an optimizer takes them.

use super::error::check_len;
use super::{BatchNorm, Error, Gradients, Grads};
use crate::kernel::Backend;
use crate::num::{Element, Real};
use ndarray::{ArrayView1, Dimension};
use std::fmt;

/// The gradients of γ and β to read: of [`Gradients`], of [`Grads`], or of the slices themselves, dγ before dβ.
#[derive(Clone, Copy, Debug)]
pub struct ParameterGradients<'a, R> {
    dweight: ArrayView1<'a, R>,
    dbias: ArrayView1<'a, R>,
}

impl<'a, T: Element, D: Dimension> From<&'a Gradients<T, D>> for ParameterGradients<'a, T::Compute> {
    fn from(Gradients { dweight, dbias, .. }: &'a Gradients<T, D>) -> Self {
        Self { dweight: dweight.view(), dbias: dbias.view() }
    }
}

impl<'a, T: Element> From<&'a Grads<'_, T>> for ParameterGradients<'a, T::Compute> {
    fn from(Grads { dweight, dbias, .. }: &'a Grads<'_, T>) -> Self {
        Self { dweight: (&**dweight).into(), dbias: (&**dbias).into() }
    }
}

impl<'a, R> From<[&'a [R]; 2]> for ParameterGradients<'a, R> {
    fn from([dweight, dbias]: [&'a [R]; 2]) -> Self {
        Self { dweight: dweight.into(), dbias: dbias.into() }
    }
}

/// A parameter and its gradient, both of length C.
type Pair<'a, R> = (&'a mut [R], &'a [R]);

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// The parameters with their gradients, as an optimizer takes them: (γ, dγ) and (β, dβ), each of length C, as far as the
    /// layer [has](crate::Config::affine) them and they are not [frozen](crate::Frozen). `gradients` are what a backward gave,
    /// `&Gradients` or `&Grads`, or `[&dweight[..], &dbias[..]]`.
    ///
    /// # Errors
    /// [`Error::Length`] where a gradient is longer or shorter than its parameter, [`Error::Strided`] where one of them was
    /// replaced by a strided array.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let x = array![[1.0], [3.0]];
    /// let (y, saved) = bn.forward(&x)?;
    /// let gradients = bn.backward(&saved, &x, &(&y + 1.0))?;
    /// for (parameter, gradient) in bn.parameters_with(&gradients)? {
    ///     parameter.iter_mut().zip(gradient).for_each(|(p, g)| *p -= 0.1 * g);
    /// }
    /// assert_eq!(bn.bias, array![-0.2]); // dβ = Σdy = 2
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn parameters_with<'a>(
        &'a mut self,
        gradients: impl Into<ParameterGradients<'a, T::Compute>>,
    ) -> Result<impl Iterator<Item = Pair<'a, T::Compute>> + fmt::Debug, Error> {
        let ParameterGradients { dweight, dbias } = gradients.into();
        let [scale, shift] = self.config.learned();
        let pairs = if self.config.frozen.parameters() {
            // Whatever was computed before they were frozen.
            [None, None]
        } else {
            let weight = pair(["weight", "dweight"], self.weight.as_slice_mut(), dweight)?;
            let bias = pair(["bias", "dbias"], self.bias.as_slice_mut(), dbias)?;
            [scale.then_some(weight), shift.then_some(bias)]
        };
        Ok(pairs.into_iter().flatten())
    }
}

fn pair<'a, R: Real>(
    [what, of]: [&'static str; 2],
    parameter: Option<&'a mut [R]>,
    gradient: ArrayView1<'a, R>,
) -> Result<Pair<'a, R>, Error> {
    let parameter = parameter.ok_or(Error::Strided { what })?;
    let gradient = gradient.to_slice().ok_or(Error::Strided { what: of })?;
    check_len(of, parameter.len(), gradient.len())?;
    Ok((parameter, gradient))
}

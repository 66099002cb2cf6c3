//! What a forward does beside normalizing, and what of it a backward is handed again.

use super::activation::Activation;
use super::error::Error;
use super::renorm::Renorm;

/// The options of a forward beside those of its layer. They combine; `Saved` remembers them, so that a backward does what its
/// forward did.
///
/// `X` is a tensor of x's dimensions: an `ArrayView` for the array methods, a `&[T]` for slices. `M` is x without its feature
/// axis: an `ArrayView` of `bool`, or a `&[bool]` of N·(positions) values, row-major.
///
/// ```
/// use batchnorm::{Activation, BatchNorm, Kept, Options};
/// use ndarray::array;
///
/// let mut bn = BatchNorm::<f32>::new(1)?;
/// let (x, skip) = (array![[1.0], [3.0], [7.0]], array![[0.5], [-9.0], [0.5]]);
/// let valid = array![true, true, false]; // per sample and position: the third does not exist
/// let options = Options::default().residual(skip.view()).activation(Activation::Relu).mask(valid.view());
/// let (y, saved) = bn.forward_with(&x, options)?;
/// assert_eq!((saved.mean(), y[[2, 0]]), (&[2.0][..], 0.0));
///
/// let kept = Kept::default().y(y.view()).mask(valid.view());
/// let g = bn.backward_with(&saved, &x, &array![[1.0], [1.0], [1.0]], kept)?;
/// assert_eq!(g.dresidual, Some(array![[0.0], [0.0], [0.0]])); // −1 + 0.5 and 1 − 9 are below 0
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options<X, M> {
    /// What comes after. Default: nothing.
    pub activation: Activation,
    /// What is added before the activation.
    pub residual: Option<X>,
    /// Which samples and positions exist: `true` for valid. The others enter no statistic and no gradient, y is 0 there, and x
    /// may hold anything. Default: all.
    pub mask: Option<M>,
    /// Batch renormalization: x̂·r + d takes the place of x̂. It needs running statistics, and has no effect in evaluation and where
    /// the statistics are [frozen](crate::Frozen). Default: none.
    pub renorm: Option<Renorm>,
    /// Ghost batches: statistics over virtual batches of so many samples, in their order. The last one takes the remainder as well:
    /// 10 samples by 3 are 3, 3 and 4. A sample is an entry of the first axis; for slices an index of
    /// [`Shape::outer`](crate::Shape::outer), which in channels last is a position. Each virtual batch is normalized by its own
    /// statistics. The running ones take the mean and variance of the whole batch, once. Not with a mask. No effect in evaluation and
    /// where the statistics are [frozen](crate::Frozen). Default: the whole batch at once.
    pub ghost: Option<usize>,
}

impl<X, M> Default for Options<X, M> {
    fn default() -> Self {
        Self { activation: Activation::default(), residual: None, mask: None, renorm: None, ghost: None }
    }
}

impl<X, M> Options<X, M> {
    /// With this [`activation`](Self#structfield.activation).
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// With this [`residual`](Self#structfield.residual).
    #[must_use]
    pub fn residual(self, residual: X) -> Self {
        Self { residual: Some(residual), ..self }
    }

    /// With this [`mask`](Self#structfield.mask).
    #[must_use]
    pub fn mask(self, mask: M) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// With this [`renorm`](Self#structfield.renorm).
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Options, Renorm};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
    /// let options = Options::default().renorm(Renorm { r_max: 3.0, d_max: 5.0 });
    /// let (y, _saved) = bn.forward_with(&array![[1.0], [3.0]], options)?;
    /// assert!((y[[1, 0]] - 3.0).abs() < 1e-4); // r = 1 and d = 2: as an evaluation
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn renorm(self, renorm: Renorm) -> Self {
        Self { renorm: Some(renorm), ..self }
    }

    /// With [`ghost`](Self#structfield.ghost) batches of so many samples.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Options};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let x = array![[1.0], [3.0], [10.0], [12.0]];
    /// let (y, saved) = bn.forward_with(&x, Options::default().ghost(2))?;
    /// assert_eq!(y[[1, 0]], y[[3, 0]]); // (3−2)/1 and (12−11)/1
    /// assert_eq!(saved.mean(), [6.5]); // the running statistics take the whole batch's
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn ghost(self, samples: usize) -> Self {
        Self { ghost: Some(samples), ..self }
    }

    /// The same with other tensors.
    pub(super) fn with<Y, N>(
        self,
        tensors: impl FnOnce(X) -> Result<Y, Error>,
        mask: impl FnOnce(M) -> Result<N, Error>,
    ) -> Result<Options<Y, N>, Error> {
        let Self { activation, residual, mask: own, renorm, ghost } = self;
        Ok(Options {
            activation,
            residual: residual.map(tensors).transpose()?,
            mask: own.map(mask).transpose()?,
            renorm,
            ghost,
        })
    }

    pub(super) fn by_ref(&self) -> Options<&X, &M> {
        let &Self { activation, ref residual, ref mask, renorm, ghost } = self;
        Options { activation, residual: residual.as_ref(), mask: mask.as_ref(), renorm, ghost }
    }

    /// Whether the forward of a part of a batch has them.
    pub(super) fn check_part(&self) -> Result<(), Error> {
        match self.ghost {
            None => Ok(()),
            Some(samples) => Err(Error::Options {
                expected: "no ghost batches in a part of a batch".into(),
                got: format!("ones of {samples} samples"),
            }),
        }
    }

    pub(super) fn done(&self) -> Done {
        Done { activation: self.activation, residual: self.residual.is_some(), mask: self.mask.is_some() }
    }
}

/// What a caller has kept of a forward with [`Options`], for its backward. `X` and `M` are as there.
///
/// An activation's gate is told by `y`, or computed again from x, γ, β and, if one was added, the
/// `residual`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Kept<X, M> {
    /// The forward's output.
    pub y: Option<X>,
    /// What the forward added; read where there is no `y`.
    pub residual: Option<X>,
    /// The forward's mask; needed where it had one.
    pub mask: Option<M>,
}

impl<X, M> Default for Kept<X, M> {
    fn default() -> Self {
        Self { y: None, residual: None, mask: None }
    }
}

impl<X, M> Kept<X, M> {
    /// With the forward's output.
    #[must_use]
    pub fn y(self, y: X) -> Self {
        Self { y: Some(y), ..self }
    }

    /// With what the forward added.
    #[must_use]
    pub fn residual(self, residual: X) -> Self {
        Self { residual: Some(residual), ..self }
    }

    /// With the forward's mask.
    #[must_use]
    pub fn mask(self, mask: M) -> Self {
        Self { mask: Some(mask), ..self }
    }

    pub(super) fn by_ref(&self) -> Kept<&X, &M> {
        Kept { y: self.y.as_ref(), residual: self.residual.as_ref(), mask: self.mask.as_ref() }
    }

    /// The same with other tensors, each by its name.
    pub(super) fn with<Y, N>(
        self,
        mut tensors: impl FnMut(&'static str, X) -> Result<Y, Error>,
        mask: impl FnOnce(M) -> Result<N, Error>,
    ) -> Result<Kept<Y, N>, Error> {
        Ok(Kept {
            y: self.y.map(|y| tensors("y", y)).transpose()?,
            residual: self.residual.map(|residual| tensors("the residual", residual)).transpose()?,
            mask: self.mask.map(mask).transpose()?,
        })
    }
}

/// What of the options a forward leaves in its state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Done {
    pub(super) activation: Activation,
    pub(super) residual: bool,
    pub(super) mask: bool,
}

impl Done {
    /// Whether a backward has what it needs of it.
    pub(super) fn check<X, M>(&self, kept: &Kept<X, M>) -> Result<(), Error> {
        let wrong =
            |expected: &str, got: &str| Err(Error::Options { expected: expected.into(), got: got.into() });
        if self.activation != Activation::Identity
            && self.residual
            && kept.y.is_none()
            && kept.residual.is_none()
        {
            return wrong("y or the residual, as the forward had an activation and a residual", "neither");
        }
        // Its gate would be another one.
        if kept.residual.is_some() && !self.residual {
            return wrong("no residual, as the forward had none", "one");
        }
        match (self.mask, kept.mask.is_some()) {
            (true, false) => wrong("the mask of the forward", "none"),
            (false, true) => wrong("no mask, as the forward had none", "one"),
            _ => Ok(()),
        }
    }
}

//! What of a layer training leaves as it is.

/// What of a layer training leaves as it is, whichever calls a training loop makes.
///
/// Frozen statistics: a training forward takes the running statistics and commits nothing, and its backward is evaluation's,
/// dx = γ·invstd·dy. Frozen parameters: their gradients are of length 0 and are not computed, and
/// [`parameters_with`](crate::BatchNorm::parameters_with) leaves them out.
///
/// PyTorch has no such state: a later `train()` undoes an `eval()`. Keras' `trainable = False` is [`All`](Self::All).
///
/// ```
/// use batchnorm::{BatchNorm, Frozen};
/// use ndarray::array;
///
/// let mut bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
/// bn.set_frozen(Frozen::All)?;
/// let x = array![[1.0], [3.0]];
/// let (y, saved) = bn.forward(&x)?; // as any training loop calls it
/// assert_eq!(y, bn.forward_eval(&x)?);
/// let g = bn.backward(&saved, &x, &array![[1.0], [1.0]])?;
/// assert!(g.dx.iter().all(|dx| *dx > 0.99)); // reaches the layers before
/// assert_eq!((g.dweight.len(), g.dbias.len()), (0, 0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Frozen {
    /// Statistics and parameters learn.
    #[default]
    Nothing,
    /// The running statistics; γ and β learn.
    Statistics,
    /// γ and β; the running statistics go on.
    Parameters,
    /// Both.
    All,
}

impl Frozen {
    /// Whether training takes the running statistics and leaves them.
    ///
    /// ```
    /// use batchnorm::Frozen;
    ///
    /// assert!(Frozen::All.statistics() && !Frozen::Parameters.statistics());
    /// ```
    #[must_use]
    pub fn statistics(self) -> bool {
        matches!(self, Self::Statistics | Self::All)
    }

    /// Whether γ and β have no gradients.
    ///
    /// ```
    /// use batchnorm::Frozen;
    ///
    /// assert!(Frozen::All.parameters() && !Frozen::Statistics.parameters());
    /// ```
    #[must_use]
    pub fn parameters(self) -> bool {
        matches!(self, Self::Parameters | Self::All)
    }
}

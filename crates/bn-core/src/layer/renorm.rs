//! Batch renormalization: how far statistics of a batch may be from the running ones.

use super::error::Error;

/// RMAX and DMAX of a step, and the running mean and variance that its batch's are compared with.
pub(super) type Against<'a, R> = ([f64; 2], [&'a [R]; 2]);

/// The limits of batch renormalization (Ioffe 2017, <https://arxiv.org/abs/1702.03275>, algorithm 1), in training:
///
/// ```text
/// r = clip(σ/σᵣ, 1/r_max, r_max)    d = clip((μ−μᵣ)/σᵣ, −d_max, d_max)    y = γ·(x̂·r + d) + β
/// dγ = r·Σdy·x̂ + d·Σdy              dx = (γ·r·invstd/n)·(n·dy − Σdy − x̂·Σdy·x̂)
/// ```
///
/// with σ = √(σ² + eps) of the batch, and σᵣ = √(running_var + eps) and μᵣ of the running statistics before the step. r and d are
/// constants to the gradient. Within the limits y is what an evaluation with the running statistics would give.
///
/// A training loop gives every step its own. It begins with `r_max` 1 and `d_max` 0, which are plain batch normalization, and widens
/// them once the running statistics are near: the paper goes to 3 and 5.
///
/// ```
/// use batchnorm::{BatchNorm, Error, Options, Renorm};
/// use ndarray::array;
///
/// let mut bn = BatchNorm::<f32>::new(1)?;
/// let x = array![[1.0], [3.0]]; // (N, C)
/// let plain = bn.forward_uncommitted(&x)?.0;
/// let at = |r_max, d_max| Options::default().renorm(Renorm { r_max, d_max });
/// assert_eq!(bn.forward_uncommitted_with(&x, at(1.0, 0.0))?.0, plain);
///
/// let (y, _saved) = bn.forward_with(&x, at(3.0, 0.5))?; // σ/σᵣ = 1, and 2 is clipped to 0.5
/// assert!((y[[1, 0]] - 1.5).abs() < 1e-4);
/// assert!(matches!(bn.forward_with(&x, at(0.5, 0.0)), Err(Error::Options { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renorm {
    /// RMAX: finite, 1 or more.
    pub r_max: f64,
    /// DMAX: finite, 0 or more.
    pub d_max: f64,
}

impl Renorm {
    /// Whether both are limits.
    pub(super) fn check(self) -> Result<(), Error> {
        let Self { r_max, d_max } = self;
        if !(r_max.is_finite() && r_max >= 1.0) {
            return Err(wrong("r_max finite and 1 or more", r_max.to_string()));
        }
        if !(d_max.is_finite() && d_max >= 0.0) {
            return Err(wrong("d_max finite and 0 or more", d_max.to_string()));
        }
        Ok(())
    }
}

pub(super) fn wrong(expected: &str, got: String) -> Error {
    Error::Options { expected: expected.into(), got }
}

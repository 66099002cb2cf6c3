//! What comes after normalize, within the same sweep.

use super::error::Error;
use crate::driver::Corners;
use crate::num::{Element, Real};

/// An activation behind a layer, computed in the sweep that writes y: y = f(γ·x̂ + β), or f(γ·x̂ + β + residual).
///
/// NaN passes. At a corner itself the gradient is that of the side that is cut off, as PyTorch has it: 0 at 0 for ReLU.
///
/// ```
/// use batchnorm::{Activation, BatchNorm, Options};
/// use ndarray::array;
///
/// let mut bn = BatchNorm::<f32>::new(1)?;
/// let x = array![[1.0], [3.0], [5.0]];
/// let (y, saved) = bn.forward_with(&x, Options::default().activation(Activation::Relu))?;
/// assert!(y[[0, 0]] == 0.0 && y[[2, 0]] > 1.2);
/// let g = bn.backward(&saved, &x, &array![[1.0], [1.0], [1.0]])?;
/// assert_eq!(g.dbias, array![1.0]); // what passes the gate: y > 0 for one of the three values
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Activation {
    /// None: f(v) = v.
    #[default]
    Identity,
    /// f(v) = max(v, 0).
    Relu,
    /// f(v) = min(max(v, 0), 6).
    Relu6,
    /// f(v) = v where v > 0, else v times this slope, which is finite in the type of arithmetic and not below 0.
    LeakyRelu(f64),
}

impl Activation {
    /// Whether tensors of T may have it.
    pub(super) fn check<T: Element>(self) -> Result<(), Error> {
        let is_finite = |v: f64| T::Compute::from_f64(v).to_f64().is_finite();
        match self {
            Self::LeakyRelu(got) if !(is_finite(got) && got >= 0.0) => Err(Error::Slope { got }),
            _ => Ok(()),
        }
    }

    /// Its corners; `None` for none.
    pub(super) fn corners(self) -> Option<Corners> {
        match self {
            Self::Identity => None,
            Self::Relu => Some(Corners { slope: 0.0, high: f64::NAN }),
            Self::Relu6 => Some(Corners { slope: 0.0, high: 6.0 }),
            Self::LeakyRelu(slope) => Some(Corners { slope, high: f64::NAN }),
        }
    }
}

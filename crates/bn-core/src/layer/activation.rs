//! What comes after normalize, within the same sweep.

use super::error::Error;
use crate::kernel::Clamp;
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

    /// Its corners for tensors of T; `None` for none.
    pub(super) fn clamp<T: Element>(self) -> Option<Clamp<T::Compute>> {
        let number = T::Compute::from_f64;
        let (slope, high) = match self {
            Self::Identity => return None,
            Self::Relu => (0.0, None),
            Self::Relu6 => (0.0, Some(6.0)),
            Self::LeakyRelu(slope) => (slope, None),
        };
        // Half of the least number rounds to 0, and what is half a step below 6 to 6: the even one of two.
        let (low, step) = match T::NAME {
            "f16" => (2f64.powi(-25), 2f64.powi(-9)),
            "bf16" => (2f64.powi(-134), 2f64.powi(-6)),
            _ => (0.0, 0.0),
        };
        let high = high.map_or(f64::NAN, |high: f64| high - step);
        Some(Clamp { low: number(low), slope: number(slope), high: number(high) })
    }
}

#[cfg(all(test, feature = "half"))]
mod tests {
    use super::*;
    use half::{bf16, f16};

    /// Neighbours in f32 of where the rounding goes over to a corner.
    fn corners_of<T: Element<Compute = f32>>() {
        let Clamp { low, high, .. } = Activation::Relu6.clamp::<T>().unwrap();
        let rounded = |v: f32| T::from_compute(v).to_compute();
        assert_eq!((rounded(low), rounded(high)), (0.0, 6.0));
        assert!(rounded(low.next_up()) > 0.0 && rounded(high.next_down()) < 6.0);
    }

    #[test]
    fn bounds_lie_where_the_rounding_goes_over_to_a_corner() {
        corners_of::<f16>();
        corners_of::<bf16>();
        let exact = Clamp { low: 0.0, slope: 0.0, high: 6.0 };
        assert_eq!(Activation::Relu6.clamp::<f32>(), Some(exact));
    }
}

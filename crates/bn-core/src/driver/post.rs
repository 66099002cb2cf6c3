//! What comes after normalize, as the kernels know it.

use super::step::split_columns;
use crate::kernel::{Clamp, Post};
use crate::num::{Element, Real};
use crate::tensor::Strips;

/// The corners of an activation: v·slope up to 0, `high` from there on, NaN for no such corner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Corners {
    pub(crate) slope: f64,
    pub(crate) high: f64,
}

/// An activation for tensors of T.
pub(crate) fn clamp<T: Element>(Corners { slope, high }: Corners) -> Clamp<T::Compute> {
    let number = T::Compute::from_f64;
    // Half of the least number rounds to 0, and what is half a step below 6 to 6: the even one of two.
    let (low, step) = match T::NAME {
        "f16" => (2f64.powi(-25), 2f64.powi(-9)),
        "bf16" => (2f64.powi(-134), 2f64.powi(-6)),
        _ => (0.0, 0.0),
    };
    Clamp { low: number(low), slope: number(slope), high: number(high - step) }
}

/// What is added and what activation follows.
pub(crate) fn post<T: Element>(plus: Option<Strips<'_, T>>, corners: Option<Corners>) -> Post<'_, T> {
    match (plus, corners.map(clamp::<T>)) {
        (Some(plus), clamp) => Post::AddClamp(plus, clamp.unwrap_or_else(Clamp::none)),
        (None, Some(clamp)) => Post::Clamp(clamp),
        (None, None) => Post::Pass,
    }
}

/// What is added, before column `col` and from it on.
pub(super) fn split_post<T: Element>(post: Post<'_, T>, col: usize) -> (Post<'_, T>, Post<'_, T>) {
    match post {
        Post::Pass => (Post::Pass, Post::Pass),
        Post::Clamp(clamp) => (Post::Clamp(clamp), Post::Clamp(clamp)),
        Post::AddClamp(plus, clamp) => {
            let (plus, plus1) = split_columns(plus, col);
            (Post::AddClamp(plus, clamp), Post::AddClamp(plus1, clamp))
        }
    }
}

#[cfg(all(test, feature = "half"))]
mod tests {
    use super::*;
    use half::{bf16, f16};

    const RELU6: Corners = Corners { slope: 0.0, high: 6.0 };

    /// Neighbours in f32 of where the rounding goes over to a corner.
    fn corners_of<T: Element<Compute = f32>>() {
        let Clamp { low, high, .. } = clamp::<T>(RELU6);
        let rounded = |v: f32| T::from_compute(v).to_compute();
        assert_eq!((rounded(low), rounded(high)), (0.0, 6.0));
        assert!(rounded(low.next_up()) > 0.0 && rounded(high.next_down()) < 6.0);
    }

    #[test]
    fn bounds_lie_where_the_rounding_goes_over_to_a_corner() {
        corners_of::<f16>();
        corners_of::<bf16>();
        assert_eq!(clamp::<f32>(RELU6), Clamp { low: 0.0, slope: 0.0, high: 6.0 });
    }
}

//! Activations and their gates, once for all vector kernels. With RELU an activation is max(v, 0), which takes half of the
//! operations.

use super::linear::{Formula, GradInput, Normalize, Scale};
use super::vector::Vector;
use crate::kernel::Clamp;
use crate::num::Real;

/// The corners of an activation in every place of a vector.
#[derive(Clone, Copy)]
struct Corners<V> {
    low: V,
    slope: V,
    high: V,
    zero: V,
    /// Whether the slope is 0.
    flat: bool,
}

impl<V: Copy> Corners<V> {
    #[inline(always)]
    fn new<R: Real>(clamp: Clamp<R>) -> Self
    where
        V: Vector<R>,
    {
        let zero = R::default();
        Self {
            low: V::splat(clamp.low),
            slope: V::splat(clamp.slope),
            high: V::splat(clamp.high),
            zero: V::splat(zero),
            flat: clamp.slope == zero,
        }
    }

    /// What of `v` is left on the lower side.
    #[inline(always)]
    fn below<R: Real>(&self, v: V) -> V
    where
        V: Vector<R>,
    {
        if self.flat { self.zero } else { v * self.slope }
    }

    #[inline(always)]
    fn clamp<R: Real, const RELU: bool>(&self, v: V) -> V
    where
        V: Vector<R>,
    {
        if RELU {
            return v.up_to(self.low, self.zero, v);
        }
        v.up_to(self.low, self.below(v), self.high.up_to(v, self.high, v))
    }

    #[inline(always)]
    fn gate<R: Real, const RELU: bool>(&self, y: V, dy: V) -> V
    where
        V: Vector<R>,
    {
        if RELU {
            return y.up_to(self.low, self.zero, dy);
        }
        y.up_to(self.low, self.below(dy), self.high.up_to(y, self.zero, dy))
    }
}

/// y = clamp((x − k)·a + b), or of two inputs clamp((x − k)·a + (b + r)).
#[derive(Clone, Copy)]
pub(super) struct Activated<R, const RELU: bool>(pub(super) Clamp<R>);

impl<R: Real, const RELU: bool> Formula<R, 1, 3> for Activated<R, RELU> {
    #[inline(always)]
    fn of<V: Vector<R>>(self, x: [V; 1], coefs: [V; 3]) -> V {
        Corners::new(self.0).clamp::<R, RELU>(Normalize.of(x, coefs))
    }
}

impl<R: Real, const RELU: bool> Formula<R, 2, 3> for Activated<R, RELU> {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [x, plus]: [V; 2], [k, a, b]: [V; 3]) -> V {
        Corners::new(self.0).clamp::<R, RELU>(Normalize.of([x], [k, a, b + plus]))
    }
}

/// What of dy passes the gate at y; without coefficients that count.
#[derive(Clone, Copy)]
pub(super) struct Gated<R>(pub(super) Clamp<R>);

impl<R: Real> Formula<R, 2, 1> for Gated<R> {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [dy, y]: [V; 2], _: [V; 1]) -> V {
        Corners::new(self.0).gate::<R, false>(y, dy)
    }
}

/// dx of the dy that passes at (x − k)·a + b: through the batch's statistics, from k, a, c, d, m and b; where they are constants,
/// from k, a and b.
#[derive(Clone, Copy)]
pub(super) struct Through<R, const RELU: bool>(pub(super) Clamp<R>);

impl<R: Real, const RELU: bool> Formula<R, 2, 6> for Through<R, RELU> {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [x, dy]: [V; 2], [k, a, c, d, m, b]: [V; 6]) -> V {
        let dy = Corners::new(self.0).gate::<R, RELU>(Normalize.of([x], [k, a, b]), dy);
        GradInput.of([x, dy], [k, a, c, d, m])
    }
}

impl<R: Real, const RELU: bool> Formula<R, 2, 3> for Through<R, RELU> {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [x, dy]: [V; 2], [k, a, b]: [V; 3]) -> V {
        let dy = Corners::new(self.0).gate::<R, RELU>(Normalize.of([x], [k, a, b]), dy);
        Scale.of([dy], [a])
    }
}

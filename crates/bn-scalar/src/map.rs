//! What one element is mapped to. Every operation is rounded on its own, in the order written.

use bn_core::Real;
use bn_core::kernel::{Clamp, Post};

/// y = (x − k)·a + b, or (x − k)·a + (b + r), and what `post` makes of it.
#[inline(always)]
pub(crate) fn normalize<T: Real>(x: T, r: Option<T>, [k, a, b]: [T; 3], post: Post<'_, T>) -> T {
    let v = (x - k) * a + r.map_or(b, |r| b + r);
    match post {
        Post::Pass => v,
        Post::Clamp(corners) | Post::AddClamp(_, corners) => clamp(v, corners),
    }
}

/// What is left of `v` on the lower side of an activation.
#[inline(always)]
fn below<T: Real>(v: T, slope: T) -> T {
    if slope == T::default() { slope } else { v * slope }
}

/// An activation.
#[inline(always)]
fn clamp<T: Real>(v: T, Clamp { low, slope, high }: Clamp<T>) -> T {
    if v <= low {
        below(v, slope)
    } else if v >= high {
        high
    } else {
        v
    }
}

/// What of dy passes its gate at y.
#[inline(always)]
pub(crate) fn gated<T: Real>(y: T, dy: T, Clamp { low, slope, high }: Clamp<T>) -> T {
    if y <= low {
        below(dy, slope)
    } else if y >= high {
        T::default()
    } else {
        dy
    }
}

/// dx = ((dy − m)·a + (x − k)·c) + d.
#[inline(always)]
pub(crate) fn grad_input<T: Real>(x: T, dy: T, [k, a, c, d, m]: [T; 5]) -> T {
    ((dy - m) * a + (x - k) * c) + d
}

/// dx = dy·a + 0.
#[inline(always)]
pub(crate) fn scale<T: Real>(dy: T, a: T) -> T {
    dy * a + T::default()
}

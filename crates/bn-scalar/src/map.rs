//! What one element is mapped to. Every operation is rounded on its own, in the order written.

use bn_core::Real;
use bn_core::kernel::{Affine, Clamp, Gate, Post};

/// y = (x − k)·a + b, or (x − k)·a + (b + r), and what `post` makes of it.
#[inline(always)]
pub(crate) fn normalize<T: Real>(x: T, r: Option<T>, [k, a, b]: [T; 3], post: Post<'_, T>) -> T {
    let v = (x - k) * a + r.map_or(b, |r| b + r);
    match post {
        Post::Pass => v,
        Post::Clamp(clamp) | Post::AddClamp(_, clamp) => clamp.of(v),
    }
}

/// What of dy passes a gate at x.
#[inline(always)]
pub(crate) fn passed<T: Real>(x: T, dy: T, [k, a, b]: [T; 3], clamp: Clamp<T>) -> T {
    clamp.gate((x - k) * a + b, dy)
}

/// The gate of feature `f`, if there is one.
#[inline(always)]
pub(crate) fn gate_of<T: Real>(gate: Option<Gate<'_, T>>, f: usize) -> impl Fn(T, T) -> T + use<T> {
    let of = gate.map(|Gate { affine: Affine { k, a, b }, clamp }| ([k[f], a[f], b[f]], clamp));
    move |x, dy| of.map_or(dy, |(coefs, clamp)| passed(x, dy, coefs, clamp))
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

/// (((v − l)·a + (dy − m)·b) + (x − k)·c) + d.
#[inline(always)]
pub(crate) fn second<T: Real>([x, dy, v]: [T; 3], [k, a, b, c, d, m, l]: [T; 7]) -> T {
    (((v - l) * a + (dy - m) * b) + (x - k) * c) + d
}

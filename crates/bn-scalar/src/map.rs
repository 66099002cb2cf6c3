//! What one element is mapped to. Every operation is rounded on its own, in the order written.

use bn_core::Real;
use bn_core::kernel::Post;

/// y = (x − k)·a + b, and what `post` makes of it.
#[inline(always)]
pub(crate) fn normalize<T: Real>(x: T, [k, a, b]: [T; 3], post: Post) -> T {
    let y = (x - k) * a + b;
    match post {
        Post::Pass => y,
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

/// (((v − l)·a + (dy − m)·b) + (x − k)·c) + d.
#[inline(always)]
pub(crate) fn second<T: Real>([x, dy, v]: [T; 3], [k, a, b, c, d, m, l]: [T; 7]) -> T {
    (((v - l) * a + (dy - m) * b) + (x - k) * c) + d
}

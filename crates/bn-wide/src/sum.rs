//! Virtual lanes of a sum in registers: eight to a vector, and single ones for the elements behind the last whole vector.

use crate::vector::{Item, Register, Simd};
use bn_core::kernel::{Acc, Plane};
use bn_core::walk::{Sums, compensated};
use wide::f64x8;

/// Eight lanes.
pub(crate) type Eight = Simd<f64x8>;

/// Vectors of eight lanes that are summed at a time: the build's target has registers for both sums of so many, and for what is
/// added to them.
pub(crate) const VECTORS: usize = if cfg!(target_feature = "avx512f") {
    4
} else if cfg!(target_feature = "avx") {
    2
} else {
    1
};

/// The lanes from `start` on.
#[inline(always)]
pub(crate) fn load<T: Item, V: Register>(acc: &Acc<'_>, start: usize) -> Sums<V> {
    Sums::load::<T>(acc, V::load, start)
}

/// Puts them back.
#[inline(always)]
pub(crate) fn store<T: Item, V: Register>(sums: &Sums<V>, acc: &mut Acc<'_>, start: usize) {
    let put = |plane: &mut Plane<'_>, (hi, lo): (V, V)| {
        hi.store(&mut plane.hi[start..]);
        if compensated::<T>() {
            lo.store(&mut plane.lo[start..]);
        }
    };
    put(&mut acc.first, sums.first);
    put(&mut acc.second, sums.second);
}

/// G vectors of lanes, one behind the other.
#[inline(always)]
pub(crate) fn load_all<T: Item, V: Register, const G: usize>(acc: &Acc<'_>, start: usize) -> [Sums<V>; G] {
    let zero = (V::from(0.0), V::from(0.0));
    // Not `from_fn`, which is not inlined everywhere.
    let mut all = [Sums { first: zero, second: zero }; G];
    for g in 0..G {
        all[g] = load::<T, V>(acc, start + 8 * g);
    }
    all
}

/// Puts those of [`load_all`] back.
#[inline(always)]
pub(crate) fn store_all<T: Item, V: Register, const G: usize>(
    all: &[Sums<V>; G],
    acc: &mut Acc<'_>,
    start: usize,
) {
    for (g, sums) in all.iter().enumerate() {
        store::<T, V>(sums, acc, start + 8 * g);
    }
}

/// What elements at `at` of N inputs add to their lanes: of one input, x, its moments; of two, x and dy, the sums of the
/// backward. With FUSED a product and its sum may be one operation; of a number by itself that would be a call of a library,
/// where the machine has none.
#[inline(always)]
pub(crate) fn add<T: Item, V: Register, const FUSED: bool, const N: usize>(
    sums: &mut Sums<V>,
    inputs: [&[T]; N],
    at: usize,
) {
    let x = V::widen(&inputs[0][at..]);
    if N == 1 {
        sums.add_moments::<T, FUSED>(x);
    } else {
        sums.add_grads::<T, FUSED>(x, V::widen(&inputs[N - 1][at..]));
    }
}

/// The same around k.
#[inline(always)]
pub(crate) fn add_about<T: Item, V: Register, const N: usize>(
    sums: &mut Sums<V>,
    inputs: [&[T]; N],
    at: usize,
    k: V,
) {
    let x = V::widen(&inputs[0][at..]);
    if N == 1 {
        sums.add_moments_about::<T>(x, k);
    } else {
        sums.add_grads_about::<T>(x, V::widen(&inputs[N - 1][at..]), k);
    }
}

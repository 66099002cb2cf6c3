//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. A strip is a run of `inner` values per feature. Value i goes to lane i mod L, so L independent sums run
//!    at once; the array of lanes is what the compiler turns into vectors.
//! 2. Lanes live in the accumulator between strips: a block's lanes stay in L1, and the strips of a feature may
//!    be far apart.

use crate::sum::Summand;
use bn_core::kernels::{Acc, Affine, GradAffine};
use bn_core::strips::{Strips, StripsMut};

pub(crate) fn moments<T: Summand, const L: usize>(
    inner: usize,
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    mut acc: Acc<'_>,
) {
    for strip in x.iter() {
        for (f, run) in strip.chunks_exact(inner).enumerate() {
            let k = pilot.map_or(T::default(), |pilot| pilot[f]);
            let mut lanes = load::<T, L>(&acc, f * L);
            let (chunks, tail) = run.as_chunks::<L>();
            for chunk in chunks {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane = T::add_moments(*lane, x, k);
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(tail) {
                *lane = T::add_moments(*lane, x, k);
            }
            store::<T, L>(&lanes, &mut acc, f * L);
        }
    }
}

pub(crate) fn grad_sums<T: Summand, const L: usize>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: Option<&[T]>,
    mut acc: Acc<'_>,
) {
    for (x, dy) in x.iter().zip(dy.iter()) {
        for (f, (x, dy)) in x.chunks_exact(inner).zip(dy.chunks_exact(inner)).enumerate() {
            let k = pilot.map_or(T::default(), |pilot| pilot[f]);
            let mut lanes = load::<T, L>(&acc, f * L);
            let ((x, x_tail), (dy, dy_tail)) = (x.as_chunks::<L>(), dy.as_chunks::<L>());
            for (x, dy) in x.iter().zip(dy) {
                for (lane, (&x, &dy)) in lanes.iter_mut().zip(x.iter().zip(dy)) {
                    *lane = T::add_grads(*lane, x, dy, k);
                }
            }
            for (lane, (&x, &dy)) in lanes.iter_mut().zip(x_tail.iter().zip(dy_tail)) {
                *lane = T::add_grads(*lane, x, dy, k);
            }
            store::<T, L>(&lanes, &mut acc, f * L);
        }
    }
}

pub(crate) fn normalize<T: Summand>(
    inner: usize,
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
) {
    for (i, x) in x.iter().enumerate() {
        for (f, (x, y)) in x.chunks_exact(inner).zip(y.strip_mut(i).chunks_exact_mut(inner)).enumerate() {
            let (k, a, b) = (k[f], a[f], b[f]);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - k) * a + b;
            }
        }
    }
}

pub(crate) fn grad_input<T: Summand>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
) {
    for (i, (x, dy)) in x.iter().zip(dy.iter()).enumerate() {
        let runs = x.chunks_exact(inner).zip(dy.chunks_exact(inner));
        for (f, ((x, dy), dx)) in runs.zip(dx.strip_mut(i).chunks_exact_mut(inner)).enumerate() {
            let (k, a, c, d) = (k[f], a[f], c[f], d[f]);
            for (dx, (&x, &dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
                *dx = (dy * a + (x - k) * c) + d;
            }
        }
    }
}

type Lane<T> = (<T as Summand>::Sum, <T as Summand>::Sum);

fn load<T: Summand, const L: usize>(acc: &Acc<'_>, start: usize) -> [Lane<T>; L] {
    std::array::from_fn(|l| (T::load(&acc.first, start + l), T::load(&acc.second, start + l)))
}

fn store<T: Summand, const L: usize>(lanes: &[Lane<T>; L], acc: &mut Acc<'_>, start: usize) {
    for (l, &(first, second)) in lanes.iter().enumerate() {
        T::store(first, &mut acc.first, start + l);
        T::store(second, &mut acc.second, start + l);
    }
}

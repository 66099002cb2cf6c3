//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. Every feature has one lane, so a strip's elements are independent of each other and a strip is added to
//!    the accumulator element by element, which the compiler vectorizes.
//! 2. Few features are no concern of this file: the driver then hands over several rows as one strip.

use crate::sum::Summand;
use bn_core::kernels::{Acc, Affine, GradAffine};
use bn_core::strips::{Strips, StripsMut};

pub(crate) fn moments<T: Summand>(x: Strips<'_, T>, pilot: Option<&[T]>, mut acc: Acc<'_>) {
    for strip in x.iter() {
        for (f, &x) in strip.iter().enumerate() {
            let k = pilot.map_or(T::default(), |pilot| pilot[f]);
            let lane = (T::load(&acc.first, f), T::load(&acc.second, f));
            let (first, second) = T::add_moments(lane, x, k);
            T::store(first, &mut acc.first, f);
            T::store(second, &mut acc.second, f);
        }
    }
}

pub(crate) fn grad_sums<T: Summand>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: Option<&[T]>,
    mut acc: Acc<'_>,
) {
    for (x, dy) in x.iter().zip(dy.iter()) {
        for (f, (&x, &dy)) in x.iter().zip(dy).enumerate() {
            let k = pilot.map_or(T::default(), |pilot| pilot[f]);
            let lane = (T::load(&acc.first, f), T::load(&acc.second, f));
            let (first, second) = T::add_grads(lane, x, dy, k);
            T::store(first, &mut acc.first, f);
            T::store(second, &mut acc.second, f);
        }
    }
}

pub(crate) fn normalize<T: Summand>(
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
) {
    for (i, x) in x.iter().enumerate() {
        let coefs = k.iter().zip(a).zip(b);
        for ((y, &x), ((&k, &a), &b)) in y.strip_mut(i).iter_mut().zip(x).zip(coefs) {
            *y = (x - k) * a + b;
        }
    }
}

pub(crate) fn grad_input<T: Summand>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
) {
    for (i, (x, dy)) in x.iter().zip(dy.iter()).enumerate() {
        let coefs = k.iter().zip(a).zip(c.iter().zip(d));
        for ((dx, (&x, &dy)), ((&k, &a), (&c, &d))) in
            dx.strip_mut(i).iter_mut().zip(x.iter().zip(dy)).zip(coefs)
        {
            *dx = (dy * a + (x - k) * c) + d;
        }
    }
}

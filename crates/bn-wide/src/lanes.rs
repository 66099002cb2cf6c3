//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! Eight features at a time go down a group of strips that stays in L1, so that their lanes stay in registers;
//! the features behind the last whole vector go one at a time.

use crate::sum::{Coef, Item, Lanes, Sums, grad_input as map_gradient, normalize as map};
use bn_core::kernels::{Acc, Affine, GradAffine};
use bn_core::strips::{Strips, StripsMut};
use wide::f64x8;

/// The strips of a group.
const GROUP: usize = 16;

pub(crate) fn moments<T: Item>(x: Strips<'_, T>, pilot: Option<&[T]>, acc: &mut Acc<'_>) {
    for group in groups(x) {
        let whole = x.len() / 8 * 8;
        for at in (0..whole).step_by(8) {
            moments_at::<T, f64x8>(group.strips(), at, pilot, acc);
        }
        for at in whole..x.len() {
            moments_at::<T, f64>(group.strips(), at, pilot, acc);
        }
    }
}

#[inline(always)]
fn moments_at<T: Item, V: Lanes>(x: &[&[T]], at: usize, pilot: Option<&[T]>, acc: &mut Acc<'_>) {
    let mut sums = Sums::<V>::load::<T>(acc, at);
    let k = pilot.map_or(V::from(0.0), |pilot| V::widen(&pilot[at..]));
    for strip in x {
        sums.add_moments::<T>(V::widen(&strip[at..]), k);
    }
    sums.store::<T>(acc, at);
}

pub(crate) fn grad_sums<T: Item>(x: Strips<'_, T>, dy: Strips<'_, T>, pilot: &[T], acc: &mut Acc<'_>) {
    for (x_group, dy_group) in groups(x).zip(groups(dy)) {
        let whole = x.len() / 8 * 8;
        for at in (0..whole).step_by(8) {
            grad_sums_at::<T, f64x8>(x_group.strips(), dy_group.strips(), at, pilot, acc);
        }
        for at in whole..x.len() {
            grad_sums_at::<T, f64>(x_group.strips(), dy_group.strips(), at, pilot, acc);
        }
    }
}

#[inline(always)]
fn grad_sums_at<T: Item, V: Lanes>(x: &[&[T]], dy: &[&[T]], at: usize, pilot: &[T], acc: &mut Acc<'_>) {
    let mut sums = Sums::<V>::load::<T>(acc, at);
    let k = V::widen(&pilot[at..]);
    for (x, dy) in x.iter().zip(dy) {
        sums.add_grads::<T>(V::widen(&x[at..]), V::widen(&dy[at..]), k);
    }
    sums.store::<T>(acc, at);
}

/// Up to [`GROUP`] strips.
struct Group<'a, T> {
    strips: [&'a [T]; GROUP],
    rows: usize,
}

impl<'a, T> Group<'a, T> {
    fn strips(&self) -> &[&'a [T]] {
        &self.strips[..self.rows]
    }
}

/// All strips in groups.
fn groups<'a, T: Copy>(x: Strips<'a, T>) -> impl Iterator<Item = Group<'a, T>> {
    (0..x.rows()).step_by(GROUP).map(move |start| {
        let rows = GROUP.min(x.rows() - start);
        let strips = std::array::from_fn(|i| if i < rows { x.strip(start + i) } else { &[] });
        Group { strips, rows }
    })
}

pub(crate) fn normalize<T: Item>(
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
) {
    for (i, x) in x.iter().enumerate() {
        map(x, [k, a, b].map(Coef::Each), y.strip_mut(i));
    }
}

pub(crate) fn grad_input<T: Item>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
) {
    for (i, (x, dy)) in x.iter().zip(dy.iter()).enumerate() {
        map_gradient(x, dy, [k, a, c, d].map(Coef::Each), dx.strip_mut(i));
    }
}

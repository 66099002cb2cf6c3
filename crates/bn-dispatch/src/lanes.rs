//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. A group of strips is walked chunk by chunk, down all its rows, before the next chunk: the lanes of a chunk
//!    stay in registers for the group, and the group stays in L1.
//! 2. What is left of a strip behind the last whole chunk is taken in chunks of four and one.

use crate::group::{GROUP, Group};
use crate::isa::Isa;
use crate::map::{GradInput, Normalize};
use crate::sum::{Item, Lanes, chunk};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::stream::{Stores, fill};
use bn_core::strips::{Strips, StripsMut};

/// Where `len` columns are walked in chunks of W, of 4 and of 1: the ends of the first two.
#[inline(always)]
fn cuts<const W: usize>(len: usize) -> (usize, usize) {
    (len / W * W, len / 4 * 4)
}

#[inline(always)]
fn moments_chunk<T: Item, I: Isa, const W: usize>(
    x: &Group<'_, T>,
    at: usize,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    let mut lanes = Lanes::<W>::load::<T>(acc, at);
    match pilot {
        None if I::FMA => x.chunks(at).for_each(|x| T::add_plain::<W, true>(&mut lanes, x)),
        None => x.chunks(at).for_each(|x| T::add_plain::<W, false>(&mut lanes, x)),
        Some(pilot) => {
            let k = chunk::<T, W>(pilot, at).map(T::to_f64);
            x.chunks(at).for_each(|x| T::add_shifted(&mut lanes, x, &k));
        }
    }
    lanes.store::<T>(acc, at);
}

#[inline(always)]
pub(crate) fn moments<T: Item, I: Isa, const W: usize>(
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    let (wide, narrow) = cuts::<W>(x.len());
    for start in (0..x.rows()).step_by(GROUP) {
        let group = Group::new(x, start);
        for at in (0..wide).step_by(W) {
            moments_chunk::<T, I, W>(&group, at, pilot, acc);
        }
        for at in (wide..narrow).step_by(4) {
            moments_chunk::<T, I, 4>(&group, at, pilot, acc);
        }
        for at in narrow..x.len() {
            moments_chunk::<T, I, 1>(&group, at, pilot, acc);
        }
    }
}

#[inline(always)]
fn grad_sums_chunk<T: Item, const W: usize>(
    x: &Group<'_, T>,
    dy: &Group<'_, T>,
    at: usize,
    pilot: &[T],
    acc: &mut Acc<'_>,
) {
    let mut lanes = Lanes::<W>::load::<T>(acc, at);
    let k = chunk::<T, W>(pilot, at).map(T::to_f64);
    for (x, dy) in x.chunks(at).zip(dy.chunks(at)) {
        T::add_grads(&mut lanes, x, dy, &k);
    }
    lanes.store::<T>(acc, at);
}

#[inline(always)]
pub(crate) fn grad_sums<T: Item, const W: usize>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: &[T],
    acc: &mut Acc<'_>,
) {
    let (wide, narrow) = cuts::<W>(x.len());
    for start in (0..x.rows()).step_by(GROUP) {
        let (x_group, dy_group) = (Group::new(x, start), Group::new(dy, start));
        for at in (0..wide).step_by(W) {
            grad_sums_chunk::<T, W>(&x_group, &dy_group, at, pilot, acc);
        }
        for at in (wide..narrow).step_by(4) {
            grad_sums_chunk::<T, 4>(&x_group, &dy_group, at, pilot, acc);
        }
        for at in narrow..x.len() {
            grad_sums_chunk::<T, 1>(&x_group, &dy_group, at, pilot, acc);
        }
    }
}

#[inline(always)]
pub(crate) fn normalize<T: Item, const L: usize, const BYTES: usize>(
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: Stores<BYTES>,
) {
    let stream = hints.stream.then_some(stores);
    for row in 0..x.rows() {
        let ahead = hints.ahead(row, [x.strip_or_empty(row + 1), &[]]);
        let map = Normalize { x: x.strip(row), k, a, b };
        fill::<T, L, BYTES>(y.strip_mut(row), stream, ahead, &map);
    }
}

#[inline(always)]
pub(crate) fn grad_input<T: Item, const L: usize, const BYTES: usize>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: Stores<BYTES>,
) {
    let stream = hints.stream.then_some(stores);
    for row in 0..x.rows() {
        let ahead = hints.ahead(row, [x.strip_or_empty(row + 1), dy.strip_or_empty(row + 1)]);
        let map = GradInput { x: x.strip(row), dy: dy.strip(row), k, a, c, d };
        fill::<T, L, BYTES>(dx.strip_mut(row), stream, ahead, &map);
    }
}

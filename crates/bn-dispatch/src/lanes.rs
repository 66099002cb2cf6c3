//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. A group of strips is walked chunk by chunk, down all its rows, before the next chunk: the lanes of a chunk
//!    stay in registers for the group, and the group stays in L1.
//! 2. What is left of a strip behind the last whole chunk is taken in chunks of four and one.

use crate::isa::Isa;
use crate::sink::Sink;
use crate::sum::{Item, Lanes, padded};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::strips::{Strips, StripsMut};

/// Bytes of the strips that are walked as one group.
const GROUP_BYTES: usize = 16 << 10;

/// Strips of `len` elements to a group of `inputs` tensors.
fn group<T>(len: usize, inputs: usize) -> usize {
    (GROUP_BYTES / (len * inputs * size_of::<T>()).max(1)).clamp(4, 64)
}

/// The `W` elements of `strip` from `at` on, which are there.
#[inline(always)]
fn chunk<T, const W: usize>(strip: &[T], at: usize) -> &[T; W] {
    strip[at..].first_chunk().unwrap_or_else(|| unreachable!("columns are walked to the strip's length"))
}

/// Where `len` columns are walked in chunks of W, of 4 and of 1: the ends of the first two.
#[inline(always)]
fn cuts<const W: usize>(len: usize) -> (usize, usize) {
    (len / W * W, len / 4 * 4)
}

#[inline(always)]
fn moments_chunk<T: Item, I: Isa, const W: usize>(
    x: Strips<'_, T>,
    rows: std::ops::Range<usize>,
    at: usize,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    let mut lanes = Lanes::<W>::load::<T>(acc, at);
    match pilot {
        None => {
            for row in rows {
                let x = chunk(x.strip(row), at);
                if I::FMA {
                    T::add_plain::<W, true>(&mut lanes, x)
                } else {
                    T::add_plain::<W, false>(&mut lanes, x)
                }
            }
        }
        Some(pilot) => {
            let k = chunk(pilot, at);
            for row in rows {
                T::add_shifted(&mut lanes, chunk(x.strip(row), at), k);
            }
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
    let group = group::<T>(x.len(), 1);
    for start in (0..x.rows()).step_by(group) {
        let rows = start..x.rows().min(start + group);
        for at in (0..wide).step_by(W) {
            moments_chunk::<T, I, W>(x, rows.clone(), at, pilot, acc);
        }
        for at in (wide..narrow).step_by(4) {
            moments_chunk::<T, I, 4>(x, rows.clone(), at, pilot, acc);
        }
        for at in narrow..x.len() {
            moments_chunk::<T, I, 1>(x, rows.clone(), at, pilot, acc);
        }
    }
}

#[inline(always)]
fn grad_sums_chunk<T: Item, const W: usize>(
    (x, dy): (Strips<'_, T>, Strips<'_, T>),
    rows: std::ops::Range<usize>,
    at: usize,
    pilot: &[T],
    acc: &mut Acc<'_>,
) {
    let mut lanes = Lanes::<W>::load::<T>(acc, at);
    let k = chunk(pilot, at);
    for row in rows {
        T::add_grads(&mut lanes, chunk(x.strip(row), at), chunk(dy.strip(row), at), k);
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
    let group = group::<T>(x.len(), 2);
    for start in (0..x.rows()).step_by(group) {
        let rows = start..x.rows().min(start + group);
        for at in (0..wide).step_by(W) {
            grad_sums_chunk::<T, W>((x, dy), rows.clone(), at, pilot, acc);
        }
        for at in (wide..narrow).step_by(4) {
            grad_sums_chunk::<T, 4>((x, dy), rows.clone(), at, pilot, acc);
        }
        for at in narrow..x.len() {
            grad_sums_chunk::<T, 1>((x, dy), rows.clone(), at, pilot, acc);
        }
    }
}

#[inline(always)]
pub(crate) fn normalize<T: Item, I: Isa, const LINE: usize>(
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    for row in 0..x.rows() {
        let strip = x.strip(row);
        let mut sink = Sink::<T, I>::new(y.strip_mut(row), &hints, row);
        sink.run::<LINE>(
            strip.len(),
            #[inline(always)]
            |at| {
                let mut v = padded::<T, LINE>(strip, at);
                let (k, a, b) =
                    (padded::<T, LINE>(k, at), padded::<T, LINE>(a, at), padded::<T, LINE>(b, at));
                for i in 0..LINE {
                    v[i] = (v[i] - k[i]) * a[i] + b[i];
                }
                v
            },
        );
        sink.finish();
    }
}

#[inline(always)]
pub(crate) fn grad_input<T: Item, I: Isa, const LINE: usize>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    for row in 0..x.rows() {
        let (x, dy) = (x.strip(row), dy.strip(row));
        let mut sink = Sink::<T, I>::new(dx.strip_mut(row), &hints, row);
        sink.run::<LINE>(
            x.len(),
            #[inline(always)]
            |at| {
                let (x, mut v) = (padded::<T, LINE>(x, at), padded::<T, LINE>(dy, at));
                let (k, a) = (padded::<T, LINE>(k, at), padded::<T, LINE>(a, at));
                let (c, d) = (padded::<T, LINE>(c, at), padded::<T, LINE>(d, at));
                for i in 0..LINE {
                    v[i] = (v[i] * a[i] + (x[i] - k[i]) * c[i]) + d[i];
                }
                v
            },
        );
        sink.finish();
    }
}

//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. Sums go feature by feature through all strips, so that the lanes stay in registers. The runs are far
//!    apart in memory, but the block is in L2, or fetched there while the block before was mapped.
//! 2. Where a level's registers hold only a part of the lanes, a stretch of each run that stays in L1 is walked
//!    once per part.
//! 3. A run's last chunk reads on into the next feature and drops the lanes that are too many: a masked tail
//!    from safe code. Only at a strip's end it is copied.
//! 4. Maps go strip by strip and write in order.

use crate::isa::Isa;
use crate::sink::{PIECE, Sink};
use crate::sum::{Item, Lanes, padded};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::strips::{Strips, StripsMut};

/// Walks `inner` elements in steps of `L` lanes, `W` lanes at a time: `step(lanes, at, n)` adds the `n` elements
/// that begin at `at` of every run.
#[inline(always)]
fn walk<const W: usize>(
    lanes: &mut Lanes<W>,
    (part, total): (usize, usize),
    inner: usize,
    mut step: impl FnMut(&mut Lanes<W>, usize, usize),
) {
    let mut at = part;
    while at + W <= inner {
        step(lanes, at, W);
        at += total;
    }
    if at < inner {
        step(lanes, at, inner - at);
    }
}

#[inline(always)]
pub(crate) fn moments<T: Item, I: Isa, const W: usize>(
    inner: usize,
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    for f in 0..x.len() / inner {
        for part in (0..T::LANES).step_by(W) {
            let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part);
            for row in 0..x.rows() {
                let strip = &x.strip(row)[f * inner..];
                walk(
                    &mut lanes,
                    (part, T::LANES),
                    inner,
                    #[inline(always)]
                    |lanes, at, n| {
                        let chunk = padded::<T, W>(strip, at);
                        let mut added = *lanes;
                        match pilot {
                            None if I::FMA => T::add_plain::<W, true>(&mut added, &chunk),
                            None => T::add_plain::<W, false>(&mut added, &chunk),
                            Some(pilot) => T::add_shifted(&mut added, &chunk, &[pilot[f]; W]),
                        }
                        if n == W { *lanes = added } else { lanes.take_first(n, &added) }
                    },
                );
            }
            lanes.store::<T>(acc, f * T::LANES + part);
        }
    }
}

#[inline(always)]
pub(crate) fn grad_sums<T: Item, const W: usize>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: &[T],
    acc: &mut Acc<'_>,
) {
    for f in 0..x.len() / inner {
        let k = [pilot[f]; W];
        for part in (0..T::LANES).step_by(W) {
            let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part);
            for row in 0..x.rows() {
                let (x, dy) = (&x.strip(row)[f * inner..], &dy.strip(row)[f * inner..]);
                walk(
                    &mut lanes,
                    (part, T::LANES),
                    inner,
                    #[inline(always)]
                    |lanes, at, n| {
                        let mut added = *lanes;
                        T::add_grads(&mut added, &padded(x, at), &padded(dy, at), &k);
                        if n == W { *lanes = added } else { lanes.take_first(n, &added) }
                    },
                );
            }
            lanes.store::<T>(acc, f * T::LANES + part);
        }
    }
}

#[inline(always)]
pub(crate) fn normalize<T: Item, I: Isa>(
    inner: usize,
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let mut buf = [T::default(); 2 * PIECE];
    for row in 0..x.rows() {
        let mut sink = Sink::<T, I>::new(y.strip_mut(row), &mut buf, &hints, row);
        for (f, x) in x.strip(row).chunks_exact(inner).enumerate() {
            let (k, a, b) = (k[f], a[f], b[f]);
            sink.run(
                inner,
                #[inline(always)]
                |at, y| {
                    for (y, &x) in y.iter_mut().zip(&x[at..]) {
                        *y = (x - k) * a + b;
                    }
                },
            );
        }
        sink.finish();
    }
}

#[inline(always)]
pub(crate) fn grad_input<T: Item, I: Isa>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let mut buf = [T::default(); 2 * PIECE];
    for row in 0..x.rows() {
        let mut sink = Sink::<T, I>::new(dx.strip_mut(row), &mut buf, &hints, row);
        let runs = x.strip(row).chunks_exact(inner).zip(dy.strip(row).chunks_exact(inner));
        for (f, (x, dy)) in runs.enumerate() {
            let (k, a, c, d) = (k[f], a[f], c[f], d[f]);
            sink.run(
                inner,
                #[inline(always)]
                |at, dx| {
                    for (dx, (&x, &dy)) in dx.iter_mut().zip(x[at..].iter().zip(&dy[at..])) {
                        *dx = (dy * a + (x - k) * c) + d;
                    }
                },
            );
        }
        sink.finish();
    }
}

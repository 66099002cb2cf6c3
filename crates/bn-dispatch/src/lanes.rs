//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. A group of strips is walked chunk by chunk, down all its rows, before the next chunk: the lanes of a chunk
//!    stay in registers for the group, and the group stays in L1.
//! 2. What is left of a strip behind the last whole chunk, and before the first line of a long one, is taken in chunks
//!    of eight, four and one.

use crate::isa::Isa;
use crate::map::{GradInput, Normalize};
use crate::sum::{Item, Lanes, chunk, widened};
use bn_core::group::{Group, rows_to_group};
use bn_core::kernels::{Acc, Affine, Fetch, GradAffine, Hints};
use bn_core::stream::{self, Stores, fill};
use bn_core::strips::{Strips, StripsMut};
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of at least so many columns begin with a few narrow chunks, so that the others begin where cache lines do.
const ALIGN_ABOVE: usize = 1024;

/// A sum over the strips of a group.
trait Sum<T: Item> {
    /// Adds columns `at..at + W` of every strip to their lanes.
    fn add<const W: usize>(&self, at: usize, acc: &mut Acc<'_>);
}

/// Adds the columns of `x`'s strips and of what is summed with them, in groups of `rows` strips.
#[inline(always)]
fn reduce<T: Item, S: Sum<T>, const W: usize>(
    x: Strips<'_, T>,
    rows: usize,
    acc: &mut Acc<'_>,
    group: impl Fn(usize) -> S,
) {
    let len = x.len();
    let lead = if len < ALIGN_ABOVE { 0 } else { stream::lead(x.strip_or_empty(0)) };
    for start in (0..x.rows()).step_by(rows) {
        let sum = group(start);
        narrow(&sum, 0..lead, acc);
        let wide = lead + (len - lead) / W * W;
        for at in (lead..wide).step_by(W) {
            sum.add::<W>(at, acc);
        }
        narrow(&sum, wide..len, acc);
    }
}

/// Adds a few columns in chunks of 8, 4 and 1.
#[inline(always)]
fn narrow<T: Item>(sum: &impl Sum<T>, Range { start: mut at, end }: Range<usize>, acc: &mut Acc<'_>) {
    while at + 8 <= end {
        sum.add::<8>(at, acc);
        at += 8;
    }
    if at + 4 <= end {
        sum.add::<4>(at, acc);
        at += 4;
    }
    while at < end {
        sum.add::<1>(at, acc);
        at += 1;
    }
}

struct Moments<'a, T, I> {
    group: Group<'a, T, 1>,
    pilot: Option<&'a [T]>,
    isa: PhantomData<I>,
}

impl<T: Item, I: Isa> Sum<T> for Moments<'_, T, I> {
    #[inline(always)]
    fn add<const W: usize>(&self, at: usize, acc: &mut Acc<'_>) {
        let mut lanes = Lanes::<W>::load::<T>(acc, at);
        match self.pilot {
            None => self.group.down(
                at,
                W,
                #[inline(always)]
                |[x]| T::add_moments::<I, W>(&mut lanes, chunk(x, 0)),
            ),
            Some(pilot) => {
                let k = widened::<T, W>(pilot, at);
                self.group.down(
                    at,
                    W,
                    #[inline(always)]
                    |[x]| T::add_moments_about(&mut lanes, chunk(x, 0), &k),
                );
            }
        }
        lanes.store::<T>(acc, at);
    }
}

#[inline(always)]
pub(crate) fn moments<T: Item, I: Isa, const W: usize>(
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    let rows = rows_to_group(1, W * size_of::<T>(), x);
    reduce::<T, _, W>(
        x,
        rows,
        acc,
        #[inline(always)]
        |i| Moments { group: Group::new([x], i, rows, fetch), pilot, isa: PhantomData::<I> },
    );
}

struct GradSums<'a, T, I> {
    group: Group<'a, T, 2>,
    pilot: Option<&'a [T]>,
    isa: PhantomData<I>,
}

impl<T: Item, I: Isa> Sum<T> for GradSums<'_, T, I> {
    #[inline(always)]
    fn add<const W: usize>(&self, at: usize, acc: &mut Acc<'_>) {
        let mut lanes = Lanes::<W>::load::<T>(acc, at);
        match self.pilot {
            None => self.group.down(
                at,
                W,
                #[inline(always)]
                |[x, dy]| T::add_grads::<I, W>(&mut lanes, chunk(x, 0), chunk(dy, 0)),
            ),
            Some(pilot) => {
                let k = widened::<T, W>(pilot, at);
                self.group.down(
                    at,
                    W,
                    #[inline(always)]
                    |[x, dy]| T::add_grads_about(&mut lanes, chunk(x, 0), chunk(dy, 0), &k),
                );
            }
        }
        lanes.store::<T>(acc, at);
    }
}

#[inline(always)]
pub(crate) fn grad_sums<T: Item, I: Isa, const W: usize>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: Option<&[T]>,
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    let rows = rows_to_group(2, W * size_of::<T>(), x);
    reduce::<T, _, W>(
        x,
        rows,
        acc,
        #[inline(always)]
        |i| GradSums {
            group: Group::new([x.reborrow(), dy.reborrow()], i, rows, fetch),
            pilot,
            isa: PhantomData::<I>,
        },
    );
}

#[inline(always)]
pub(crate) fn normalize<T: Item, const L: usize, const BYTES: usize>(
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: impl FnOnce() -> Stores<BYTES>,
) {
    let stream = hints.stream.then(stores);
    hints.each_strip(
        y,
        #[inline(always)]
        |row, y, ahead| {
            let map = Normalize { x: x.strip(row), k, a, b };
            fill::<T, L, BYTES>(y, stream.as_ref(), ahead, &map);
        },
    );
}

#[inline(always)]
pub(crate) fn grad_input<T: Item, const L: usize, const BYTES: usize>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: impl FnOnce() -> Stores<BYTES>,
) {
    let stream = hints.stream.then(stores);
    hints.each_strip(
        dx,
        #[inline(always)]
        |row, dx, ahead| {
            let map = GradInput { x: x.strip(row), dy: dy.strip(row), k, a, c, d };
            fill::<T, L, BYTES>(dx, stream.as_ref(), ahead, &map);
        },
    );
}

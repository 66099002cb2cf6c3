//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. A stack of strips is walked chunk by chunk, down all its rows, before the next chunk: the lanes of a chunk
//!    stay in registers for the stack, and the stack stays in L1.
//! 2. What is left of a strip behind the last whole chunk, and before the first line of a long one, is taken in chunks
//!    of eight, four and one.

use crate::isa::Isa;
use crate::map::{GradInput, Normalize};
use crate::sum::{About, Item, Lanes, Plain, widened};
use bn_core::group::{EachStack, Stack, stacks};
use bn_core::kernels::{Acc, Affine, Fetch, GradAffine, Hints};
use bn_core::stream::{self, Stores, fill};
use bn_core::strips::{Strips, StripsMut};
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of at least so many columns begin with a few narrow chunks, so that the others begin where cache lines do.
const ALIGN_ABOVE: usize = 1024;

/// What is summed over N inputs.
trait Sum<T: Item, const N: usize> {
    /// Adds the columns `at..at + W` of R rows to their lanes.
    fn add<const W: usize, const R: usize>(&self, at: usize, lanes: &mut Lanes<W>, rows: [[&[T; W]; N]; R]);
}

impl<T: Item, I: Isa> Sum<T, 1> for Plain<I> {
    #[inline(always)]
    fn add<const W: usize, const R: usize>(&self, _: usize, lanes: &mut Lanes<W>, rows: [[&[T; W]; 1]; R]) {
        for [x] in rows {
            T::add_moments::<I, W>(lanes, x);
        }
    }
}

impl<T: Item> Sum<T, 1> for About<'_, T> {
    #[inline(always)]
    fn add<const W: usize, const R: usize>(&self, at: usize, lanes: &mut Lanes<W>, rows: [[&[T; W]; 1]; R]) {
        let k = widened::<T, W>(self.0, at);
        for [x] in rows {
            T::add_moments_about(lanes, x, &k);
        }
    }
}

impl<T: Item, I: Isa> Sum<T, 2> for Plain<I> {
    #[inline(always)]
    fn add<const W: usize, const R: usize>(&self, _: usize, lanes: &mut Lanes<W>, rows: [[&[T; W]; 2]; R]) {
        for [x, dy] in rows {
            T::add_grads::<I, W>(lanes, x, dy);
        }
    }
}

impl<T: Item> Sum<T, 2> for About<'_, T> {
    #[inline(always)]
    fn add<const W: usize, const R: usize>(&self, at: usize, lanes: &mut Lanes<W>, rows: [[&[T; W]; 2]; R]) {
        let k = widened::<T, W>(self.0, at);
        for [x, dy] in rows {
            T::add_grads_about(lanes, x, dy, &k);
        }
    }
}

/// Adds the columns of stacks of strips, W at a time.
struct Columns<'s, 'a, S, const W: usize> {
    sum: &'s S,
    acc: &'s mut Acc<'a>,
    len: usize,
    /// So many columns come before the first cache line.
    lead: usize,
}

impl<T: Item, S: Sum<T, N>, const W: usize, const N: usize> EachStack<T, N> for Columns<'_, '_, S, W> {
    #[inline(always)]
    fn take<const R: usize>(&mut self, stack: &Stack<'_, T, N, R>) {
        let Self { sum, ref mut acc, len, lead } = *self;
        let wide = lead + (len - lead) / W * W;
        narrow(stack, 0..lead, sum, acc);
        add_chunks::<T, W, N, R>(stack, lead..wide, sum, acc);
        narrow(stack, wide..len, sum, acc);
    }
}

/// Adds the columns of `inputs`' strips.
#[inline(always)]
fn reduce<T: Item, I: Isa, const W: usize, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    fetch: Fetch,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let len = inputs[0].len();
    let lead = if len < ALIGN_ABOVE { 0 } else { stream::lead(inputs[0].strip_or_empty(0)) };
    stacks(inputs, fetch, I::ALONG, &mut Columns::<_, W> { sum, acc, len, lead });
}

/// Adds a few columns in chunks of 8, 4 and 1.
#[inline(always)]
fn narrow<T: Item, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    Range { start, end }: Range<usize>,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let eights = start + (end - start) / 8 * 8;
    let fours = eights + (end - eights) / 4 * 4;
    add_chunks::<T, 8, N, R>(stack, start..eights, sum, acc);
    add_chunks::<T, 4, N, R>(stack, eights..fours, sum, acc);
    add_chunks::<T, 1, N, R>(stack, fours..end, sum, acc);
}

#[inline(always)]
fn add_chunks<T: Item, const W: usize, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    cols: Range<usize>,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    stack.chunks::<W>(
        cols,
        #[inline(always)]
        |at, rows| {
            let mut lanes = Lanes::<W>::load::<T>(acc, at);
            sum.add(at, &mut lanes, rows);
            lanes.store::<T>(acc, at);
        },
    );
}

#[inline(always)]
pub(crate) fn moments<T: Item, I: Isa, const W: usize>(
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    match pilot {
        None => reduce::<T, I, W, 1>(&[x], fetch, &Plain(PhantomData::<I>), acc),
        Some(pilot) => reduce::<T, I, W, 1>(&[x], fetch, &About(pilot), acc),
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
    match pilot {
        None => reduce::<T, I, W, 2>(&[x.reborrow(), dy.reborrow()], fetch, &Plain(PhantomData::<I>), acc),
        Some(pilot) => reduce::<T, I, W, 2>(&[x.reborrow(), dy.reborrow()], fetch, &About(pilot), acc),
    }
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

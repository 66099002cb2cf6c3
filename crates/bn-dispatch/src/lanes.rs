//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. A stack of strips is walked chunk by chunk, down all its rows, before the next chunk: the lanes of a chunk
//!    stay in registers for the stack, and the stack stays in L1.
//! 2. What is left of a strip behind the last whole chunk, and before the first line of a long one, is taken in chunks
//!    of eight, four and one.

use crate::isa::Isa;
use crate::map::{GradInput, Normalize};
use crate::sum::{Item, Lanes, widened};
use bn_core::group::{Stack, in_order};
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

/// Sums around 0.
struct Plain<I>(PhantomData<I>);

/// Sums around a pilot per feature.
struct About<'a, T>(&'a [T]);

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

/// Adds the columns of `inputs`' strips, R strips at a time.
#[inline(always)]
fn reduce<T: Item, I: Isa, const W: usize, const N: usize, const R: usize>(
    inputs: &[Strips<'_, T>; N],
    fetch: Fetch,
    in_order: bool,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let (rows, len) = (inputs[0].rows(), inputs[0].len());
    let lead = if len < ALIGN_ABOVE { 0 } else { stream::lead(inputs[0].strip_or_empty(0)) };
    let whole = rows / R * R;
    for start in (0..whole).step_by(R) {
        let stack = if I::ALONG {
            Stack::<T, N, R>::along(inputs, start, in_order)
        } else {
            Stack::<T, N, R>::new(inputs, start, fetch)
        };
        add_rows::<T, W, N, R>(&stack, lead, len, sum, acc);
    }
    for start in whole..rows {
        add_rows::<T, W, N, 1>(&Stack::new(inputs, start, Fetch::Near), lead, len, sum, acc);
    }
}

/// Adds all columns of a stack.
#[inline(always)]
fn add_rows<T: Item, const W: usize, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    lead: usize,
    len: usize,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let wide = lead + (len - lead) / W * W;
    narrow(stack, 0..lead, sum, acc);
    add_chunks::<T, W, N, R>(stack, lead..wide, sum, acc);
    narrow(stack, wide..len, sum, acc);
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
        None => moments_of::<T, I, W>(x, fetch, &Plain(PhantomData::<I>), acc),
        Some(pilot) => moments_of::<T, I, W>(x, fetch, &About(pilot), acc),
    }
}

/// As many strips at a time as are fastest. Measured.
#[inline(always)]
fn moments_of<T: Item, I: Isa, const W: usize>(
    x: Strips<'_, T>,
    fetch: Fetch,
    sum: &impl Sum<T, 1>,
    acc: &mut Acc<'_>,
) {
    let in_order = in_order(&[x.reborrow()]);
    if I::ALONG && in_order {
        reduce::<T, I, W, 1, 4>(&[x], fetch, in_order, sum, acc);
    } else {
        reduce::<T, I, W, 1, 8>(&[x], fetch, in_order, sum, acc);
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
    let inputs = [x.reborrow(), dy.reborrow()];
    let in_order = in_order(&inputs);
    match pilot {
        None => reduce::<T, I, W, 2, 4>(&inputs, fetch, in_order, &Plain(PhantomData::<I>), acc),
        Some(pilot) => reduce::<T, I, W, 2, 4>(&inputs, fetch, in_order, &About(pilot), acc),
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

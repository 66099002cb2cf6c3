//! Sums of one value per feature and strip (inner = 1): down the strips.
//!
//! 1. A stack of strips is walked chunk by chunk, down all its rows, before the next chunk: the lanes of a chunk
//!    stay in registers for the stack, and the stack stays in L1.
//! 2. What is left of a strip behind the last whole chunk, and before the first line of a long one, is taken in chunks
//!    of eight, four and one: for a few stacks at a time, apart from the whole chunks, so that it is compiled for two
//!    heights of stacks and not for all of them.

use crate::sum::{Item, LaneChunks, Term};
use bn_core::kernel::{Acc, Fetch};
use bn_core::mem;
use bn_core::tensor::Strips;
use bn_core::walk::{EachStack, Stack, low_stacks, stacks};
use std::ops::Range;

/// Rows of at least so many columns begin with a few narrow chunks, so that the others begin where cache lines do.
const ALIGN_ABOVE: usize = 1024;

/// The columns of so many bytes of strips that fill no wide chunk are added after those that do, while the strips are in L1.
const BAND_BYTES: usize = 32 << 10;

/// Adds the columns `cols` of stacks of strips, W at a time.
struct Wide<'s, 'a, S, const W: usize> {
    term: S,
    acc: &'s mut Acc<'a>,
    cols: Range<usize>,
}

impl<T: Item, S: Term<T>, const W: usize, const N: usize> EachStack<T, N> for Wide<'_, '_, S, W> {
    #[inline(always)]
    fn take<const R: usize>(&mut self, stack: &Stack<'_, T, N, R>) {
        add_chunks::<T, S, W, N, R>(stack, self.cols.clone(), self.term, self.acc);
    }
}

/// Adds the columns of stacks of strips before and behind those, in narrow chunks.
struct Narrow<'s, 'a, S> {
    term: S,
    acc: &'s mut Acc<'a>,
    cols: [Range<usize>; 2],
}

impl<T: Item, S: Term<T>, const N: usize> EachStack<T, N> for Narrow<'_, '_, S> {
    #[inline(always)]
    fn take<const R: usize>(&mut self, stack: &Stack<'_, T, N, R>) {
        // One loop over both, so that the chunks' loops are compiled once.
        for i in 0..2 {
            narrow(stack, self.cols[i].clone(), self.term, self.acc);
        }
    }
}

/// Adds N inputs around `term`, W columns at a time; `along` says whether memory is asked for in its own order, see [`stacks`].
#[inline(always)]
pub(crate) fn sum<T: Item, S: Term<T>, const W: usize, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    term: S,
    fetch: Fetch,
    along: bool,
    acc: &mut Acc<'_>,
) {
    let (rows, len) = (inputs[0].rows(), inputs[0].len());
    let lead = if len < ALIGN_ABOVE { 0 } else { mem::lead(inputs[0].strip_or_empty(0)) };
    let wide = lead + (len - lead) / W * W;
    let ragged = lead > 0 || wide < len;
    let band = if ragged { BAND_BYTES / size_of::<T>() / len / 8 * 8 } else { rows }.max(8);
    for start in (0..rows).step_by(band) {
        let band = start..rows.min(start + band);
        let mut columns = Wide::<_, W> { term, acc, cols: lead..wide };
        if S::RARE {
            low_stacks(inputs, band.clone(), fetch, along, &mut columns);
        } else {
            stacks(inputs, band.clone(), fetch, along, &mut columns);
        }
        if ragged {
            let cols = [0..lead, wide..len];
            low_stacks(inputs, band, fetch, along, &mut Narrow { term, acc, cols });
        }
    }
}

/// Adds a few columns in chunks of 8, 4 and 1.
#[inline(always)]
fn narrow<T: Item, S: Term<T>, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    Range { start, end }: Range<usize>,
    term: S,
    acc: &mut Acc<'_>,
) {
    let eights = start + (end - start) / 8 * 8;
    let fours = eights + (end - eights) / 4 * 4;
    add_chunks::<T, S, 8, N, R>(stack, start..eights, term, acc);
    add_chunks::<T, S, 4, N, R>(stack, eights..fours, term, acc);
    add_chunks::<T, S, 1, N, R>(stack, fours..end, term, acc);
}

#[inline(always)]
fn add_chunks<T: Item, S: Term<T>, const W: usize, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    cols: Range<usize>,
    term: S,
    acc: &mut Acc<'_>,
) {
    let start = cols.start;
    let mut chunks = LaneChunks::<W>::new::<T>(acc, start, cols.len() / W);
    stack.chunks::<W>(
        cols,
        #[inline(always)]
        |i, rows| {
            let around = term.columns::<W>(start + i * W);
            let mut lanes = chunks.load::<T>(i);
            // By number: whether an array's iterator has ended is seen from whether a reference is null, and not every
            // optimizer leaves that out.
            for r in 0..R {
                S::add::<W, N>(&mut lanes, &around, rows[r], W);
            }
            chunks.store::<T>(i, &lanes);
        },
    );
}

//! Sums of one value per feature and strip (inner = 1): down the strips.
//!
//! 1. A stack of strips is walked chunk by chunk, down all its rows, before the next chunk: the lanes of a chunk
//!    stay in registers for the stack, and the stack stays in L1.
//! 2. What is left of a strip behind the last whole chunk, and before the first line of a long one, is taken in chunks
//!    of eight, four and one.

use crate::sum::{LaneChunks, Term, add};
use bn_core::Element;
use bn_core::kernel::{Acc, Fetch};
use bn_core::mem;
use bn_core::tensor::Strips;
use bn_core::walk::{Convert, EachStack, Stack, low_stacks, stacks};
use std::ops::Range;

/// Rows of at least so many columns begin with a few narrow chunks, so that the others begin where cache lines do.
const ALIGN_ABOVE: usize = 1024;

/// Adds the columns of stacks of strips, W at a time.
struct Columns<'s, 'a, S, C, const W: usize> {
    term: S,
    by: C,
    acc: &'s mut Acc<'a>,
    /// Those of whole chunks.
    whole: Range<usize>,
    /// Those before and behind.
    ends: [Range<usize>; 2],
}

impl<T, S, C, const W: usize, const N: usize> EachStack<T, N> for Columns<'_, '_, S, C, W>
where
    T: Element,
    S: Term<T::Compute>,
    C: Convert<T>,
{
    #[inline(always)]
    fn take<const R: usize>(&mut self, stack: &Stack<'_, T, N, R>) {
        // In the order of memory; in a loop, so that the narrow chunks' code is compiled once for both ends.
        for i in 0..2 {
            let Range { start, end } = self.ends[i];
            let (eights, fours) = (start + (end - start) / 8 * 8, start + (end - start) / 4 * 4);
            add_chunks::<T, S, 8, N, R>(stack, start..eights, self.term, self.by, self.acc);
            add_chunks::<T, S, 4, N, R>(stack, eights..fours, self.term, self.by, self.acc);
            add_chunks::<T, S, 1, N, R>(stack, fours..end, self.term, self.by, self.acc);
            if i == 0 {
                add_chunks::<T, S, W, N, R>(stack, self.whole.clone(), self.term, self.by, self.acc);
            }
        }
    }
}

/// Adds N inputs around `term`, W columns at a time, converted as `by` does.
#[inline(always)]
pub(crate) fn sum<T: Element, S: Term<T::Compute>, const W: usize, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    term: S,
    fetch: Fetch,
    by: impl Convert<T>,
    acc: &mut Acc<'_>,
) {
    let len = inputs[0].len();
    let lead = if len < ALIGN_ABOVE { 0 } else { mem::lead(inputs[0].strip_or_behind(0)) };
    let end = lead + (len - lead) / W * W;
    let mut columns = Columns::<_, _, W> { term, by, acc, whole: lead..end, ends: [0..lead, end..len] };
    if S::RARE {
        low_stacks(inputs, fetch, &mut columns);
    } else {
        stacks(inputs, fetch, &mut columns);
    }
}

#[inline(always)]
fn add_chunks<T: Element, S: Term<T::Compute>, const W: usize, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    cols: Range<usize>,
    term: S,
    by: impl Convert<T>,
    acc: &mut Acc<'_>,
) {
    let start = cols.start;
    let mut chunks = LaneChunks::<W>::new::<T::Compute>(acc, start, cols.len() / W);
    stack.chunks::<W>(
        cols,
        #[inline(always)]
        |i, rows| {
            let around = term.columns::<W>(start + i * W);
            let mut lanes = chunks.load::<T::Compute>(i);
            // By number: whether an array's iterator has ended is seen from whether a reference is null, and not every
            // optimizer leaves that out.
            for r in 0..R {
                add::<T, S, W, N>(by, &mut lanes, &around, rows[r], W);
            }
            chunks.store::<T::Compute>(i, &lanes);
        },
    );
}

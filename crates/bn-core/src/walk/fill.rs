//! The loop of every map: outputs are filled line by line, past the caches or into them, while something else is fetched.
//!
//! 1. A map is asked for whole cache lines by number, and for single elements before the first and behind the last.
//! 2. Where an output is streamed, its lines begin where cache lines do; ragged ends are ordinary stores.
//! 3. What the kernels read next is asked for in step with what is written.

use crate::mem::{Bare, LINE, Line, Output, Stores, lines_mut, prefetch, write};
use std::mem::MaybeUninit;

/// Ranges of fewer elements are written as they lie, not from one line's beginning to another's.
const ALIGN_ABOVE: usize = 256;

/// What a map computes, in Vs; one of them fills a cache line, or several.
pub(super) trait LineMap<T, V> {
    /// The `n` lines from element `start` on, to be asked for by number. (An iterator would do, were its adapters
    /// inlined into functions that are compiled for another instruction set.)
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L];
    /// The element at `at`.
    fn one(&self, at: usize) -> T;
}

/// The `n` lines of `values` from element `start` on. That there are `n` is seen once, not at every line.
#[inline(always)]
pub fn lines<T, const L: usize>(values: &[T], start: usize, n: usize) -> &[[T; L]] {
    &values[start..].as_chunks().0[..n]
}

/// What is brought into L2 while as many elements are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next<'a, T> {
    /// Where it lies; empty for nothing.
    pub(super) strips: [&'a [T]; 2],
    /// Whether every other pair of lines is left out, see [`crate::kernel::Hints`].
    pub(super) sparse: bool,
}

impl<'a, T> Next<'a, T> {
    /// What there is of each strip from element `start` on.
    #[inline(always)]
    #[must_use]
    pub(super) fn skip(self, start: usize) -> Self {
        // Not `map`, which is not inlined everywhere.
        let [first, second] = self.strips;
        let strips = [first.get(start..).unwrap_or_default(), second.get(start..).unwrap_or_default()];
        Self { strips, ..self }
    }

    /// Whether nothing is fetched.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        let [first, second] = self.strips;
        first.is_empty() && second.is_empty()
    }

    /// Asks for the cache line of element `at` of each strip.
    #[inline(always)]
    fn ask(&self, at: usize) {
        // One instruction for lines of either kind: a bit of the element's number.
        let left_out = if self.sparse { 2 * LINE / size_of::<T>() } else { 0 };
        if at & left_out == 0 {
            for values in self.strips {
                if !values.is_empty() {
                    prefetch::line::<T, false>(values, at);
                }
            }
        }
    }
}

/// Fills `out` from `map`, past the caches where `stream` says how. Meanwhile `next` is brought into L2.
#[inline(always)]
pub(super) fn fill<T: Bare, V, const L: usize, const BYTES: usize>(
    out: Output<'_, T>,
    stream: Option<&Stores<BYTES>>,
    next: Next<'_, T>,
    map: &impl LineMap<T, V>,
) {
    let out = out.into_raw();
    if stream.is_none() && out.len() < ALIGN_ABOVE {
        let (chunks, tail) = out.as_chunks_mut::<L>();
        let value = map.lines::<L>(0, chunks.len());
        for (i, chunk) in chunks.iter_mut().enumerate() {
            next.ask(i * L);
            write(chunk, value(i));
        }
        return ones(tail, chunks.len() * L, map);
    }
    let (head, lines, tail) = lines_mut::<T, L>(out);
    if stream.is_some() && !tail.is_empty() {
        // An ordinary store to a line that is far away would hold up the streaming ones behind it.
        prefetch::line::<_, true>(tail, 0);
    }
    ones(head, 0, map);
    let value = map.lines::<L>(head.len(), lines.len());
    let mut at = head.len();
    // One branch where a tensor stays in the caches. As a loop of its own it would be compiled into gathers.
    let far = stream.is_some() || !next.is_empty();
    for (i, line) in lines.iter_mut().enumerate() {
        let value = value(i);
        if far {
            next.ask(at);
            if let Some(stores) = stream {
                stores.write(line, value);
            } else {
                line.set(value);
            }
        } else {
            line.set(value);
        }
        at += L;
    }
    ones(tail, at, map);
}

/// As [`fill`] past the caches, in steps: writes what is before the first whole line of `out`, and gives that line's first
/// element, the lines and what is behind them, for [`Stores::write`] and [`ones`].
#[inline(always)]
pub(super) fn begin<'a, T: Bare, V, const L: usize>(
    out: Output<'a, T>,
    map: &impl LineMap<T, V>,
) -> (usize, &'a mut [Line<T, L>], &'a mut [MaybeUninit<T>]) {
    let (head, lines, tail) = lines_mut::<T, L>(out.into_raw());
    prefetch::range::<_, true>(tail, 0, tail.len());
    let start = head.len();
    ones(head, 0, map);
    (start, lines, tail)
}

/// Writes `out`, which begins at element `start`, element by element.
#[inline(always)]
pub(super) fn ones<T, V>(out: &mut [MaybeUninit<T>], start: usize, map: &impl LineMap<T, V>) {
    for (out, at) in out.iter_mut().zip(start..) {
        out.write(map.one(at));
    }
}

#[cfg(all(test, target_arch = "x86_64", unix))]
mod tests;

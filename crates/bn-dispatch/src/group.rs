//! A few strips that are summed together, so that their lanes stay in registers from one to the next.

use crate::sum::chunk;
use bn_core::stream;
use bn_core::strips::Strips;

/// The most strips of a group.
pub(crate) const GROUP: usize = 16;

/// The strips of a group: each from the first column to the last.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a, T> {
    strips: [&'a [T]; GROUP],
    rows: usize,
}

impl<'a, T: Copy> Group<'a, T> {
    /// The strips from `start` on; behind the last one, none.
    #[inline(always)]
    pub(crate) fn new(x: Strips<'a, T>, start: usize) -> Self {
        let rows = GROUP.min(x.rows().saturating_sub(start));
        let mut strips: [&[T]; GROUP] = [&[]; GROUP];
        for i in 0..rows {
            strips[i] = x.strip(start + i);
        }
        Self { strips, rows }
    }

    /// How many there are.
    #[inline(always)]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Strip `i` of the group; behind the last one, nothing.
    #[inline(always)]
    pub(crate) fn strip(&self, i: usize) -> &'a [T] {
        self.strips.get(i).copied().unwrap_or_default()
    }

    /// Columns `at..at + W` of every strip. Those after them are fetched into L1 meanwhile.
    #[inline(always)]
    pub(crate) fn chunks<const W: usize>(&self, at: usize) -> impl Iterator<Item = &'a [T; W]> {
        self.strips[..self.rows].iter().map(
            #[inline(always)]
            move |strip| {
                stream::fetch_range(strip, at + W, W);
                chunk(strip, at)
            },
        )
    }
}

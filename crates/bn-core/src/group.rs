//! A few strips that are summed together, so that their lanes stay in registers from one to the next.

use crate::stream;
use crate::strips::Strips;

/// The most strips of a group.
pub const GROUP: usize = 16;

/// The strips of a group, and the one behind them, which is fetched while the last one is summed.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a, T> {
    strips: [&'a [T]; GROUP + 1],
    rows: usize,
}

impl<'a, T> Group<'a, T> {
    /// Up to [`GROUP`] strips of `x` from `start` on.
    #[inline(always)]
    #[must_use]
    pub fn new(x: Strips<'a, T>, start: usize) -> Self {
        let mut strips: [&[T]; GROUP + 1] = [&[]; GROUP + 1];
        for (i, strip) in strips.iter_mut().enumerate() {
            *strip = x.strip_or_empty(start + i);
        }
        Self { strips, rows: GROUP.min(x.rows().saturating_sub(start)) }
    }

    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Strip `i` of the group, or the one behind the last; nothing where there is none.
    #[inline(always)]
    #[must_use]
    pub fn strip(&self, i: usize) -> &'a [T] {
        self.strips.get(i).copied().unwrap_or_default()
    }

    /// Columns `at..at + n` of strip `i`. Those after them are fetched into L1 meanwhile.
    ///
    /// # Panics
    /// Where the strip is shorter.
    #[inline(always)]
    #[must_use]
    pub fn columns(&self, i: usize, at: usize, n: usize) -> &'a [T] {
        let strip = self.strip(i);
        stream::fetch_range(strip, at + n, n);
        &strip[at..][..n]
    }
}

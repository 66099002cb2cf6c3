//! A few strips that are summed together, so that their lanes stay in registers from one to the next.

use crate::kernels::Fetch;
use crate::stream;
use crate::strips::Strips;

/// The most strips of a group.
pub const GROUP: usize = 16;

/// How many strips of each of `inputs` inputs go into a group that is walked in columns of `bytes`. Their lines all fall
/// into the same set of L1 where rows are a page long: of more strips, some were dropped before they were read. Of fewer,
/// lanes were loaded and stored too often.
#[inline(always)]
#[must_use]
pub fn rows_to_group(inputs: usize, bytes: usize) -> usize {
    (1024 / (inputs * bytes).max(1)).clamp(1, GROUP)
}

/// The strips of a group, and the one behind them, which is fetched while the last one is summed.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a, T> {
    strips: [&'a [T]; GROUP + 1],
    rows: usize,
    /// What is fetched into L2 is so many elements away; 0 for nothing.
    far: usize,
}

impl<'a, T> Group<'a, T> {
    /// `rows` strips of `x` from `start` on, at most [`GROUP`]; fewer where there are no more. With the columns of these, those
    /// of the next group are fetched into L2, or those behind the strips, as `fetch` says.
    #[inline(always)]
    #[must_use]
    pub fn new(x: Strips<'a, T>, start: usize, rows: usize, fetch: Fetch) -> Self {
        let rows = rows.min(GROUP);
        let mut strips: [&[T]; GROUP + 1] = [&[]; GROUP + 1];
        for i in 0..=rows {
            strips[i] = x.strip_or_empty(start + i);
        }
        let far = match fetch {
            Fetch::Near => 0,
            Fetch::Far => rows.wrapping_mul(x.stride()),
            Fetch::Behind => x.len(),
        };
        Self { strips, rows: rows.min(x.rows().saturating_sub(start)), far }
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
        stream::fetch_range::<T, true>(strip, at + n, n);
        if self.far > 0 {
            stream::fetch_range::<T, false>(strip, at.wrapping_add(self.far), n);
        }
        &strip[at..][..n]
    }
}

//! A few strips that are summed together, so that their lanes stay in registers from one to the next.

use crate::kernels::Fetch;
use crate::stream;
use crate::strips::Strips;

/// The most strips of a group.
pub const GROUP: usize = 16;

/// Addresses so many bytes apart fall into the same set of L1.
const PAGE: usize = 4096;
/// The lines that a set of L1 holds at least; some hold twelve.
const WAYS: usize = 8;

/// How many strips of each of `inputs` inputs like `x` go into a group that is walked down in columns of `bytes`. Of fewer,
/// lanes were loaded and stored too often; of more, some were dropped from L1 before they were read, above all where strips
/// begin pages apart. Measured.
#[inline(always)]
#[must_use]
pub fn rows_to_group<T>(inputs: usize, bytes: usize, x: Strips<'_, T>) -> usize {
    let rows = (1024 / (inputs * bytes).max(1)).clamp(1, GROUP);
    if x.stride().wrapping_mul(size_of::<T>()).is_multiple_of(PAGE) {
        rows.min(WAYS / inputs.max(1))
    } else {
        rows
    }
}

/// The strips of a group, of N inputs, and the ones behind them, which are fetched while the last ones are summed.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a, T, const N: usize> {
    strips: [[&'a [T]; N]; GROUP + 1],
    rows: usize,
    /// What is fetched into L2 is so many elements away, of each input.
    far: Option<[usize; N]>,
}

impl<'a, T, const N: usize> Group<'a, T, N> {
    /// `rows` strips of each of `inputs` from `start` on, at most [`GROUP`]; fewer where there are no more. With the columns of
    /// these, those of the next group are fetched into L2, or those behind the strips, as `fetch` says.
    #[inline(always)]
    #[must_use]
    pub fn new(inputs: [Strips<'a, T>; N], start: usize, rows: usize, fetch: Fetch) -> Self {
        let rows = rows.min(GROUP);
        let mut strips: [[&[T]; N]; GROUP + 1] = [[&[]; N]; GROUP + 1];
        for i in 0..=rows {
            for (strip, input) in strips[i].iter_mut().zip(&inputs) {
                *strip = input.strip_or_empty(start + i);
            }
        }
        let far = match fetch {
            Fetch::Near => None,
            Fetch::Far => Some(inputs.each_ref().map(|input| rows.wrapping_mul(input.stride()))),
            Fetch::Behind => Some(inputs.each_ref().map(Strips::len)),
        };
        Self { strips, rows: rows.min(inputs[0].rows().saturating_sub(start)), far }
    }

    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Strip `i` of the group of each input, or the one behind the last; nothing where there is none.
    #[inline(always)]
    #[must_use]
    pub fn strips(&self, i: usize) -> [&'a [T]; N] {
        self.strips.get(i).copied().unwrap_or([&[]; N])
    }

    /// Hands columns `at..at + n` of every strip to `each`, one strip of each input after the other. The columns after them
    /// are fetched into L1 meanwhile.
    ///
    /// # Panics
    /// Where a strip is shorter.
    #[inline(always)]
    pub fn down(&self, at: usize, n: usize, mut each: impl FnMut([&'a [T]; N])) {
        let strips = &self.strips[..self.rows];
        let end = at + n;
        // Two loops: what is the same for all strips is not asked at every one of them. Of 64 bytes it was most of the instructions.
        if let Some(far) = self.far {
            for strips in strips {
                for (strip, far) in strips.iter().zip(far) {
                    stream::fetch_lines::<T, false>(strip, at.wrapping_add(far), n);
                }
                each(columns(strips, at, end));
            }
        } else {
            for strips in strips {
                each(columns(strips, at, end));
            }
        }
    }
}

/// Columns `at..end` of `strips`.
#[inline(always)]
fn columns<'a, T, const N: usize>(strips: &[&'a [T]; N], at: usize, end: usize) -> [&'a [T]; N] {
    let mut columns: [&[T]; N] = [&[]; N];
    for (columns, strip) in columns.iter_mut().zip(strips) {
        *columns = &strip[at..end];
        stream::fetch_lines::<T, true>(strip, end, end - at);
    }
    columns
}

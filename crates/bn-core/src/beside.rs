//! A block that is summed while another one is mapped.

use crate::stream::{AHEAD, L2_BYTES, fetch_range};
use crate::strips::Strips;

/// Elements that are mapped while as many are summed, for one part of the lanes after the other, where not all of them stay in
/// registers. Measured.
pub const TURN: usize = 1024;

/// What is mapped is fetched from so many elements away. Measured.
const MAP_AHEAD: usize = 256;

/// A strip of each input of either block, and the ones after those that are summed.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'m, 's, T, const N: usize> {
    /// What is mapped.
    pub mapped: [&'m [T]; N],
    /// What is summed.
    pub summed: [&'s [T]; N],
    behind: [&'s [T]; N],
    near: bool,
    /// Whether what is mapped is fetched as well.
    both: bool,
}

impl<'m, 's, T: Copy, const N: usize> Beside<'m, 's, T, N> {
    /// Strip `row` of each of `own`, which is mapped, and of `next`, which is summed; `in_parts` where it is gone over once for
    /// each part of the lanes.
    #[inline(always)]
    #[must_use]
    pub fn new(own: &[Strips<'m, T>; N], next: &[Strips<'s, T>; N], row: usize, in_parts: bool) -> Self {
        // Not `map`, which is not inlined everywhere.
        let mut beside =
            Self { mapped: [&[]; N], summed: [&[]; N], behind: [&[]; N], near: false, both: !in_parts };
        for i in 0..N {
            beside.mapped[i] = own[i].strip(row);
            (beside.summed[i], beside.behind[i]) = (next[i].strip(row), next[i].strip_or_empty(row + 1));
        }
        beside.near = !in_parts && 2 * N * next[0].rows() * size_of_val(beside.summed[0]) <= L2_BYTES;
        beside
    }

    /// Asks for `n` elements of each strip, well behind element `at`. What is mapped comes into L1. So does what is summed, be it
    /// in the next strip, but only into L2 where that does not hold both blocks, so that what is mapped comes from further away
    /// as well. In parts, as where there is AVX2 only, what is summed comes into L2 alone, and what is mapped
    /// is left to the machine. Measured.
    #[inline(always)]
    pub fn fetch(&self, at: usize, n: usize) {
        let next = at + AHEAD / N;
        let len = self.summed[0].len();
        let (strips, next) = if next < len { (self.summed, next) } else { (self.behind, next - len) };
        for strip in strips {
            if self.near {
                fetch_range::<T, true>(strip, next, n);
            } else {
                fetch_range::<T, false>(strip, next, n);
            }
        }
        if self.both {
            for strip in self.mapped {
                fetch_range::<T, true>(strip, at + MAP_AHEAD, n);
            }
        }
    }
}

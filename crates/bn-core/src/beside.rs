//! The block that is summed while another one is mapped.

use crate::stream::{AHEAD, L2_BYTES, fetch_range};
use crate::strips::Strips;

/// A strip of each input of the block that is summed, and the one after it.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a, T, const N: usize> {
    here: [&'a [T]; N],
    behind: [&'a [T]; N],
    near: bool,
}

impl<'a, T: Copy, const N: usize> Beside<'a, T, N> {
    /// Strip `row` of each of `next`, and the one after it.
    #[inline(always)]
    #[must_use]
    pub fn new(next: &[Strips<'a, T>; N], row: usize) -> Self {
        // Not `map`, which is not inlined everywhere.
        let mut beside = Self { here: [&[]; N], behind: [&[]; N], near: false };
        for (i, strips) in next.iter().enumerate() {
            (beside.here[i], beside.behind[i]) = (strips.strip(row), strips.strip_or_empty(row + 1));
        }
        // The block that is mapped and the one that is summed.
        beside.near = 2 * N * next[0].rows() * size_of_val(beside.here[0]) <= L2_BYTES;
        beside
    }

    /// The strips themselves.
    #[inline(always)]
    #[must_use]
    pub fn strips(&self) -> [&'a [T]; N] {
        self.here
    }

    /// Asks for `n` elements well behind element `at`, be it in the next strip: into L1, or only into L2 where that does not
    /// hold both blocks, so that what is mapped comes from further away as well. Measured.
    #[inline(always)]
    pub fn fetch(&self, at: usize, n: usize) {
        let at = at + AHEAD / N;
        let len = self.here[0].len();
        let (strips, at) = if at < len { (self.here, at) } else { (self.behind, at - len) };
        for strip in strips {
            if self.near {
                fetch_range::<T, true>(strip, at, n);
            } else {
                fetch_range::<T, false>(strip, at, n);
            }
        }
    }
}

//! What changes the speed of a step and no bit of it, as kernels want it. The constants were measured, see
//! docs/architecture.md.

use super::Spread;
use crate::num::Real;

/// What L2 is taken to hold. Only the speed depends on it.
pub const L2_BYTES: usize = 2 << 20;

/// Outputs of more bytes than this are streamed: below, the next layer finds them in cache.
pub const STREAM_ABOVE: usize = 1 << 20;
/// The same of rows of values side by side, but under AVX-512.
pub const STREAM_ROWS_ABOVE: usize = 2 << 20;

/// What a block of long runs may occupy, in bytes, when its next block is summed meanwhile.
pub const RUN_BLOCK_BYTES: usize = 300 << 10;

/// What a sum along runs fetches meanwhile is so many elements away.
pub const RUN_AHEAD: usize = 1024;

/// How kernels of one element type want their work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Whether [`map_and_sum`](super::Kernels::map_and_sum) is better than its parts: a map of runs writes while it waits
    /// for what the sums read.
    pub overlap: bool,
    /// What a block of long runs may occupy, in bytes.
    pub run_block_bytes: usize,
    /// Outputs of more bytes than this are better written past the caches: those of runs.
    pub stream_runs_above: usize,
    /// The same of one value per feature and strip.
    pub stream_rows_above: usize,
}

impl Schedule {
    /// For kernels that ignore [`Hints`](super::Hints) and sum and map one after the other.
    pub const PLAIN: Self = Self {
        overlap: false,
        run_block_bytes: RUN_BLOCK_BYTES,
        stream_runs_above: usize::MAX,
        stream_rows_above: usize::MAX,
    };

    /// For vector kernels of T on a machine with AVX-512, or without; `overlap` says whether they have a
    /// [`map_and_sum`](super::Kernels::map_and_sum) of their own.
    #[must_use]
    pub const fn vectors<T: Real>(avx512: bool, overlap: bool) -> Self {
        // The sums of f64 wait for arithmetic, whatever the length of a strip.
        let long = !avx512 && size_of::<T>() == size_of::<f32>();
        Self {
            overlap,
            run_block_bytes: if long { 2 * RUN_BLOCK_BYTES } else { RUN_BLOCK_BYTES },
            stream_runs_above: STREAM_ABOVE,
            stream_rows_above: if avx512 { STREAM_ABOVE } else { STREAM_ROWS_ABOVE },
        }
    }

    /// Outputs of more bytes than this are written past the caches.
    #[must_use]
    pub fn stream_above(&self, spread: Spread) -> usize {
        match spread {
            Spread::Phases(_) => self.stream_rows_above,
            Spread::Run | Spread::Positions(_) => self.stream_runs_above,
        }
    }
}

//! What one call of a kernel covers, and how it may go about its memory.

use crate::tensor::Strips;

/// How the elements of a feature are spread over virtual lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Long runs: element i of a run goes to lane i mod `LANES`. The kernels walk [`Walk::Runs`].
    Run,
    /// Short runs: every position of a run is a lane, so that the kernels see one long strip and no tails.
    Positions(usize),
    /// One value to a strip: strips are dealt in turn to this many lanes; more than one where strips are short.
    Phases(usize),
}

/// How the features lie in a strip, which decides the virtual lane of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// A strip is `features` runs of `inner` values: value i of a run goes to lane i mod `T::LANES` of its
    /// feature, starting anew with every strip. `runs.rs`.
    Runs {
        /// The length of a feature's run.
        inner: usize,
    },
    /// A strip is one value per feature: each feature has a single lane, down the strips. `columns.rs`.
    Columns,
}

/// What the strips of one kernel call hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The number of features, or of virtual ones where the driver deals strips to several accumulators.
    pub features: usize,
    /// How they lie in a strip.
    pub walk: Walk,
}

/// How a map may go about its memory. It changes no bit: a kernel that ignores it is right.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a, T> {
    /// Write past the caches: the output is too large to be found there again.
    pub stream: bool,
    /// What is to be fetched into L2 meanwhile, as much of it as is written: strip by strip.
    pub next: [Option<Strips<'a, T>>; 2],
    /// Whether, where that is nothing, each input's next strip is.
    pub behind: bool,
    /// Whether only half of it is fetched, every other pair of lines: a map waits for memory, and the sums that come
    /// next compute, so that they had better wait for the other half. Pays where they go along runs and fetch ahead.
    pub sparse: bool,
}

impl<T> Hints<'_, T> {
    /// Nothing but whether to write past the caches.
    #[must_use]
    pub fn streamed(stream: bool) -> Self {
        Self { stream, next: [const { None }; 2], behind: false, sparse: false }
    }
}

impl<T> Default for Hints<'_, T> {
    fn default() -> Self {
        Self::streamed(false)
    }
}

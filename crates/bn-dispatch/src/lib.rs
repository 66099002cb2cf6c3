//! The kernels compiled for several instruction sets, the best of which is chosen at run time: what a plain
//! `cargo build` should get.
//!
//! The source is plain Rust over arrays of virtual lanes (`rows`, `lanes`, `sum`), compiled once per [`Level`]
//! under `#[target_feature]` (`entry`). Every operation is elementwise and rounded on its own, so all levels
//! give the same bits. `sink` and `stream` write large outputs past the caches.

mod entry;
mod isa;
mod lanes;
mod level;
mod rows;
mod sink;
mod stream;
mod sum;

pub use level::Level;

use bn_core::kernels::{Acc, Affine, GradAffine, Hints, Kernels, Tile};
use bn_core::strips::{Strips, StripsMut};
use bn_core::{Backend, Serial};
use entry::Entry;
use std::borrow::Cow;

/// Outputs of more bytes than this are streamed: measured, see docs/architecture.md.
const STREAM_ABOVE: usize = 4 << 20;

/// Kernels for an instruction set that this machine has, run serially.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch {
    level: Level,
}

impl Default for Dispatch {
    /// The best level of this machine, see [`Level::detect`].
    fn default() -> Self {
        Self { level: Level::detect() }
    }
}

impl Dispatch {
    /// The kernels of a level; `None` where this machine has it not.
    #[must_use]
    pub fn at(level: Level) -> Option<Self> {
        level.is_available().then_some(Self { level })
    }

    /// The level that runs.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }
}

impl<T: Entry> Kernels<T> for Dispatch {
    fn moments(&self, tile: Tile, x: Strips<'_, T>, pilot: Option<&[T]>, mut acc: Acc<'_>) {
        T::moments(self.level, tile, x, pilot, &mut acc);
    }

    fn normalize(
        &self,
        tile: Tile,
        x: Strips<'_, T>,
        affine: Affine<'_, T>,
        y: StripsMut<'_, T>,
        hints: Hints<'_, T>,
    ) {
        T::normalize(self.level, tile, x, affine, y, hints);
    }

    fn grad_sums(&self, tile: Tile, x: Strips<'_, T>, dy: Strips<'_, T>, pilot: &[T], mut acc: Acc<'_>) {
        T::grad_sums(self.level, tile, x, dy, pilot, &mut acc);
    }

    fn grad_input(
        &self,
        tile: Tile,
        x: Strips<'_, T>,
        dy: Strips<'_, T>,
        affine: GradAffine<'_, T>,
        dx: StripsMut<'_, T>,
        hints: Hints<'_, T>,
    ) {
        T::grad_input(self.level, tile, x, dy, affine, dx, hints);
    }

    fn finish(&self) {
        stream::fence();
    }

    fn stream_above(&self) -> usize {
        STREAM_ABOVE
    }
}

impl Backend for Dispatch {
    type Exec = Serial;

    fn name(&self) -> Cow<'static, str> {
        "dispatch".into()
    }
    fn exec(&self) -> &Serial {
        &Serial
    }
    fn f32(&self) -> &dyn Kernels<f32> {
        self
    }
    fn f64(&self) -> &dyn Kernels<f64> {
        self
    }
}

//! The kernels compiled for several instruction sets, the best of which is chosen at run time: what a plain
//! `cargo build` should get.
//!
//! The source is plain Rust over arrays of virtual lanes (`rows`, `lanes`, `sum`), compiled once per [`Level`]
//! under `#[target_feature]` (`entry`). Every operation is elementwise and rounded on its own, so all levels
//! give the same bits. What maps compute per cache line is in `map`.

mod entry;
mod isa;
mod lanes;
mod level;
mod map;
mod rows;
mod sum;

pub use level::{Level, LevelError};

use bn_core::{Backend, Kernels, Serial};
use std::borrow::Cow;

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

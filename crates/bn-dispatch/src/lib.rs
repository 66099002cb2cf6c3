//! The kernels compiled for several instruction sets, the best of which is chosen at run time: what a plain
//! `cargo build` should get.
//!
//! The source is plain Rust over arrays of virtual lanes (`runs`, `columns`, `sum`), compiled once per [`Level`]
//! under `#[target_feature]` (`entry`). Every operation is elementwise and rounded on its own, so all levels
//! give the same bits. The maps are those of [`bn_core::walk`].

#![warn(clippy::disallowed_methods, reason = "the order of sums and products fixes the bits")]

mod columns;
#[cfg(all(test, feature = "half"))]
mod conversions;
mod entry;
#[cfg(all(feature = "half", target_arch = "x86_64"))]
mod f16c;
mod level;
mod runs;
#[cfg(feature = "half")]
mod shifts;
#[cfg(all(feature = "half", target_arch = "x86_64"))]
mod sse2;
mod sum;

pub use level::{Level, LevelError};

use bn_core::{KernelSet, Kernels};
#[cfg(feature = "half")]
use half::{bf16, f16};
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

impl KernelSet for Dispatch {
    fn name(&self) -> Cow<'static, str> {
        "dispatch".into()
    }
    fn f32(&self) -> &dyn Kernels<f32> {
        self
    }
    fn f64(&self) -> &dyn Kernels<f64> {
        self
    }
    #[cfg(feature = "half")]
    fn f16(&self) -> Option<&dyn Kernels<f16>> {
        Some(self)
    }
    #[cfg(feature = "half")]
    fn bf16(&self) -> Option<&dyn Kernels<bf16>> {
        Some(self)
    }
    #[inline(always)]
    fn vectorize<R>(&self, work: impl FnOnce() -> R) -> R {
        entry::vectorize(self.level, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_once_and_alike_at_every_level() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i).sqrt()).collect();
        // A fused multiply-add would give other bits.
        let want: Vec<f64> = values.iter().map(|v| std::hint::black_box(v * 0.1) + v).collect();
        for dispatch in Level::ALL.into_iter().filter_map(Dispatch::at) {
            let mut calls = 0;
            let got: Vec<f64> = dispatch.vectorize(|| {
                calls += 1;
                values.iter().map(|v| v * 0.1 + v).collect()
            });
            assert_eq!((calls, &got), (1, &want), "{}", dispatch.level());
        }
    }
}

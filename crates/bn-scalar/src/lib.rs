//! The kernels in plain Rust: the reference to read before the others.
//!
//! `runs` has a feature's values side by side, `columns` one value per feature; the virtual lanes are arrays or
//! slices that the compiler vectorizes as far as the build's instruction set goes. What is summed and mapped how stands
//! in [`bn_core::kernel`]; `sum` spells the sums out for each element type, `map` the maps.

#![warn(clippy::disallowed_methods, reason = "the order of sums and products fixes the bits")]

mod columns;
mod map;
mod runs;
mod sum;

use bn_core::kernel::{Acc, Fetch, Hints, Kernels, Map, Out, Sum, Tile, Walk};
use bn_core::{KernelSet, Real};
use std::borrow::Cow;
use sum::Summand;

/// Scalar kernels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalar;

impl<T: Summand> Kernels<T> for Scalar {
    fn sum(&self, tile: Tile, sum: &Sum<'_, T>, _: Fetch, acc: Acc<'_>) {
        match tile.walk {
            Walk::Runs { inner } if T::LANES == f32::LANES => {
                runs::sum::<T, { f32::LANES }>(inner, sum, acc);
            }
            Walk::Runs { inner } => runs::sum::<T, { f64::LANES }>(inner, sum, acc),
            Walk::Columns => columns::sum(sum, acc),
        }
    }

    fn map(&self, tile: Tile, map: &Map<'_, T>, out: Out<'_, T>, _: Hints<'_, T>) {
        let Out::Fresh(out) = out;
        match tile.walk {
            Walk::Runs { inner } => runs::map(inner, map, out),
            Walk::Columns => columns::map(map, out),
        }
    }
}

impl KernelSet for Scalar {
    fn name(&self) -> Cow<'static, str> {
        "scalar".into()
    }
    fn f32(&self) -> &dyn Kernels<f32> {
        self
    }
    fn f64(&self) -> &dyn Kernels<f64> {
        self
    }
}

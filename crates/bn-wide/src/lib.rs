//! The kernels on the portable vectors of [`wide`].
//!
//! `wide` takes its instruction set from the build's target: a plain x86-64 build gets SSE2, one with
//! `-C target-cpu=native` what the machine has. The virtual lanes and their order are those of every backend
//! (see [`bn_core::kernel`]); `wide`'s own sums are not used, since their order depends on the
//! instruction set, and of its fused operations one, where the product is exact: Σx² and Σdy·x of f32.

#![warn(clippy::disallowed_methods, reason = "the order of sums and products fixes the bits")]

mod columns;
mod runs;
mod sum;
mod vector;

use bn_core::kernel::{
    Acc, Fetch, Form, Hints, Kernels, Map, Out, Sum, Tile, Turns, Units, Walk, map_then_sum,
};
use bn_core::mem::{Built, LINE};
use bn_core::walk::{self, Same};
use bn_core::{KernelSet, Real};
use runs::Paired;
use std::borrow::Cow;
use sum::VECTORS;
use vector::Item;

/// Kernels on `wide`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wide;

macro_rules! kernels {
    ($t:ident, $vector:ty, turns: $turns:expr, $($pairs:item)?) => {
        impl Kernels<$t> for Wide {
            fn sum(&self, tile: Tile, sum: &Sum<'_, $t>, fetch: Fetch, mut acc: Acc<'_>) {
                match tile.walk {
                    Walk::Runs { inner } => {
                        runs::sum::<$t, { $t::LANES / 8 }, { at_a_time::<$t>() }>(inner, sum, fetch, &mut acc)
                    }
                    Walk::Columns => columns::sum(sum, fetch, &mut acc),
                }
            }

            fn map(&self, tile: Tile, map: &Map<'_, $t>, out: Out<'_, $t>, hints: Hints<'_, $t>) {
                if map.is_plain() {
                    walk::map::<$t, $vector, { LINE / size_of::<$t>() }, { LINE / size_of::<$t>() }, _, true>(tile, map, out, hints, Same, Built::default);
                } else {
                    walk::map::<$t, $vector, { LINE / size_of::<$t>() }, { LINE / size_of::<$t>() }, _, false>(tile, map, out, hints, Same, Built::default);
                }
            }

            fn form(&self) -> Form {
                Form { name: "wide", follows: true, turns: $turns }
            }
            $($pairs)?
        }
    };
}

kernels!(f64, vector::Simd<wide::f64x8>, turns: false,);
kernels!(
    f32,
    vector::Simd<wide::f32x16>,
    turns: REGISTERS,
    fn map_and_sum(
        &self,
        tile: Tile,
        map: &Map<'_, f32>,
        out: Out<'_, f32>,
        next: &Sum<'_, f32>,
        turns: Turns,
        mut units: Units<'_>,
    ) {
        match tile.walk {
            Walk::Runs { inner } if REGISTERS && walk::take_turns(map, next) => {
                walk::map_and_sum::<f32, vector::Simd<wide::f32x16>, Same, Paired<PAIRED, false>, Paired<PAIRED, true>, { 8 * PAIRED }, 16, 16, { PAIRED / 2 }, _>(
                    inner,
                    map,
                    out,
                    &Built::default(),
                    Same,
                    (next, turns),
                    &mut units,
                );
            }
            _ => map_then_sum(self, tile, map, out, next, units),
        }
    }
);

/// Whether the map of a cache line goes with as many elements of a sum that stays in registers: with fewer, lanes are stored at every
/// step, and those stores wait for the ones past the caches.
const REGISTERS: bool = VECTORS >= 2;

/// Vectors that are summed at a time in turns with a map; two, of which nothing is made, where there are no registers.
const PAIRED: usize = if REGISTERS { VECTORS } else { 2 };

/// Of a feature's vectors of lanes, those that are summed at a time.
const fn at_a_time<T: Item>() -> usize {
    let all = T::LANES / 8;
    if all < VECTORS { all } else { VECTORS }
}

impl KernelSet for Wide {
    fn name(&self) -> Cow<'static, str> {
        "wide".into()
    }
    fn f32(&self) -> &dyn Kernels<f32> {
        self
    }
    fn f64(&self) -> &dyn Kernels<f64> {
        self
    }
}

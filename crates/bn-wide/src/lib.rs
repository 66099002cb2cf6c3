//! The four kernels on the portable vectors of [`wide`].
//!
//! `wide` takes its instruction set from the build's target: a plain x86-64 build gets SSE2, one with
//! `-C target-cpu=native` what the machine has. The virtual lanes and their order are those of every backend
//! (see [`bn_core::kernels`]); `wide`'s own sums are not used, since their order depends on the
//! instruction set, and of its fused operations one, where the product is exact: Σx² and Σdy·x of f32.

mod lanes;
mod map;
mod rows;
mod sum;

use bn_core::kernels::{self, Acc, Affine, Fetch, GradAffine, Hints, Kernels, Tile, Walk};
use bn_core::plan::{RUN_BLOCK_BYTES, Spread};
use bn_core::stream;
use bn_core::strips::{Strips, StripsMut};
use bn_core::{Backend, Real, Serial};
use std::borrow::Cow;
use sum::VECTORS;

/// Kernels on `wide`, run serially.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wide;

macro_rules! kernels {
    ($t:ident, $($pairs:item),*) => {
        impl Kernels<$t> for Wide {
            fn moments(&self, tile: Tile, x: Strips<'_, $t>, pilot: Option<&[$t]>, mut acc: Acc<'_>) {
                match tile.walk {
                    // Not a variable: a branch in the loop costs registers.
                    Walk::Rows { inner } if tile.fetch == Fetch::Far => {
                        rows::moments::<$t, { $t::LANES / 8 }, { at_a_time::<$t>() }, true>(inner, x, pilot, &mut acc)
                    }
                    Walk::Rows { inner } => {
                        rows::moments::<$t, { $t::LANES / 8 }, { at_a_time::<$t>() }, false>(inner, x, pilot, &mut acc)
                    }
                    Walk::Lanes => lanes::moments(x, pilot, tile.fetch, &mut acc),
                }
            }

            fn normalize(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                affine: Affine<'_, $t>,
                y: StripsMut<'_, $t>,
                hints: Hints<'_, $t>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => {
                        rows::normalize::<$t, { stream::LINE / size_of::<$t>() }>(inner, x, affine, y, hints)
                    }
                    Walk::Lanes => {
                        lanes::normalize::<$t, { stream::LINE / size_of::<$t>() }>(x, affine, y, hints)
                    }
                }
            }

            fn grad_sums(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                dy: Strips<'_, $t>,
                pilot: Option<&[$t]>,
                mut acc: Acc<'_>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => {
                        rows::grad_sums::<$t, { $t::LANES / 8 }, { at_a_time::<$t>() }>(inner, x, dy, pilot, &mut acc)
                    }
                    Walk::Lanes => lanes::grad_sums(x, dy, pilot, tile.fetch, &mut acc),
                }
            }

            fn grad_input(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                dy: Strips<'_, $t>,
                affine: GradAffine<'_, $t>,
                dx: StripsMut<'_, $t>,
                hints: Hints<'_, $t>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => rows::grad_input::<$t, { stream::LINE / size_of::<$t>() }>(
                        inner, x, dy, affine, dx, hints,
                    ),
                    Walk::Lanes => {
                        lanes::grad_input::<$t, { stream::LINE / size_of::<$t>() }>(x, dy, affine, dx, hints)
                    }
                }
            }

            fn stream_above(&self, spread: Spread) -> usize {
                match spread {
                    Spread::Phases(_) if !AVX512 => stream::ROWS_ABOVE,
                    _ => stream::ABOVE,
                }
            }
            $($pairs)*
        }
    };
}

kernels!(f64,);
kernels!(
    f32,
    fn normalize_and_moments(
        &self,
        tile: Tile,
        x: Strips<'_, f32>,
        affine: Affine<'_, f32>,
        y: StripsMut<'_, f32>,
        next: Strips<'_, f32>,
        mut acc: Acc<'_>,
    ) {
        match tile.walk {
            Walk::Rows { inner } if REGISTERS => {
                rows::normalize_and_moments::<f32, 4, PAIRED, 16, { PAIRED / 2 }>(
                    inner, x, affine, y, next, &mut acc,
                );
            }
            _ => kernels::normalize_then_moments(self, tile, x, affine, y, next, acc),
        }
    },
    fn grad_input_and_sums(
        &self,
        tile: Tile,
        inputs: [Strips<'_, f32>; 2],
        affine: GradAffine<'_, f32>,
        dx: StripsMut<'_, f32>,
        next: [Strips<'_, f32>; 2],
        mut acc: Acc<'_>,
    ) {
        match tile.walk {
            Walk::Rows { inner } if REGISTERS => {
                rows::grad_input_and_sums::<f32, 4, PAIRED, 16, { PAIRED / 2 }>(
                    inner, inputs, affine, dx, next, &mut acc,
                );
            }
            _ => kernels::grad_input_then_sums(self, tile, inputs, affine, dx, next, acc),
        }
    },
    fn overlaps(&self) -> bool {
        REGISTERS
    },
    fn run_block_bytes(&self) -> usize {
        if AVX512 { RUN_BLOCK_BYTES } else { 2 * RUN_BLOCK_BYTES }
    }
);

/// Whether the build's target has AVX-512, with which memory is gone about in another way. Measured.
const AVX512: bool = cfg!(target_feature = "avx512f");

/// Whether the map of a cache line goes with as many elements of a sum that stays in registers: with fewer, lanes are stored at every
/// step, and those stores wait for the ones past the caches.
const REGISTERS: bool = VECTORS >= 2;

/// Vectors that are summed at a time in turns with a map; two, of which nothing is made, where there are no registers.
const PAIRED: usize = if REGISTERS { VECTORS } else { 2 };

/// Of a feature's vectors of lanes, those that are summed at a time.
const fn at_a_time<T: Real>() -> usize {
    let all = T::LANES / 8;
    if all < VECTORS { all } else { VECTORS }
}

impl Backend for Wide {
    type Exec = Serial;

    fn name(&self) -> Cow<'static, str> {
        "wide".into()
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

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

use bn_core::kernels::{Acc, Affine, GradAffine, Hints, Kernels, Tile, Walk};
use bn_core::stream;
use bn_core::strips::{Strips, StripsMut};
use bn_core::{Backend, Real, Serial};
use std::borrow::Cow;

/// Kernels on `wide`, run serially.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wide;

macro_rules! kernels {
    ($t:ident) => {
        impl Kernels<$t> for Wide {
            fn moments(&self, tile: Tile, x: Strips<'_, $t>, pilot: Option<&[$t]>, mut acc: Acc<'_>) {
                match tile.walk {
                    // Not a variable: a branch in the loop costs registers.
                    Walk::Rows { inner } if tile.far => {
                        rows::moments::<$t, { $t::LANES / 8 }, true>(inner, x, pilot, &mut acc)
                    }
                    Walk::Rows { inner } => {
                        rows::moments::<$t, { $t::LANES / 8 }, false>(inner, x, pilot, &mut acc)
                    }
                    Walk::Lanes => lanes::moments(x, pilot, tile.far, &mut acc),
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
                        rows::grad_sums::<$t, { $t::LANES / 8 }>(inner, x, dy, pilot, &mut acc)
                    }
                    Walk::Lanes => lanes::grad_sums(x, dy, pilot, tile.far, &mut acc),
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

            fn stream_above(&self) -> usize {
                stream::ABOVE
            }
        }
    };
}

kernels!(f32);
kernels!(f64);

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

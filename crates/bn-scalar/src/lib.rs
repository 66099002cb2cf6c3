//! The four kernels in plain Rust: the reference to read before the others.
//!
//! `rows` has a feature's values side by side, `lanes` one value per feature; the virtual lanes are arrays or
//! slices that the compiler vectorizes as far as the build's instruction set goes. What is summed how stands
//! in [`bn_core::kernels`]; `sum` spells it out for each element type.

mod lanes;
mod rows;
mod sum;

use bn_core::kernels::{Acc, Affine, GradAffine, Hints, Kernels, Tile, Walk};
use bn_core::strips::{Strips, StripsMut};
use bn_core::{Backend, Real, Serial};
use std::borrow::Cow;

/// Scalar kernels, run serially.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalar;

macro_rules! kernels {
    ($t:ident) => {
        impl Kernels<$t> for Scalar {
            fn moments(&self, tile: Tile, x: Strips<'_, $t>, pilot: Option<&[$t]>, acc: Acc<'_>) {
                match tile.walk {
                    Walk::Rows { inner } => rows::moments::<$t, { $t::LANES }>(inner, x, pilot, acc),
                    Walk::Lanes => lanes::moments(x, pilot, acc),
                }
            }

            fn normalize(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                affine: Affine<'_, $t>,
                y: StripsMut<'_, $t>,
                _: Hints<'_, $t>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => rows::normalize(inner, x, affine, y),
                    Walk::Lanes => lanes::normalize(x, affine, y),
                }
            }

            fn grad_sums(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                dy: Strips<'_, $t>,
                pilot: Option<&[$t]>,
                acc: Acc<'_>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => rows::grad_sums::<$t, { $t::LANES }>(inner, x, dy, pilot, acc),
                    Walk::Lanes => lanes::grad_sums(x, dy, pilot, acc),
                }
            }

            fn grad_input(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                dy: Strips<'_, $t>,
                affine: GradAffine<'_, $t>,
                dx: StripsMut<'_, $t>,
                _: Hints<'_, $t>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => rows::grad_input(inner, x, dy, affine, dx),
                    Walk::Lanes => lanes::grad_input(x, dy, affine, dx),
                }
            }
        }
    };
}

kernels!(f32);
kernels!(f64);

impl Backend for Scalar {
    type Exec = Serial;

    fn name(&self) -> Cow<'static, str> {
        "scalar".into()
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

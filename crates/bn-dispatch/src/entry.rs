//! The doors into the kernels: one set of functions per instruction set, entered where [`Level`] says that the
//! machine has it.

#![allow(
    unsafe_code,
    reason = "a function compiled for an instruction set is unsafe to enter from one that is not"
)]

use crate::isa;
use crate::level::Level;
use crate::{Dispatch, lanes, rows};
use bn_core::kernels::{self, Acc, Affine, Fetch, GradAffine, Hints, Kernels, Tile, Walk};
use bn_core::plan::{RUN_BLOCK_BYTES, Spread};
use bn_core::stream::{self, Stores};
use bn_core::strips::{Strips, StripsMut};

/// The four kernels of one element type under one instruction set.
macro_rules! functions {
    ($module:ident, $t:ty, $isa:ty, line: $line:expr, stores: $stores:expr, rows: $rows:expr, lanes: $lanes:expr, $(#[$target:meta])?) => {
        mod $module {
            use super::*;

            $(#[$target])?
            #[inline]
            pub(super) fn stores() -> Stores<{ $stores }> {
                // SAFETY: the functions of this module are entered where the machine has their instruction set.
                unsafe { Stores::detected() }
            }

            $(#[$target])?
            pub(super) fn moments(tile: Tile, x: Strips<'_, $t>, pilot: Option<&[$t]>, acc: &mut Acc<'_>) {
                match tile.walk {
                    // Not a variable: a branch in the loop costs registers.
                    Walk::Rows { inner } if tile.fetch == Fetch::Far => rows::moments::<$t, $isa, { $rows }, true>(inner, x, pilot, acc),
                    Walk::Rows { inner } => rows::moments::<$t, $isa, { $rows }, false>(inner, x, pilot, acc),
                    Walk::Lanes => lanes::moments::<$t, $isa, { $lanes }>(x, pilot, tile.fetch, acc),
                }
            }

            $(#[$target])?
            pub(super) fn normalize(
                tile: Tile,
                x: Strips<'_, $t>,
                affine: Affine<'_, $t>,
                y: StripsMut<'_, $t>,
                hints: Hints<'_, $t>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => rows::normalize::<$t, { $line }, { $stores }>(inner, x, affine, y, hints, #[inline(always)] || stores()),
                    Walk::Lanes => lanes::normalize::<$t, { $line }, { $stores }>(x, affine, y, hints, #[inline(always)] || stores()),
                }
            }

            $(#[$target])?
            pub(super) fn grad_sums(
                tile: Tile,
                x: Strips<'_, $t>,
                dy: Strips<'_, $t>,
                pilot: Option<&[$t]>,
                acc: &mut Acc<'_>,
            ) {
                match tile.walk {
                    // The sums of f64 wait for arithmetic, not for memory.
                    Walk::Rows { inner } if tile.fetch == Fetch::Far && size_of::<$t>() == size_of::<f32>() => rows::grad_sums::<$t, $isa, { $rows }, true>(inner, x, dy, pilot, acc),
                    Walk::Rows { inner } => rows::grad_sums::<$t, $isa, { $rows }, false>(inner, x, dy, pilot, acc),
                    Walk::Lanes => lanes::grad_sums::<$t, $isa, { $lanes }>(x, dy, pilot, tile.fetch, acc),
                }
            }

            $(#[$target])?
            pub(super) fn grad_input(
                tile: Tile,
                x: Strips<'_, $t>,
                dy: Strips<'_, $t>,
                affine: GradAffine<'_, $t>,
                dx: StripsMut<'_, $t>,
                hints: Hints<'_, $t>,
            ) {
                match tile.walk {
                    Walk::Rows { inner } => rows::grad_input::<$t, { $line }, { $stores }>(inner, x, dy, affine, dx, hints, #[inline(always)] || stores()),
                    Walk::Lanes => lanes::grad_input::<$t, { $line }, { $stores }>(x, dy, affine, dx, hints, #[inline(always)] || stores()),
                }
            }
        }
    };
}

functions!(f32_baseline, f32, isa::Baseline, line: 16, stores: 16, rows: 8, lanes: 8,);
functions!(f64_baseline, f64, isa::Baseline, line: 8, stores: 16, rows: 4, lanes: 4,);
#[cfg(target_arch = "x86_64")]
functions!(f32_avx2, f32, isa::Avx2, line: 16, stores: 32, rows: 16, lanes: 16, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
functions!(f64_avx2, f64, isa::Avx2, line: 8, stores: 32, rows: 4, lanes: 8, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
functions!(f32_avx512, f32, isa::Avx512, line: 16, stores: 64, rows: 32, lanes: 32, #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]);
#[cfg(target_arch = "x86_64")]
functions!(f64_avx512, f64, isa::Avx512, line: 8, stores: 64, rows: 8, lanes: 16, #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]);

/// Two kernels in turns, where there are registers for half of a feature's lanes, at least, and for a map.
#[cfg(target_arch = "x86_64")]
macro_rules! pairs {
    ($module:ident, $of:ident, $isa:ty, rows: $rows:expr, stores: $stores:expr, #[$target:meta]) => {
        mod $module {
            use super::$of::stores;
            use super::*;

            #[$target]
            pub(super) fn normalize_and_moments(
                inner: usize,
                x: Strips<'_, f32>,
                affine: Affine<'_, f32>,
                y: StripsMut<'_, f32>,
                next: Strips<'_, f32>,
                acc: &mut Acc<'_>,
            ) {
                rows::normalize_and_moments::<f32, $isa, { $rows }, { $stores }>(
                    inner,
                    x,
                    affine,
                    y,
                    &stores(),
                    next,
                    acc,
                );
            }

            #[$target]
            pub(super) fn grad_input_and_sums(
                inner: usize,
                inputs: [Strips<'_, f32>; 2],
                affine: GradAffine<'_, f32>,
                dx: StripsMut<'_, f32>,
                next: [Strips<'_, f32>; 2],
                acc: &mut Acc<'_>,
            ) {
                rows::grad_input_and_sums::<f32, $isa, { $rows }, { $stores }>(
                    inner,
                    inputs,
                    affine,
                    dx,
                    &stores(),
                    next,
                    acc,
                );
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pairs!(f32_avx2_pairs, f32_avx2, isa::Avx2, rows: 16, stores: 32, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
pairs!(f32_avx512_pairs, f32_avx512, isa::Avx512, rows: 32, stores: 64, #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]);

/// Enters a function of the level's module.
macro_rules! enter {
    ($level:expr, $function:ident, [$baseline:ident, $avx2:ident, $avx512:ident], $($arg:expr),*) => {
        match $level {
            // SAFETY: `Dispatch` holds only levels that this machine was asked about and has.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { $avx512::$function($($arg),*) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { $avx2::$function($($arg),*) },
            _ => $baseline::$function($($arg),*),
        }
    };
}

/// `work`, compiled for an instruction set.
macro_rules! any {
    ($module:ident, $(#[$target:meta])?) => {
        mod $module {
            $(#[$target])?
            pub(super) fn vectorize<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
        }
    };
}

any!(baseline,);
#[cfg(target_arch = "x86_64")]
any!(avx2, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
any!(avx512, #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]);

/// Runs `work` with the instructions of the level.
#[inline(always)]
pub(crate) fn vectorize<R>(level: Level, work: impl FnOnce() -> R) -> R {
    enter!(level, vectorize, [baseline, avx2, avx512], work)
}

macro_rules! kernels {
    ($t:ty, $modules:tt, $($pairs:item),*) => {
        impl Kernels<$t> for Dispatch {
            fn moments(&self, tile: Tile, x: Strips<'_, $t>, pilot: Option<&[$t]>, mut acc: Acc<'_>) {
                enter!(self.level(), moments, $modules, tile, x, pilot, &mut acc);
            }
            fn normalize(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                affine: Affine<'_, $t>,
                y: StripsMut<'_, $t>,
                hints: Hints<'_, $t>,
            ) {
                enter!(self.level(), normalize, $modules, tile, x, affine, y, hints);
            }
            fn grad_sums(
                &self,
                tile: Tile,
                x: Strips<'_, $t>,
                dy: Strips<'_, $t>,
                pilot: Option<&[$t]>,
                mut acc: Acc<'_>,
            ) {
                enter!(self.level(), grad_sums, $modules, tile, x, dy, pilot, &mut acc);
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
                enter!(self.level(), grad_input, $modules, tile, x, dy, affine, dx, hints);
            }
            fn stream_above(&self, spread: Spread) -> usize {
                match spread {
                    Spread::Phases(_) if self.level() != Level::Avx512 => stream::ROWS_ABOVE,
                    _ => stream::ABOVE,
                }
            }
            $($pairs)*
        }
    };
}

kernels!(f64, [f64_baseline, f64_avx2, f64_avx512],);
kernels!(
    f32,
    [f32_baseline, f32_avx2, f32_avx512],
    fn normalize_and_moments(
        &self,
        tile: Tile,
        x: Strips<'_, f32>,
        affine: Affine<'_, f32>,
        y: StripsMut<'_, f32>,
        next: Strips<'_, f32>,
        mut acc: Acc<'_>,
    ) {
        match (self.level(), tile.walk) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, Walk::Rows { inner }) => {
                // SAFETY: as in `enter`.
                unsafe { f32_avx512_pairs::normalize_and_moments(inner, x, affine, y, next, &mut acc) }
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Walk::Rows { inner }) => {
                // SAFETY: as in `enter`.
                unsafe { f32_avx2_pairs::normalize_and_moments(inner, x, affine, y, next, &mut acc) }
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
        match (self.level(), tile.walk) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, Walk::Rows { inner }) => {
                // SAFETY: as in `enter`.
                unsafe { f32_avx512_pairs::grad_input_and_sums(inner, inputs, affine, dx, next, &mut acc) }
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Walk::Rows { inner }) => {
                // SAFETY: as in `enter`.
                unsafe { f32_avx2_pairs::grad_input_and_sums(inner, inputs, affine, dx, next, &mut acc) }
            }
            _ => kernels::grad_input_then_sums(self, tile, inputs, affine, dx, next, acc),
        }
    },
    fn overlaps(&self) -> bool {
        self.level() != Level::Baseline
    },
    fn run_block_bytes(&self) -> usize {
        if self.level() == Level::Avx512 { RUN_BLOCK_BYTES } else { 2 * RUN_BLOCK_BYTES }
    }
);

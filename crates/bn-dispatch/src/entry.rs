//! The doors into the kernels: one set of functions per instruction set, entered where [`Level`] says that the
//! machine has it.

#![allow(
    unsafe_code,
    reason = "a function compiled for an instruction set is unsafe to enter from one that is not"
)]

#[cfg(all(feature = "half", target_arch = "x86_64"))]
use crate::f16c::F16c;
use crate::level::Level;
use crate::runs::Paired;
#[cfg(feature = "half")]
use crate::shifts::Shifts;
#[cfg(all(feature = "half", target_arch = "x86_64"))]
use crate::sse2::Sse2 as Basic;
use crate::sum::Door;
use crate::sum::{Passed, Pilot, Term, Zero};
use crate::{Dispatch, columns, runs};
use bn_core::Element;
use bn_core::kernel::{
    Acc, Cache, Fetch, Form, Hints, Kernels, Map, Out, Sum, Tile, Turns, Units, Walk, map_then_sum,
};
use bn_core::mem::Stores;
use bn_core::tensor::Strips;
#[cfg(all(feature = "half", not(target_arch = "x86_64")))]
use bn_core::walk::Plain as Basic;
use bn_core::walk::{self, Chunk, Same};
#[cfg(feature = "half")]
use half::{bf16, f16};

/// The kernels of one element type under one instruction set, and how that converts elements. Its numbers: elements of a vector and of a cache
/// line; bytes of a streaming store; lanes of runs and of columns that its registers hold.
macro_rules! functions {
    ($module:ident, $t:ty, by: $by:expr, fused: $fused:expr, vector: $vector:expr, line: $line:expr, stores: $stores:expr, runs: $runs:expr, columns: $columns:expr, $(#[$target:meta])?) => {
        mod $module {
            use super::*;

            $(#[$target])?
            #[inline]
            pub(super) fn stores() -> Stores<{ $stores }> {
                // SAFETY: the functions of this module are entered where the machine has their instruction set.
                unsafe { Stores::detected() }
            }

            $(#[$target])?
            pub(super) fn sum(tile: Tile, sum: &Sum<'_, $t>, fetch: Fetch, acc: &mut Acc<'_>) {
                match (tile.walk, *sum) {
                    // Into which cache is not a variable: a branch in the loop costs registers.
                    (Walk::Runs { inner }, Sum::Moments { x, pilot: None }) if fetch.ahead.into == Cache::L2 => {
                        sum_runs::<_, 1, true>(inner, &[x], Zero::<$fused>, fetch, acc)
                    }
                    (Walk::Runs { inner }, Sum::Moments { x, pilot: None }) => {
                        sum_runs::<_, 1, false>(inner, &[x], Zero::<$fused>, fetch, acc)
                    }
                    (Walk::Runs { inner }, Sum::Moments { x, pilot: Some(pilot) }) => {
                        sum_runs::<_, 1, false>(inner, &[x], Pilot(pilot), fetch, acc)
                    }
                    (Walk::Runs { inner }, Sum::Grads { x, dy, pilot: None, gate: None }) if fetch.ahead.into == Cache::L2 => {
                        sum_runs::<_, 2, true>(inner, &[x, dy], Zero::<$fused>, fetch, acc)
                    }
                    (Walk::Runs { inner }, Sum::Grads { x, dy, pilot: None, gate: None }) => {
                        sum_runs::<_, 2, false>(inner, &[x, dy], Zero::<$fused>, fetch, acc)
                    }
                    (Walk::Runs { inner }, Sum::Grads { x, dy, pilot: Some(pilot), gate: None }) => {
                        sum_runs::<_, 2, false>(inner, &[x, dy], Pilot(pilot), fetch, acc)
                    }
                    (Walk::Runs { inner }, Sum::Grads { x, dy, pilot: None, gate: Some(gate) }) => {
                        sum_runs::<_, 2, false>(inner, &[x, dy], Passed::<_, _, false>(Zero::<$fused>, gate), fetch, acc)
                    }
                    (Walk::Runs { inner }, Sum::Grads { x, dy, pilot: Some(pilot), gate: Some(gate) }) => {
                        sum_runs::<_, 2, false>(inner, &[x, dy], Passed::<_, _, false>(Pilot(pilot), gate), fetch, acc)
                    }
                    (Walk::Columns, Sum::Moments { x, pilot: None }) => sum_columns(&[x], Zero::<$fused>, fetch, acc),
                    (Walk::Columns, Sum::Moments { x, pilot: Some(pilot) }) => sum_columns(&[x], Pilot(pilot), fetch, acc),
                    (Walk::Columns, Sum::Grads { x, dy, pilot: None, gate: None }) => sum_columns(&[x, dy], Zero::<$fused>, fetch, acc),
                    (Walk::Columns, Sum::Grads { x, dy, pilot: Some(pilot), gate: None }) => sum_columns(&[x, dy], Pilot(pilot), fetch, acc),
                    (Walk::Columns, Sum::Grads { x, dy, pilot: None, gate: Some(gate) }) => sum_columns(&[x, dy], Passed::<_, _, false>(Zero::<$fused>, gate), fetch, acc),
                    (Walk::Columns, Sum::Grads { x, dy, pilot: Some(pilot), gate: Some(gate) }) => sum_columns(&[x, dy], Passed::<_, _, false>(Pilot(pilot), gate), fetch, acc),
                }
            }

            // Functions of their own: the compiler's time grows faster than what it is given at once.
            $(#[$target])?
            #[inline(never)]
            fn sum_runs<S: Term<<$t as Element>::Compute>, const N: usize, const INTO_L2: bool>(
                inner: usize,
                inputs: &[Strips<'_, $t>; N],
                term: S,
                fetch: Fetch,
                acc: &mut Acc<'_>,
            ) {
                runs::sum::<$t, S, { $runs }, N, INTO_L2>(inner, inputs, term, fetch.ahead, $by, acc);
            }

            $(#[$target])?
            #[inline(never)]
            fn sum_columns<S: Term<<$t as Element>::Compute>, const N: usize>(
                inputs: &[Strips<'_, $t>; N],
                term: S,
                fetch: Fetch,
                acc: &mut Acc<'_>,
            ) {
                columns::sum::<$t, S, { $columns }, N>(inputs, term, fetch, $by, acc);
            }

            $(#[$target])?
            pub(super) fn map(tile: Tile, map: &Map<'_, $t>, out: Out<'_, $t>, hints: Hints<'_, $t>) {
                if !map.is_plain() {
                    return other_map(tile, map, out, hints);
                }
                walk::map::<$t, Chunk<<$t as Element>::Compute, { $vector }>, { $vector }, { $line }, { $stores }, true>(
                    tile, map, out, hints, $by, #[inline(always)] || stores(),
                );
            }

            $(#[$target])?
            #[inline(never)]
            fn other_map(tile: Tile, map: &Map<'_, $t>, out: Out<'_, $t>, hints: Hints<'_, $t>) {
                walk::map::<$t, Chunk<<$t as Element>::Compute, { $vector }>, { $vector }, { $line }, { $stores }, false>(
                    tile, map, out, hints, $by, #[inline(always)] || stores(),
                );
            }
        }
    };
}

functions!(f32_baseline, f32, by: Same, fused: false, vector: 16, line: 16, stores: 16, runs: 8, columns: 8,);
functions!(f64_baseline, f64, by: Same, fused: false, vector: 8, line: 8, stores: 16, runs: 4, columns: 4,);
#[cfg(target_arch = "x86_64")]
functions!(
    f32_avx2, f32, by: Same, fused: true, vector: 16, line: 16, stores: 32, runs: 16, columns: 16,
    #[target_feature(enable = "avx2,fma,f16c")]
);
#[cfg(target_arch = "x86_64")]
functions!(
    f64_avx2, f64, by: Same, fused: true, vector: 8, line: 8, stores: 32, runs: 4, columns: 8,
    #[target_feature(enable = "avx2,fma,f16c")]
);
#[cfg(target_arch = "x86_64")]
functions!(
    f32_avx512, f32, by: Same, fused: true, vector: 16, line: 16, stores: 64, runs: 32, columns: 32,
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
);
#[cfg(target_arch = "x86_64")]
functions!(
    f64_avx512, f64, by: Same, fused: true, vector: 8, line: 8, stores: 64, runs: 8, columns: 16,
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
);

#[cfg(feature = "half")]
functions!(bf16_baseline, bf16, by: Shifts::<false>, fused: false, vector: 16, line: 32, stores: 16, runs: 8, columns: 8,);
#[cfg(feature = "half")]
functions!(f16_baseline, f16, by: Basic, fused: false, vector: 8, line: 32, stores: 16, runs: 8, columns: 8,);
#[cfg(all(feature = "half", target_arch = "x86_64"))]
functions!(
    bf16_avx2, bf16, by: Shifts::<true>, fused: true, vector: 32, line: 32, stores: 32, runs: 16, columns: 16,
    #[target_feature(enable = "avx2,fma,f16c")]
);
#[cfg(all(feature = "half", target_arch = "x86_64"))]
functions!(
    f16_avx2, f16,
    // SAFETY: the functions of this module are entered where the machine has their instruction set.
    by: unsafe { F16c::<32>::detected() },
    fused: true, vector: 32, line: 32, stores: 32, runs: 16, columns: 16,
    #[target_feature(enable = "avx2,fma,f16c")]
);
#[cfg(all(feature = "half", target_arch = "x86_64"))]
functions!(
    bf16_avx512, bf16, by: Shifts::<false>, fused: true, vector: 32, line: 32, stores: 64, runs: 32, columns: 32,
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
);
#[cfg(all(feature = "half", target_arch = "x86_64"))]
functions!(
    f16_avx512, f16,
    // SAFETY: likewise.
    by: unsafe { F16c::<64>::detected() },
    fused: true, vector: 16, line: 32, stores: 64, runs: 32, columns: 32,
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
);

/// A map and a sum in turns, where there are registers for half of a feature's lanes, at least, and for a map.
#[cfg(target_arch = "x86_64")]
macro_rules! pairs {
    ($module:ident, $of:ident, $t:ty, by: $by:expr, vector: $vector:expr, line: $line:expr, lines: $lines:expr, runs: $runs:expr, stores: $stores:expr, #[$target:meta]) => {
        mod $module {
            use super::$of::stores;
            use super::*;

            #[$target]
            pub(super) fn map_and_sum(
                inner: usize,
                map: &Map<'_, $t>,
                out: Out<'_, $t>,
                next: &Sum<'_, $t>,
                turns: Turns,
                units: &mut Units<'_>,
            ) {
                walk::map_and_sum::<
                    $t,
                    Chunk<f32, { $vector }>,
                    _,
                    Paired<(), { $runs }>,
                    Paired<Door<f32>, { $runs }>,
                    { $runs },
                    { $vector },
                    { $line },
                    { $lines },
                    { $stores },
                >(inner, map, out, &stores(), $by, (next, turns), units);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pairs!(f32_avx2_pairs, f32_avx2, f32, by: Same, vector: 16, line: 16, lines: 1, runs: 16, stores: 32, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(target_arch = "x86_64")]
pairs!(f32_avx512_pairs, f32_avx512, f32, by: Same, vector: 16, line: 16, lines: 2, runs: 32, stores: 64, #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]);

#[cfg(all(feature = "half", target_arch = "x86_64"))]
pairs!(bf16_avx2_pairs, bf16_avx2, bf16, by: Shifts::<true>, vector: 32, line: 32, lines: 1, runs: 16, stores: 32, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(all(feature = "half", target_arch = "x86_64"))]
pairs!(bf16_avx512_pairs, bf16_avx512, bf16, by: Shifts::<false>, vector: 32, line: 32, lines: 1, runs: 32, stores: 64, #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]);
#[cfg(all(feature = "half", target_arch = "x86_64"))]
pairs!(
    f16_avx2_pairs, f16_avx2, f16,
    // SAFETY: likewise.
    by: unsafe { F16c::<32>::detected() },
    vector: 32, line: 32, lines: 1, runs: 16, stores: 32,
    #[target_feature(enable = "avx2,fma,f16c")]
);
#[cfg(all(feature = "half", target_arch = "x86_64"))]
pairs!(
    f16_avx512_pairs, f16_avx512, f16,
    // SAFETY: likewise.
    by: unsafe { F16c::<64>::detected() },
    vector: 16, line: 32, lines: 1, runs: 32, stores: 64,
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
);

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
any!(avx2, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(target_arch = "x86_64")]
any!(avx512, #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]);

/// Runs `work` with the instructions of the level.
#[inline(always)]
pub(crate) fn vectorize<R>(level: Level, work: impl FnOnce() -> R) -> R {
    enter!(level, vectorize, [baseline, avx2, avx512], work)
}

macro_rules! kernels {
    ($t:ty, $modules:tt, pairs: [$avx2:ident, $avx512:ident]) => {
        kernels!(
            $t,
            $modules,
            fn map_and_sum(
                &self,
                tile: Tile,
                map: &Map<'_, $t>,
                out: Out<'_, $t>,
                next: &Sum<'_, $t>,
                turns: Turns,
                mut units: Units<'_>,
            ) {
                match (self.level(), tile.walk) {
                    #[cfg(target_arch = "x86_64")]
                    (Level::Avx512, Walk::Runs { inner }) if walk::take_turns(map, next) => {
                        // SAFETY: as in `enter`.
                        unsafe { $avx512::map_and_sum(inner, map, out, next, turns, &mut units) }
                    }
                    #[cfg(target_arch = "x86_64")]
                    (Level::Avx2, Walk::Runs { inner }) if walk::take_turns(map, next) => {
                        // SAFETY: as in `enter`.
                        unsafe { $avx2::map_and_sum(inner, map, out, next, turns, &mut units) }
                    }
                    _ => map_then_sum(self, tile, map, out, next, units),
                }
            }
        );
    };
    ($t:ty, $modules:tt, $($pairs:item)?) => {
        impl Kernels<$t> for Dispatch {
            fn sum(&self, tile: Tile, sum: &Sum<'_, $t>, fetch: Fetch, mut acc: Acc<'_>) {
                enter!(self.level(), sum, $modules, tile, sum, fetch, &mut acc);
            }
            fn map(&self, tile: Tile, map: &Map<'_, $t>, out: Out<'_, $t>, hints: Hints<'_, $t>) {
                enter!(self.level(), map, $modules, tile, map, out, hints);
            }
            fn form(&self) -> Form {
                // The sums of f64 wait for arithmetic: there is nothing to be had by turns.
                let pairs = size_of::<<$t as Element>::Compute>() == size_of::<f32>();
                Form {
                    name: self.level().name(),
                    follows: true,
                    turns: pairs && self.level() != Level::Baseline,
                }
            }
            $($pairs)?
        }
    };
}

kernels!(f64, [f64_baseline, f64_avx2, f64_avx512],);
kernels!(f32, [f32_baseline, f32_avx2, f32_avx512], pairs: [f32_avx2_pairs, f32_avx512_pairs]);
#[cfg(feature = "half")]
kernels!(f16, [f16_baseline, f16_avx2, f16_avx512], pairs: [f16_avx2_pairs, f16_avx512_pairs]);
#[cfg(feature = "half")]
kernels!(bf16, [bf16_baseline, bf16_avx2, bf16_avx512], pairs: [bf16_avx2_pairs, bf16_avx512_pairs]);

//! Who does the work: kernels and an executor make a backend.

use super::acc::Acc;
use super::ops::{Map, Out, Sum};
use super::schedule::{Fetch, Share, Turns};
use super::tile::{Hints, Tile, Walk};
use super::units::Units;
use crate::num::{Element, PerElement, Real};
#[cfg(feature = "half")]
use half::{bf16, f16};
use std::borrow::Cow;
use std::ops::Range;

/// The kernels for one element type: everything that touches every element, and nothing else.
///
/// A kernel sees one tile: strips of the same features (see [`Strips`](crate::tensor::Strips)). It either adds to
/// accumulators or maps elements to elements; two of them may take turns, on two tiles. Which bits come out is fixed:
///
/// 1. An element's place in the tile says which virtual lane it is added to ([`Walk`](super::Walk)), and the elements of
///    a lane are added in order. The lanes are folded elsewhere, once, in bn-core's own tree.
/// 2. f32 is widened to f64 before anything else: d = x − k, d², dy·d and the additions are f64 operations,
///    each rounded on its own. A fused multiply-add is allowed where the product is exact and only there:
///    x² and dy·x where the pilot is `None`, since a product of two f32 fits an f64.
/// 3. f64 sums carry a remainder: `(hi, e) = two_sum(hi, v); lo += e` with [`crate::num::eft`]. See [`Sum`] for the terms.
/// 4. Maps run in the data's type, every operation rounded on its own, in the order that [`Map`] writes.
pub trait Kernels<T: Element>: Sync {
    /// Adds `sum` to `acc`.
    fn sum(&self, tile: Tile, sum: &Sum<'_, T>, fetch: Fetch, acc: Acc<'_>);

    /// Writes `map` to `out`, every element of it.
    fn map(&self, tile: Tile, map: &Map<'_, T>, out: Out<'_, T>, hints: Hints<'_, T>);

    /// [`Kernels::map`] of one block of runs past the caches, and [`Kernels::sum`] of another one of the same size, around 0 and
    /// unit by unit.
    fn map_and_sum(
        &self,
        tile: Tile,
        map: &Map<'_, T>,
        out: Out<'_, T>,
        next: &Sum<'_, T>,
        _: Turns,
        units: Units<'_>,
    ) {
        map_then_sum(self, tile, map, out, next, units);
    }

    /// What they make of a schedule.
    fn form(&self) -> Form {
        Form::PLAIN
    }
}

/// What kernels make of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// What tells them from other kernels for the same type, in up to 24 bytes without a space: their crate, or their instruction
    /// set. Kernels of one name share what is learned about schedules.
    pub name: &'static str,
    /// Whether they follow hints: stores past the caches, and what is to be fetched.
    pub follows: bool,
    /// Whether their [`map_and_sum`](Kernels::map_and_sum) takes turns.
    pub turns: bool,
}

impl Form {
    /// Of kernels that ignore schedules.
    pub const PLAIN: Self = Self { name: "plain", follows: false, turns: false };
}

/// [`Kernels::map_and_sum`] as its two parts, one after the other.
pub fn map_then_sum<T: Element>(
    kernels: &(impl Kernels<T> + ?Sized),
    tile: Tile,
    map: &Map<'_, T>,
    out: Out<'_, T>,
    next: &Sum<'_, T>,
    mut units: Units<'_>,
) {
    kernels.map(tile, map, out, Hints::streamed(true));
    let inner = next.inputs()[0].map_or(0, |strips| strips.len()) / tile.features.max(1);
    for (rows, run) in units.each(next.rows(), inner) {
        if run.len() == inner {
            let sum = next.over::<T>(|strips| strips.rows_range(rows.clone()), |pilots| pilots);
            kernels.sum(tile, &sum, Fetch::NEAR, units.acc.from_lane(0));
        } else {
            sum_piece(kernels, next, inner, (rows.start, run), (Fetch::NEAR, &mut units.acc));
        }
        units.done();
    }
}

/// Adds the values `run` of each feature in strip `row` to its lanes, where runs have `inner` values.
pub(crate) fn sum_piece<T: Element>(
    kernels: &(impl Kernels<T> + ?Sized),
    sum: &Sum<'_, T>,
    inner: usize,
    (row, run): (usize, Range<usize>),
    (fetch, acc): (Fetch, &mut Acc<'_>),
) {
    let tile = Tile { features: 1, walk: Walk::Runs { inner: run.len() } };
    for f in 0..sum.inputs()[0].map_or(0, |strips| strips.len()) / inner {
        let cols = f * inner + run.start..f * inner + run.end;
        let sum = sum.over::<T>(|strips| strips.piece(row, cols.clone()), |pilots| &pilots[f..=f]);
        kernels.sum(tile, &sum, fetch, acc.from_lane(f * T::Compute::LANES));
    }
}

/// The kernels for all element types. Run serially they are a [`Backend`].
pub trait KernelSet: Sync {
    /// The name in reports, such as `scalar`.
    fn name(&self) -> Cow<'static, str>;
    /// Kernels for f32 data.
    fn f32(&self) -> &dyn Kernels<f32>;
    /// Kernels for f64 data.
    fn f64(&self) -> &dyn Kernels<f64>;
    /// Kernels for f16 data; without, those for f32 get it converted.
    #[cfg(feature = "half")]
    fn f16(&self) -> Option<&dyn Kernels<f16>> {
        None
    }
    /// Kernels for bf16 data, likewise.
    #[cfg(feature = "half")]
    fn bf16(&self) -> Option<&dyn Kernels<bf16>> {
        None
    }

    /// Kernels for T data, if it has any.
    fn of<T: Element>(&self) -> Option<&dyn Kernels<T>>
    where
        Self: Sized,
    {
        T::pick(Own(self))
    }

    /// Runs `work`, compiled for the instructions of the kernels where it is inlined: the loops over features, which
    /// are the driver's. They are elementwise, so no bit depends on it.
    #[inline(always)]
    fn vectorize<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// The kernels of a set, by type.
struct Own<'k, K>(&'k K);

impl<'k, K: KernelSet> PerElement for Own<'k, K> {
    type Of<T: Element> = Option<&'k dyn Kernels<T>>;

    fn f32(self) -> Option<&'k dyn Kernels<f32>> {
        Some(self.0.f32())
    }
    fn f64(self) -> Option<&'k dyn Kernels<f64>> {
        Some(self.0.f64())
    }
    #[cfg(feature = "half")]
    fn f16(self) -> Option<&'k dyn Kernels<f16>> {
        self.0.f16()
    }
    #[cfg(feature = "half")]
    fn bf16(self) -> Option<&'k dyn Kernels<bf16>> {
        self.0.bf16()
    }
}

/// Runs two closures, perhaps at once. Nothing else: the driver decides what the closures do.
pub trait Executor: Sync {
    /// Calls each closure once, and returns when both have ended. No lock or thread-local borrow may be held across it: stolen work
    /// can re-enter the layer.
    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send));

    /// How many closures can run at once; the driver prepares a scratch for a few jobs each. It changes the
    /// schedule, never a result.
    fn width(&self) -> usize;

    /// Whether the caller is one of the threads that closures run on, so that the others may be awake. Likewise only schedule.
    fn is_inside(&self) -> bool;

    /// How work is shared out, where a schedule says `wanted`.
    fn share(&self, wanted: Share) -> Share {
        wanted
    }
}

/// One after the other, on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Executor for Serial {
    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
        a();
        b();
    }

    fn width(&self) -> usize {
        1
    }

    fn is_inside(&self) -> bool {
        true
    }
}

/// Kernels and the executor to run them with.
pub trait Backend: Sync {
    /// The kernels.
    type Kernels: KernelSet;
    /// How jobs are run.
    type Exec: Executor;

    /// The name of the combination in reports, such as `scalar` or `rayon+dispatch`.
    fn name(&self) -> Cow<'static, str>;
    /// The kernels.
    fn kernels(&self) -> &Self::Kernels;
    /// The executor.
    fn exec(&self) -> &Self::Exec;
    /// [`KernelSet::vectorize`].
    #[inline(always)]
    fn vectorize<R>(&self, work: impl FnOnce() -> R) -> R {
        KernelSet::vectorize(self.kernels(), work)
    }
}

impl<K: KernelSet> Backend for K {
    type Kernels = K;
    type Exec = Serial;

    fn name(&self) -> Cow<'static, str> {
        KernelSet::name(self)
    }
    fn kernels(&self) -> &K {
        self
    }
    fn exec(&self) -> &Serial {
        &Serial
    }
}

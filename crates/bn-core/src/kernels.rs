//! The four kernels: everything that touches every element, and nothing else.
//!
//! A kernel sees one tile: strips of the same features (see [`Strips`]). It either adds to accumulators or
//! maps elements to elements; two of them may take turns, on two tiles. Which bits come out is fixed:
//!
//! 1. An element's place in the tile says which virtual lane it is added to ([`Walk`]), and the elements of
//!    a lane are added in order. The lanes are folded elsewhere, once, in bn-core's own tree.
//! 2. f32 is widened to f64 before anything else: d = x − k, d², dy·d and the additions are f64 operations,
//!    each rounded on its own. A fused multiply-add is allowed where the product is exact and only there:
//!    x² and dy·x where `pilot` is `None`, since a product of two f32 fits an f64.
//! 3. f64 sums carry a remainder: `(hi, e) = two_sum(hi, v); lo += e` with [`crate::eft`]. See
//!    [`Kernels::moments`] and [`Kernels::grad_sums`] for the terms.
//! 4. Maps run in the data's type, every operation rounded on its own, in the order written.

use crate::plan::{RUN_BLOCK_BYTES, Spread};
use crate::stream::Ahead;
use crate::strips::{Strips, StripsMut};

/// How the features lie in a strip, which decides the virtual lane of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// A strip is `features` runs of `inner` values: value i of a run goes to lane i mod `T::LANES` of its
    /// feature, starting anew with every strip. `rows.rs`.
    Rows {
        /// The length of a feature's run.
        inner: usize,
    },
    /// A strip is one value per feature: each feature has a single lane, down the strips. `lanes.rs`.
    Lanes,
}

/// What the strips of one kernel call hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The number of features, or of virtual ones where the driver deals rows to several accumulators.
    pub features: usize,
    /// How they lie in a strip.
    pub walk: Walk,
    /// What sums fetch meanwhile. It changes no bit.
    pub fetch: Fetch,
}

/// What is brought into the caches while a tile is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// What comes next of the tile.
    Near,
    /// The same from further away: no cache holds the tensor.
    Far,
    /// The next tile: as many columns behind this one, into L2, where this one is by now.
    Behind,
}

/// A sum per virtual lane: `hi`, and for f64 data `lo`, what `hi` has lost to rounding (empty for f32).
#[derive(Debug)]
pub struct Plane<'a> {
    /// The running sums.
    pub hi: &'a mut [f64],
    /// The running sums of their rounding errors.
    pub lo: &'a mut [f64],
}

/// The two sums that a reduction makes, over the lanes of a tile's features: feature f owns the lanes
/// `f·LANES..(f+1)·LANES` in [`Walk::Rows`], lane f in [`Walk::Lanes`].
#[derive(Debug)]
pub struct Acc<'a> {
    /// Σ(x−k) or Σdy.
    pub first: Plane<'a>,
    /// Σ(x−k)² or Σdy·(x−k).
    pub second: Plane<'a>,
}

impl Plane<'_> {
    /// The same lanes for a shorter time, from lane `start` on.
    pub fn from_lane(&mut self, start: usize) -> Plane<'_> {
        let lo = start.min(self.lo.len());
        Plane { hi: &mut self.hi[start..], lo: &mut self.lo[lo..] }
    }
}

impl<'a> Acc<'a> {
    /// `lanes` as two planes of `width` sums each, with remainders where there is room for them.
    ///
    /// # Panics
    /// Where half of `lanes` is fewer than `width`.
    #[must_use]
    pub fn new(lanes: &'a mut [f64], width: usize) -> Self {
        let (first, second) = lanes.split_at_mut(lanes.len() / 2);
        let plane = |s| {
            let (hi, lo) = <[f64]>::split_at_mut(s, width);
            Plane { hi, lo }
        };
        Self { first: plane(first), second: plane(second) }
    }

    /// The same lanes for a shorter time, from lane `start` on.
    pub fn from_lane(&mut self, start: usize) -> Acc<'_> {
        Acc { first: self.first.from_lane(start), second: self.second.from_lane(start) }
    }
}

/// Per feature, y = (x − k)·a + b.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// The mean, rounded to the type.
    pub k: &'a [T],
    /// γ·invstd.
    pub a: &'a [T],
    /// β, and what the rounding of the mean left.
    pub b: &'a [T],
}

/// Per feature, dx = (a·dy + c·(x − k)) + d.
#[derive(Clone, Copy, Debug)]
pub struct GradAffine<'a, T> {
    /// The mean, rounded to the type.
    pub k: &'a [T],
    /// γ·invstd.
    pub a: &'a [T],
    /// −γ·invstd²·dγ/n.
    pub c: &'a [T],
    /// −γ·invstd·dβ/n, and what the rounding of the mean left.
    pub d: &'a [T],
}

/// How a map may go about its memory. It changes no bit: a kernel that ignores it is right.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a, T> {
    /// Write past the caches: the output is too large to be found there again.
    pub stream: bool,
    /// What is to be fetched into L2 meanwhile, as much of it as is written: strip by strip.
    pub next: [Option<Strips<'a, T>>; 2],
    /// Whether only half of it is fetched, every other pair of lines: a map waits for memory, and the sums that come
    /// next compute, so that they had better wait for the other half. Pays where they go along runs and fetch ahead.
    pub sparse: bool,
}

impl<T> Hints<'_, T> {
    /// Hands each strip of `out` to `map`, with its number and what is to be fetched meanwhile.
    #[inline(always)]
    pub fn each_strip(self, mut out: StripsMut<'_, T>, map: impl Fn(usize, &mut [T], Ahead<'_, T>)) {
        let Self { next: [first, second], sparse, .. } = &self;
        for row in 0..out.rows() {
            out.fetch(row + 1);
            let strips = [strip_of(first, row), strip_of(second, row)];
            map(row, out.strip_mut(row), Ahead { strips, sparse: *sparse });
        }
    }
}

#[inline(always)]
fn strip_of<'a, T>(strips: &Option<Strips<'a, T>>, row: usize) -> &'a [T] {
    match strips {
        Some(strips) => strips.strip_or_empty(row),
        None => &[],
    }
}

impl<T> Default for Hints<'_, T> {
    fn default() -> Self {
        Self { stream: false, next: [const { None }; 2], sparse: false }
    }
}

/// The kernels for one element type.
pub trait Kernels<T>: Sync {
    /// Adds Σ(x−k) and Σ(x−k)² to `acc`; k is 0 where `pilot` is `None`, else the feature's pilot.
    ///
    /// f64: with (d, e) = `two_sum(x, -k)` the first sum takes d and its remainder e as well; the second takes
    /// the rounded d² and the remainder 2·d·e. With k = 0 there is no e.
    fn moments(&self, tile: Tile, x: Strips<'_, T>, pilot: Option<&[T]>, acc: Acc<'_>);

    /// Writes y = (x−k)·a + b.
    fn normalize(
        &self,
        tile: Tile,
        x: Strips<'_, T>,
        affine: Affine<'_, T>,
        y: StripsMut<'_, T>,
        hints: Hints<'_, T>,
    );

    /// Adds Σdy and Σdy·(x−k) to `acc`; k is 0 where `pilot` is `None`, else the feature's pilot, which may be 0 too.
    ///
    /// f64: with (d, e) = `two_sum(x, -k)` and (p, q) = `two_prod(dy, d)` the second sum takes p, and its
    /// remainder q + dy·e as well. Rounding errors of equal values would add up where the sum cancels.
    fn grad_sums(&self, tile: Tile, x: Strips<'_, T>, dy: Strips<'_, T>, pilot: Option<&[T]>, acc: Acc<'_>);

    /// Writes dx = (a·dy + c·(x−k)) + d.
    fn grad_input(
        &self,
        tile: Tile,
        x: Strips<'_, T>,
        dy: Strips<'_, T>,
        affine: GradAffine<'_, T>,
        dx: StripsMut<'_, T>,
        hints: Hints<'_, T>,
    );

    /// [`Kernels::normalize`] of x past the caches, and [`Kernels::moments`] around 0 of `next`, the strips of another
    /// block of the same size.
    fn normalize_and_moments(
        &self,
        tile: Tile,
        x: Strips<'_, T>,
        affine: Affine<'_, T>,
        y: StripsMut<'_, T>,
        next: Strips<'_, T>,
        acc: Acc<'_>,
    ) {
        normalize_then_moments(self, tile, x, affine, y, next, acc);
    }

    /// [`Kernels::grad_input`] of x and dy past the caches, and [`Kernels::grad_sums`] around 0 of both of `next`, likewise.
    fn grad_input_and_sums(
        &self,
        tile: Tile,
        inputs: [Strips<'_, T>; 2],
        affine: GradAffine<'_, T>,
        dx: StripsMut<'_, T>,
        next: [Strips<'_, T>; 2],
        acc: Acc<'_>,
    ) {
        grad_input_then_sums(self, tile, inputs, affine, dx, next, acc);
    }

    /// Whether those two are better than their parts: a map of runs writes while it waits for what the sums read.
    fn overlaps(&self) -> bool {
        false
    }

    /// What a block of long runs may occupy, in bytes, see [`crate::plan::Plan::with_run_blocks`].
    fn run_block_bytes(&self) -> usize {
        RUN_BLOCK_BYTES
    }

    /// Outputs of more bytes than this are better written past the caches.
    fn stream_above(&self, _: Spread) -> usize {
        usize::MAX
    }
}

/// [`Kernels::normalize_and_moments`] as its two parts, one after the other.
pub fn normalize_then_moments<T>(
    kernels: &(impl Kernels<T> + ?Sized),
    tile: Tile,
    x: Strips<'_, T>,
    affine: Affine<'_, T>,
    y: StripsMut<'_, T>,
    next: Strips<'_, T>,
    acc: Acc<'_>,
) {
    kernels.normalize(tile, x, affine, y, Hints { stream: true, ..Hints::default() });
    kernels.moments(tile, next, None, acc);
}

/// [`Kernels::grad_input_and_sums`], likewise.
pub fn grad_input_then_sums<T>(
    kernels: &(impl Kernels<T> + ?Sized),
    tile: Tile,
    [x, dy]: [Strips<'_, T>; 2],
    affine: GradAffine<'_, T>,
    dx: StripsMut<'_, T>,
    [next_x, next_dy]: [Strips<'_, T>; 2],
    acc: Acc<'_>,
) {
    kernels.grad_input(tile, x, dy, affine, dx, Hints { stream: true, ..Hints::default() });
    kernels.grad_sums(tile, next_x, next_dy, None, acc);
}

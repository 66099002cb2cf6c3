//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. Sums go feature by feature through all strips, so that the lanes stay in registers. The runs are far
//!    apart in memory, but the block is in L2, or fetched there while the block before was mapped.
//! 2. Where a level's registers hold only a part of the lanes, a stretch of each run that stays in L1 is walked
//!    once per part.
//! 3. A run's last chunk reads on into the next feature and drops the lanes that are too many: a masked tail
//!    from safe code. Only at a strip's end it is copied.
//! 4. Maps go strip by strip and write in order.

use crate::isa::Isa;
use crate::map::{GradInput, Normalize};
use crate::sum::{Item, Lanes, chunk, padded};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::stream::{self, Stores, fill};
use bn_core::strips::{Strips, StripsMut};

/// The chunks of `W` lanes of a run of `inner` elements that begin at lane `part` of `total`: how many are whole,
/// and how many elements the one behind them has.
#[inline(always)]
fn chunks<const W: usize>(inner: usize, part: usize, total: usize) -> (usize, usize) {
    let whole = if inner < part + W { 0 } else { (inner - part - W) / total + 1 };
    (whole, inner.saturating_sub(part + whole * total).min(W))
}

#[inline(always)]
pub(crate) fn moments<T: Item, I: Isa, const W: usize>(
    inner: usize,
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    for f in 0..x.len() / inner {
        for part in (0..T::LANES).step_by(W) {
            let (whole, rest) = chunks::<W>(inner, part, T::LANES);
            let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part);
            let runs = (0..x.rows()).map(|row| &x.strip(row)[f * inner + part..]);
            match pilot.map(|pilot| [pilot[f].to_f64(); W]) {
                None => {
                    for (row, run) in runs.enumerate() {
                        let ahead = Ahead::new(x, row, f * inner, part);
                        lanes = add_whole(lanes, whole, |l, i| {
                            ahead.fetch(i);
                            plain::<T, I, W>(l, chunk(run, i * T::LANES));
                        });
                        add_rest(&mut lanes, rest, |l| plain::<T, I, W>(l, &padded(run, whole * T::LANES)));
                    }
                }
                Some(k) => {
                    for run in runs {
                        lanes =
                            add_whole(lanes, whole, |l, i| T::add_shifted(l, chunk(run, i * T::LANES), &k));
                        add_rest(&mut lanes, rest, |l| T::add_shifted(l, &padded(run, whole * T::LANES), &k));
                    }
                }
            }
            lanes.store::<T>(acc, f * T::LANES + part);
        }
    }
}

#[inline(always)]
fn plain<T: Item, I: Isa, const W: usize>(lanes: &mut Lanes<W>, x: &[T; W]) {
    if I::FMA {
        T::add_plain::<W, true>(lanes, x);
    } else {
        T::add_plain::<W, false>(lanes, x);
    }
}

/// The run that a feature has in the next strip: fetched while this one's is summed, where this is the first time
/// that it is read.
#[derive(Clone, Copy)]
struct Ahead<'a, T>(&'a [T]);

impl<'a, T: Item> Ahead<'a, T> {
    #[inline(always)]
    fn new(x: Strips<'a, T>, row: usize, start: usize, part: usize) -> Self {
        Self(if part == 0 { x.strip_or_empty(row + 1).get(start..).unwrap_or_default() } else { &[] })
    }

    /// The lanes of chunk `i`.
    #[inline(always)]
    fn fetch(self, i: usize) {
        if !self.0.is_empty() {
            for at in (0..T::LANES).step_by(64 / size_of::<T>()) {
                stream::fetch::<T, true>(self.0, i * T::LANES + at);
            }
        }
    }
}

/// Adds the chunks 0..whole. By value: the rest of a run takes the lanes' address, and here they must stay in
/// registers.
#[inline(always)]
fn add_whole<const W: usize>(
    mut lanes: Lanes<W>,
    whole: usize,
    add: impl Fn(&mut Lanes<W>, usize),
) -> Lanes<W> {
    for i in 0..whole {
        add(&mut lanes, i);
    }
    lanes
}

/// Adds the first `rest` lanes of a chunk.
#[inline(always)]
fn add_rest<const W: usize>(lanes: &mut Lanes<W>, rest: usize, add: impl Fn(&mut Lanes<W>)) {
    if rest > 0 {
        let mut added = *lanes;
        add(&mut added);
        lanes.take_first(rest, &added);
    }
}

#[inline(always)]
pub(crate) fn grad_sums<T: Item, const W: usize>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: &[T],
    acc: &mut Acc<'_>,
) {
    for f in 0..x.len() / inner {
        let k = [pilot[f].to_f64(); W];
        for part in (0..T::LANES).step_by(W) {
            let (whole, rest) = chunks::<W>(inner, part, T::LANES);
            let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part);
            for row in 0..x.rows() {
                let ahead = [Ahead::new(x, row, f * inner, part), Ahead::new(dy, row, f * inner, part)];
                let (x, dy) = (&x.strip(row)[f * inner + part..], &dy.strip(row)[f * inner + part..]);
                lanes = add_whole(lanes, whole, |l, i| {
                    ahead.iter().for_each(|ahead| ahead.fetch(i));
                    T::add_grads(l, chunk(x, i * T::LANES), chunk(dy, i * T::LANES), &k);
                });
                let at = whole * T::LANES;
                add_rest(&mut lanes, rest, |l| T::add_grads(l, &padded(x, at), &padded(dy, at), &k));
            }
            lanes.store::<T>(acc, f * T::LANES + part);
        }
    }
}

#[inline(always)]
pub(crate) fn normalize<T: Item, const L: usize, const BYTES: usize>(
    inner: usize,
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: Stores<BYTES>,
) {
    let stream = hints.stream.then_some(stores);
    for row in 0..x.rows() {
        let ahead = hints.ahead(row, [x.strip_or_empty(row + 1), &[]]);
        let runs = x.strip(row).chunks_exact(inner).zip(y.strip_mut(row).chunks_exact_mut(inner));
        for (f, (x, y)) in runs.enumerate() {
            let map = Normalize { x, k: k[f], a: a[f], b: b[f] };
            fill::<T, L, BYTES>(y, stream, from(ahead, f * inner), &map);
        }
    }
}

#[inline(always)]
pub(crate) fn grad_input<T: Item, const L: usize, const BYTES: usize>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: Stores<BYTES>,
) {
    let stream = hints.stream.then_some(stores);
    for row in 0..x.rows() {
        let ahead = hints.ahead(row, [x.strip_or_empty(row + 1), dy.strip_or_empty(row + 1)]);
        let runs = x.strip(row).chunks_exact(inner).zip(dy.strip(row).chunks_exact(inner));
        for (f, ((x, dy), dx)) in runs.zip(dx.strip_mut(row).chunks_exact_mut(inner)).enumerate() {
            let map = GradInput { x, dy, k: k[f], a: a[f], c: c[f], d: d[f] };
            fill::<T, L, BYTES>(dx, stream, from(ahead, f * inner), &map);
        }
    }
}

/// What there is of each strip from `start` on.
fn from<T>(strips: [&[T]; 2], start: usize) -> [&[T]; 2] {
    strips.map(|strip| strip.get(start..).unwrap_or_default())
}

//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. Sums go feature by feature through a group of strips, so that the lanes stay in registers. The runs are far
//!    apart in memory, but the block is in L2, or fetched there while the block before was mapped.
//! 2. Where a level's registers hold only a part of the lanes, the runs of a group are walked once per part.
//! 3. What is left of a run behind its last chunk is taken eight lanes at a time. The last eight read on into the
//!    next feature and mask what is not theirs; only at a strip's end they are copied.
//! 4. Maps go strip by strip and write in order.
//! 5. Where a map writes past the caches, the next block is summed in turns with it, a vector of lanes at a time: the map
//!    waits for memory to take what it writes, the sums wait for what they read, and memory does both at once.

use crate::isa::Isa;
use crate::map::{GradInput, Normalize};
use crate::sum::{About, Item, Lanes, Plain, chunk, padded};
use bn_core::beside::{Beside, TURN};
use bn_core::group::{GROUP, Group};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::stream::{self, AHEAD, Map, Stores, fill};
use bn_core::strips::{Strips, StripsMut};
use std::marker::PhantomData;

/// The chunks of `W` lanes of a run of `inner` elements that begin at lane `part` of `total`: how many are whole,
/// and how many elements the one behind them has.
#[inline(always)]
fn chunks<const W: usize>(inner: usize, part: usize, total: usize) -> (usize, usize) {
    let whole = if inner < part + W { 0 } else { (inner - part - W) / total + 1 };
    (whole, inner.saturating_sub(part + whole * total))
}

/// What is summed over N inputs.
trait Sum<T: Item, const N: usize> {
    /// Adds the first `n` of W elements of each input, of feature `f`.
    fn add<const W: usize>(&self, f: usize, lanes: &mut Lanes<W>, chunks: [&[T; W]; N], n: usize);
}

/// Sums N inputs of which x is one; `groups(i)` are their strips from i on. What comes next is fetched into L1, or with `FAR`
/// from twice as far into L2.
#[inline(always)]
fn reduce<'a, T: Item, const W: usize, const N: usize, const FAR: bool>(
    inner: usize,
    x: Strips<'_, T>,
    groups: impl Fn(usize) -> Group<'a, T, N>,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let ahead = if FAR { 2 * AHEAD } else { AHEAD }.min(inner);
    for start in (0..x.rows()).step_by(GROUP) {
        let group = groups(start);
        for f in 0..x.len() / inner {
            for part in (0..T::LANES).step_by(W) {
                let (whole, rest) = chunks::<W>(inner, part, T::LANES);
                if whole == 0 && rest == 0 {
                    continue;
                }
                let start_of_run = f * inner + part;
                let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part);
                for row in 0..group.rows() {
                    let (strips, behind) = (group.strips(row), group.strips(row + 1));
                    let runs = strips.map(|strip| &strip[start_of_run..]);
                    for i in 0..whole {
                        if part == 0 {
                            let at = i * T::LANES + ahead;
                            let (strips, at) = if at < inner { (strips, at) } else { (behind, at - inner) };
                            for strip in strips {
                                if FAR {
                                    stream::fetch_range::<T, false>(strip, start_of_run + at, T::LANES);
                                } else {
                                    stream::fetch_range::<T, true>(strip, start_of_run + at, T::LANES);
                                }
                            }
                        }
                        sum.add::<W>(f, &mut lanes, runs.map(|run| chunk(run, i * T::LANES)), W);
                    }
                    if rest > 0 {
                        add_rest(sum, f, &mut lanes, runs.map(|run| &run[whole * T::LANES..]), rest);
                    }
                }
                lanes.store::<T>(acc, f * T::LANES + part);
            }
        }
    }
}

/// Adds the first `rest` elements of each run, which are fewer than W, eight at a time.
#[inline(always)]
fn add_rest<T: Item, const W: usize, const N: usize>(
    sum: &impl Sum<T, N>,
    f: usize,
    lanes: &mut Lanes<W>,
    runs: [&[T]; N],
    rest: usize,
) {
    if W < 8 {
        return sum.add::<W>(f, lanes, runs.map(|run| padded(run, 0)).each_ref(), rest);
    }
    // Not a loop: the lanes stay in registers only where their numbers are known.
    add_eight::<T, 0, W, N>(sum, f, lanes, runs, rest);
    add_eight::<T, 8, W, N>(sum, f, lanes, runs, rest);
    add_eight::<T, 16, W, N>(sum, f, lanes, runs, rest);
    add_eight::<T, 24, W, N>(sum, f, lanes, runs, rest);
}

#[inline(always)]
fn add_eight<T: Item, const AT: usize, const W: usize, const N: usize>(
    sum: &impl Sum<T, N>,
    f: usize,
    lanes: &mut Lanes<W>,
    runs: [&[T]; N],
    rest: usize,
) {
    if AT < W && AT < rest {
        let mut eight = lanes.part::<8>(AT);
        if rest >= AT + 8 {
            sum.add::<8>(f, &mut eight, runs.map(|run| chunk(run, AT)), 8);
        } else {
            sum.add::<8>(f, &mut eight, runs.map(|run| padded(run, AT)).each_ref(), rest - AT);
        }
        lanes.put(AT, &eight);
    }
}

impl<T: Item, I: Isa> Sum<T, 1> for Plain<I> {
    #[inline(always)]
    fn add<const W: usize>(&self, _: usize, lanes: &mut Lanes<W>, [x]: [&[T; W]; 1], n: usize) {
        T::add_moments::<I, W>(lanes, &masked(x, n));
    }
}

impl<T: Item> Sum<T, 1> for About<'_, T> {
    #[inline(always)]
    fn add<const W: usize>(&self, f: usize, lanes: &mut Lanes<W>, [x]: [&[T; W]; 1], n: usize) {
        T::add_moments_about(lanes, &masked(x, n), &masked(&[self.0[f].to_f64(); W], n));
    }
}

impl<T: Item, I: Isa> Sum<T, 2> for Plain<I> {
    #[inline(always)]
    fn add<const W: usize>(&self, _: usize, lanes: &mut Lanes<W>, [x, dy]: [&[T; W]; 2], n: usize) {
        T::add_grads::<I, W>(lanes, &masked(x, n), &masked(dy, n));
    }
}

impl<T: Item> Sum<T, 2> for About<'_, T> {
    #[inline(always)]
    fn add<const W: usize>(&self, f: usize, lanes: &mut Lanes<W>, [x, dy]: [&[T; W]; 2], n: usize) {
        T::add_grads_about(lanes, &masked(x, n), &masked(dy, n), &masked(&[self.0[f].to_f64(); W], n));
    }
}

#[inline(always)]
pub(crate) fn moments<T: Item, I: Isa, const W: usize, const FAR: bool>(
    inner: usize,
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    around::<T, I, W, 1, FAR>(
        inner,
        x,
        #[inline(always)]
        |i| Group::new([x], i),
        pilot,
        acc,
    );
}

#[inline(always)]
pub(crate) fn grad_sums<T: Item, I: Isa, const W: usize, const FAR: bool>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    around::<T, I, W, 2, FAR>(
        inner,
        x,
        #[inline(always)]
        |i| Group::new([x.reborrow(), dy.reborrow()], i),
        pilot,
        acc,
    );
}

/// As [`reduce`], around the pilots or around 0.
#[inline(always)]
fn around<'a, T: Item, I: Isa, const W: usize, const N: usize, const FAR: bool>(
    inner: usize,
    x: Strips<'_, T>,
    groups: impl Fn(usize) -> Group<'a, T, N>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) where
    Plain<I>: Sum<T, N>,
    for<'p> About<'p, T>: Sum<T, N>,
{
    match pilot {
        None => reduce::<T, W, N, FAR>(inner, x, groups, &Plain(PhantomData::<I>), acc),
        Some(pilot) => reduce::<T, W, N, FAR>(inner, x, groups, &About(pilot), acc),
    }
}

/// The first `n` values; zeros behind them. Where x, dy and k are zero, a sum takes in +0, which changes no bit: no sum
/// is ever -0, since none begins as one.
#[inline(always)]
fn masked<V: Copy + Default, const W: usize>(values: &[V; W], n: usize) -> [V; W] {
    let mut kept = [V::default(); W];
    for i in 0..W {
        kept[i] = if i < n { values[i] } else { V::default() };
    }
    kept
}

#[inline(always)]
pub(crate) fn normalize<T: Item, const L: usize, const BYTES: usize>(
    inner: usize,
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: impl FnOnce() -> Stores<BYTES>,
) {
    let stream = hints.stream.then(stores);
    hints.each_strip(
        y,
        #[inline(always)]
        |row, y, ahead| {
            let runs = x.strip(row).chunks_exact(inner).zip(y.chunks_exact_mut(inner));
            for (f, (x, y)) in runs.enumerate() {
                let map = Normalize { x, k: k[f], a: a[f], b: b[f] };
                fill::<T, L, BYTES>(y, stream.as_ref(), ahead.skip(f * inner), &map);
            }
        },
    );
}

#[inline(always)]
pub(crate) fn grad_input<T: Item, const L: usize, const BYTES: usize>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: impl FnOnce() -> Stores<BYTES>,
) {
    let stream = hints.stream.then(stores);
    hints.each_strip(
        dx,
        #[inline(always)]
        |row, dx, ahead| {
            let runs = x.strip(row).chunks_exact(inner).zip(dy.strip(row).chunks_exact(inner));
            for (f, ((x, dy), dx)) in runs.zip(dx.chunks_exact_mut(inner)).enumerate() {
                let map = GradInput { x, dy, k: k[f], a: a[f], c: c[f], d: d[f] };
                fill::<T, L, BYTES>(dx, stream.as_ref(), ahead.skip(f * inner), &map);
            }
        },
    );
}

/// Maps the block `own`, of whose runs `map` makes the map of a feature, and sums `next`, another one of as many runs as long, in
/// turns with it. Where W is only a part of the lanes, [`TURN`] elements are gone through once for each part, and each
/// time an equal share of them is mapped.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two blocks, and what is done with each")]
fn map_and_sum<'a, T: Item, M: Map<T, W>, const W: usize, const N: usize, const BYTES: usize>(
    inner: usize,
    map: impl Fn(usize, [&'a [T]; N]) -> M,
    mut out: StripsMut<'_, T>,
    stores: &Stores<BYTES>,
    own: [Strips<'a, T>; N],
    next: [Strips<'_, T>; N],
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let parts = T::LANES / W;
    for row in 0..out.rows() {
        out.fetch(row + 1);
        let beside = Beside::new(&own, &next, row, parts > 1);
        for (f, out) in out.strip_mut(row).chunks_exact_mut(inner).enumerate() {
            let cols = f * inner..(f + 1) * inner;
            let runs = beside.summed.map(|strip| &strip[cols.clone()]);
            let map = map(f, beside.mapped.map(|strip| &strip[cols.clone()]));
            let (start, lines, tail) = stream::begin::<T, W>(out, &map);
            let (value, n) = (map.lines(start, lines.len()), lines.len());
            let summed = n / parts * parts;
            let chunks = runs.map(|run| stream::lines::<T, W>(run, 0, summed));
            let turn = if parts == 1 { summed } else { TURN / W };
            for first in (0..summed).step_by(turn.max(1)) {
                let count = turn.min(summed - first) / parts;
                for part in 0..parts {
                    // Stored again before anything else is done: else they are spilled in the loop, and those stores wait for
                    // the ones past the caches.
                    let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part * W);
                    let at = first + part * count;
                    for (i, line) in lines[at..at + count].iter_mut().enumerate() {
                        beside.fetch(cols.start + (at + i) * W, W);
                        let chunk = first + i * parts + part;
                        sum.add::<W>(f, &mut lanes, chunks.map(|chunks| &chunks[chunk]), W);
                        stores.write(line, value(at + i));
                    }
                    lanes.store::<T>(acc, f * T::LANES + part * W);
                }
            }
            for (line, i) in lines[summed..].iter_mut().zip(summed..) {
                stores.write(line, value(i));
            }
            stream::ones::<T, W>(tail, start + n * W, &map);
            add_end::<T, W, N>(sum, f, acc, runs.map(|run| &run[summed * W..]), inner - summed * W);
        }
    }
}

/// Adds the `n` elements that a run has behind the chunks that were summed in turns with its map.
#[inline(always)]
fn add_end<T: Item, const W: usize, const N: usize>(
    sum: &impl Sum<T, N>,
    f: usize,
    acc: &mut Acc<'_>,
    runs: [&[T]; N],
    n: usize,
) {
    for part in (0..T::LANES).step_by(W) {
        let (whole, rest) = chunks::<W>(n, part, T::LANES);
        if whole == 0 && rest == 0 {
            continue;
        }
        let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part);
        for i in 0..whole {
            sum.add::<W>(f, &mut lanes, runs.map(|run| chunk(run, part + i * T::LANES)), W);
        }
        if rest > 0 {
            add_rest(sum, f, &mut lanes, runs.map(|run| &run[part + whole * T::LANES..]), rest);
        }
        lanes.store::<T>(acc, f * T::LANES + part);
    }
}

#[inline(always)]
pub(crate) fn normalize_and_moments<T: Item, I: Isa, const W: usize, const BYTES: usize>(
    inner: usize,
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    y: StripsMut<'_, T>,
    stores: &Stores<BYTES>,
    next: Strips<'_, T>,
    acc: &mut Acc<'_>,
) {
    map_and_sum::<T, _, W, 1, BYTES>(
        inner,
        #[inline(always)]
        |f, [x]| Normalize { x, k: k[f], a: a[f], b: b[f] },
        y,
        stores,
        [x],
        [next],
        &Plain(PhantomData::<I>),
        acc,
    );
}

#[inline(always)]
pub(crate) fn grad_input_and_sums<T: Item, I: Isa, const W: usize, const BYTES: usize>(
    inner: usize,
    inputs: [Strips<'_, T>; 2],
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    dx: StripsMut<'_, T>,
    stores: &Stores<BYTES>,
    next: [Strips<'_, T>; 2],
    acc: &mut Acc<'_>,
) {
    map_and_sum::<T, _, W, 2, BYTES>(
        inner,
        #[inline(always)]
        |f, [x, dy]| GradInput { x, dy, k: k[f], a: a[f], c: c[f], d: d[f] },
        dx,
        stores,
        inputs,
        next,
        &Plain(PhantomData::<I>),
        acc,
    );
}

//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. Sums go feature by feature through all strips, so that the lanes stay in registers. The runs are far
//!    apart in memory, but the block is in L2, or fetched there while the block before was mapped.
//! 2. Where a level's registers hold only a part of the lanes, a stretch of each run that stays in L1 is walked
//!    once per part.
//! 3. A run's last chunk reads on into the next feature and drops the lanes that are too many: a masked tail
//!    from safe code. Only at a strip's end it is copied.
//! 4. Maps go strip by strip and write in order.

use crate::group::{GROUP, Group};
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

/// What is fetched while an element is summed is so many elements away, in this run or in the next strip's.
const AHEAD: usize = 1024;

/// Sums N inputs of which x is one; `groups(i)` are their strips from i on. `adder(f)` gives what adds a chunk of each
/// to the lanes of feature f, of which only the first `n` elements count.
#[inline(always)]
fn reduce<'a, T: Item, const W: usize, const N: usize, A>(
    inner: usize,
    x: Strips<'_, T>,
    groups: impl Fn(usize) -> [Group<'a, T>; N],
    acc: &mut Acc<'_>,
    adder: impl Fn(usize) -> A,
) where
    A: Fn(&mut Lanes<W>, [&[T; W]; N], usize),
{
    let ahead = AHEAD.min(inner);
    for start in (0..x.rows()).step_by(GROUP) {
        let (group, next) = (groups(start), groups(start + 1));
        for f in 0..x.len() / inner {
            let add = adder(f);
            for part in (0..T::LANES).step_by(W) {
                let (whole, rest) = chunks::<W>(inner, part, T::LANES);
                let from = f * inner + part;
                let mut lanes = Lanes::<W>::load::<T>(acc, f * T::LANES + part);
                for row in 0..group[0].rows() {
                    let runs = group.map(|group| &group.strip(row)[from..]);
                    for i in 0..whole {
                        if part == 0 {
                            let at = i * T::LANES + ahead;
                            let (strips, at) = if at < inner { (&group, at) } else { (&next, at - inner) };
                            strips.iter().for_each(|group| fetch_lanes(group.strip(row), from + at));
                        }
                        add(&mut lanes, runs.map(|run| chunk(run, i * T::LANES)), W);
                    }
                    if rest > 0 {
                        let chunks = runs.map(|run| padded(run, whole * T::LANES));
                        add(&mut lanes, chunks.each_ref(), rest);
                    }
                }
                lanes.store::<T>(acc, f * T::LANES + part);
            }
        }
    }
}

/// Fetches as many elements from `at` on as a feature has lanes.
#[inline(always)]
fn fetch_lanes<T: Item>(strip: &[T], at: usize) {
    for i in (0..T::LANES).step_by(64 / size_of::<T>()) {
        stream::fetch::<T, true>(strip, at + i);
    }
}

#[inline(always)]
pub(crate) fn moments<T: Item, I: Isa, const W: usize>(
    inner: usize,
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    match pilot {
        None => reduce::<T, W, 1, _>(
            inner,
            x,
            |i| [Group::new(x, i)],
            acc,
            |_| {
                #[inline(always)]
                |lanes: &mut Lanes<W>, [x]: [&[T; W]; 1], n| {
                    let x = first(x, n);
                    if I::FMA {
                        T::add_plain::<W, true>(lanes, &x);
                    } else {
                        T::add_plain::<W, false>(lanes, &x);
                    }
                }
            },
        ),
        Some(pilot) => reduce::<T, W, 1, _>(
            inner,
            x,
            |i| [Group::new(x, i)],
            acc,
            |f| {
                let k = [pilot[f].to_f64(); W];
                #[inline(always)]
                move |lanes: &mut Lanes<W>, [x]: [&[T; W]; 1], n| {
                    T::add_shifted(lanes, &first(x, n), &first(&k, n));
                }
            },
        ),
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
    reduce::<T, W, 2, _>(
        inner,
        x,
        |i| [Group::new(x, i), Group::new(dy, i)],
        acc,
        |f| {
            let k = [pilot[f].to_f64(); W];
            #[inline(always)]
            move |lanes: &mut Lanes<W>, [x, dy]: [&[T; W]; 2], n| {
                T::add_grads(lanes, &first(x, n), &first(dy, n), &first(&k, n));
            }
        },
    );
}

/// The first `n` values; zeros behind them. Where x, dy and k are zero, a sum takes in +0, which changes no bit: no sum
/// is ever -0, since none begins as one.
#[inline(always)]
fn first<V: Copy + Default, const W: usize>(values: &[V; W], n: usize) -> [V; W] {
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
    mut y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
    stores: Stores<BYTES>,
) {
    let stream = hints.stream.then_some(stores);
    for row in 0..x.rows() {
        let ahead = hints.ahead(row, [x.strip_or_empty(row + 1), &[]]);
        y.fetch(row + 1);
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
        dx.fetch(row + 1);
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

//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. A run is gone over for H of its G vectors of eight lanes at a time, as many as there are registers for. The features of a
//!    strip come one after the other, the lanes wait in the accumulator meanwhile.
//! 2. Past the caches, the map of a block and the sums of the next one take turns: memory reads while it writes.
//! 3. The elements behind the last whole step are added lane by lane, in the accumulator.

use crate::map::{Coef, GradInput, Normalize};
use crate::sum::{Item, Lanes, Sums};
use bn_core::beside::{Beside, TURN};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::stream::{self, AHEAD, Built, Map, fill};
use bn_core::strips::{Strips, StripsMut};
use wide::f64x8;

pub(crate) fn moments<T: Item, const G: usize, const H: usize, const FAR: bool>(
    inner: usize,
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    for strip in x.iter() {
        for (f, run) in strip.chunks_exact(inner).enumerate() {
            let start = f * 8 * G;
            match pilot.map(|pilot| pilot[f].to_f64()) {
                None => add_run::<T, G, H>(
                    acc,
                    start,
                    inner,
                    |sums, at| {
                        fetch::<T, FAR>(run, at);
                        sums.add_moments::<T>(f64x8::widen(&run[at..]));
                    },
                    |sum, at| sum.add_moments::<T>(f64::widen(&run[at..])),
                ),
                Some(k) => add_run::<T, G, H>(
                    acc,
                    start,
                    inner,
                    |sums, at| {
                        fetch::<T, FAR>(run, at);
                        sums.add_moments_about::<T>(f64x8::widen(&run[at..]), f64x8::from(k));
                    },
                    |sum, at| sum.add_moments_about::<T>(f64::widen(&run[at..]), k),
                ),
            }
        }
    }
}

pub(crate) fn grad_sums<T: Item, const G: usize, const H: usize>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    for (x, dy) in x.iter().zip(dy.iter()) {
        for (f, (x, dy)) in x.chunks_exact(inner).zip(dy.chunks_exact(inner)).enumerate() {
            let fetch = |at| {
                // Of two streams never from further away: it cost 10 % at (32,256,56,56).
                fetch::<T, false>(x, at);
                fetch::<T, false>(dy, at);
            };
            match pilot.map(|pilot| pilot[f].to_f64()) {
                None => add_run::<T, G, H>(
                    acc,
                    f * 8 * G,
                    inner,
                    |sums, at| {
                        fetch(at);
                        sums.add_grads::<T>(f64x8::widen(&x[at..]), f64x8::widen(&dy[at..]));
                    },
                    |sum, at| sum.add_grads::<T>(f64::widen(&x[at..]), f64::widen(&dy[at..])),
                ),
                Some(k) => add_run::<T, G, H>(
                    acc,
                    f * 8 * G,
                    inner,
                    |sums, at| {
                        fetch(at);
                        let (x, dy) = (f64x8::widen(&x[at..]), f64x8::widen(&dy[at..]));
                        sums.add_grads_about::<T>(x, dy, f64x8::from(k));
                    },
                    |sum, at| sum.add_grads_about::<T>(f64::widen(&x[at..]), f64::widen(&dy[at..]), k),
                ),
            }
        }
    }
}

/// Asks for what comes AHEAD of `at`, or with `FAR` for what comes twice as far ahead, into L2.
#[inline(always)]
fn fetch<T, const FAR: bool>(run: &[T], at: usize) {
    if FAR {
        stream::fetch::<T, false>(run, at + 2 * AHEAD);
    } else {
        stream::fetch::<T, true>(run, at + AHEAD);
    }
}

/// Adds a run of `inner` elements to the 8·G lanes from `start` on: `vector` takes eight elements, `number` one.
#[inline(always)]
fn add_run<T: Item, const G: usize, const H: usize>(
    acc: &mut Acc<'_>,
    start: usize,
    inner: usize,
    vector: impl Fn(&mut Sums<f64x8>, usize),
    number: impl Fn(&mut Sums<f64>, usize),
) {
    let whole = inner / (8 * G) * (8 * G);
    let piece = if G == H { whole } else { TURN };
    for from in (0..whole).step_by(piece.max(1)) {
        let to = (from + piece).min(whole);
        for part in (0..8 * G).step_by(8 * H) {
            let mut vectors = Sums::<f64x8>::load_all::<T, H>(acc, start + part);
            for at in (from + part..to).step_by(8 * G) {
                for (h, sums) in vectors.iter_mut().enumerate() {
                    vector(sums, at + 8 * h);
                }
            }
            Sums::store_all::<T, H>(vectors, acc, start + part);
        }
    }
    for at in whole..inner {
        let lane = start + at - whole;
        let mut sum = Sums::load::<T>(acc, lane);
        number(&mut sum, at);
        sum.store::<T>(acc, lane);
    }
}

pub(crate) fn normalize<T: Item, const L: usize>(
    inner: usize,
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let stream = hints.stream.then(Built::default);
    hints.each_strip(y, |row, y, ahead| {
        let runs = x.strip(row).chunks_exact(inner).zip(y.chunks_exact_mut(inner));
        for (f, (x, y)) in runs.enumerate() {
            let map = Normalize { x, kab: [k, a, b].map(|coef| Coef::Splat(coef[f])) };
            fill::<T, L, _>(y, stream.as_ref(), ahead.skip(f * inner), &map);
        }
    });
}

pub(crate) fn grad_input<T: Item, const L: usize>(
    inner: usize,
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let stream = hints.stream.then(Built::default);
    hints.each_strip(dx, |row, dx, ahead| {
        let runs = x.strip(row).chunks_exact(inner).zip(dy.strip(row).chunks_exact(inner));
        for (f, ((x, dy), dx)) in runs.zip(dx.chunks_exact_mut(inner)).enumerate() {
            let map = GradInput { x, dy, kacd: [k, a, c, d].map(|coef| Coef::Splat(coef[f])) };
            fill::<T, L, _>(dx, stream.as_ref(), ahead.skip(f * inner), &map);
        }
    });
}

/// Maps the block `own` past the caches, of whose runs `map` makes the map of a feature, and sums `next`, another one of as many
/// runs as long, in turns with it: `vector` adds eight elements of a run's slices, `number` one. A step of the sums takes
/// as many elements as P lines. Where H vectors are only a part of the lanes, [`TURN`] elements are gone through once
/// for each.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two blocks, and what is done with each")]
fn map_and_sum<
    'a,
    T: Item,
    M: Map<T, L>,
    const G: usize,
    const H: usize,
    const L: usize,
    const P: usize,
    const N: usize,
>(
    inner: usize,
    map: impl Fn(usize, [&'a [T]; N]) -> M,
    mut out: StripsMut<'_, T>,
    own: [Strips<'a, T>; N],
    next: [Strips<'_, T>; N],
    vector: impl Fn(&mut Sums<f64x8>, [&[T]; N], usize),
    number: impl Fn(&mut Sums<f64>, [&[T]; N], usize),
    acc: &mut Acc<'_>,
) {
    const { assert!(P * L == 8 * H && G.is_multiple_of(H)) };
    let (stores, parts) = (Built::default(), G / H);
    for row in 0..out.rows() {
        out.fetch(row + 1);
        let beside = Beside::new(&own, &next, row, parts > 1);
        for (f, out) in out.strip_mut(row).chunks_exact_mut(inner).enumerate() {
            let (cols, lane) = (f * inner..(f + 1) * inner, f * 8 * G);
            let runs = beside.summed.map(|strip| &strip[cols.clone()]);
            let map = map(f, beside.mapped.map(|strip| &strip[cols.clone()]));
            let (start, lines, tail) = stream::begin::<T, L>(out, &map);
            let value = map.lines(start, lines.len());
            let end = start + lines.len() * L;
            let (summed, odd) = lines.split_at_mut(lines.len() / (P * parts) * (P * parts));
            let (steps, _) = summed.as_chunks_mut::<P>();
            let (summed, turn) = (steps.len(), if parts == 1 { steps.len() } else { TURN / (8 * H) });
            for first in (0..summed).step_by(turn.max(1)) {
                let count = turn.min(summed - first) / parts;
                for part in 0..parts {
                    let (from, lane) = (first + part * count, lane + part * 8 * H);
                    let mut vectors = Sums::<f64x8>::load_all::<T, H>(acc, lane);
                    for (i, step) in steps[from..from + count].iter_mut().enumerate() {
                        beside.fetch(cols.start + (from + i) * 8 * H, 8 * H);
                        let at = (first + i * parts + part) * 8 * H;
                        for (h, sums) in vectors.iter_mut().enumerate() {
                            vector(sums, runs, at + 8 * h);
                        }
                        for (j, line) in step.iter_mut().enumerate() {
                            stores.write(line, value((from + i) * P + j));
                        }
                    }
                    Sums::store_all::<T, H>(vectors, acc, lane);
                }
            }
            for (j, line) in odd.iter_mut().enumerate() {
                stores.write(line, value(summed * P + j));
            }
            stream::ones::<T, L>(tail, end, &map);
            let rest = runs.map(|run| &run[summed * 8 * H..]);
            add_run::<T, G, H>(
                acc,
                lane,
                inner - summed * 8 * H,
                |sums, at| vector(sums, rest, at),
                |sum, at| number(sum, rest, at),
            );
        }
    }
}

pub(crate) fn normalize_and_moments<
    T: Item,
    const G: usize,
    const H: usize,
    const L: usize,
    const P: usize,
>(
    inner: usize,
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    y: StripsMut<'_, T>,
    next: Strips<'_, T>,
    acc: &mut Acc<'_>,
) {
    map_and_sum::<T, _, G, H, L, P, 1>(
        inner,
        |f, [x]| Normalize { x, kab: [k, a, b].map(|coef| Coef::Splat(coef[f])) },
        y,
        [x],
        [next],
        |sums, [x], at| sums.add_moments::<T>(f64x8::widen(&x[at..])),
        |sum, [x], at| sum.add_moments::<T>(f64::widen(&x[at..])),
        acc,
    );
}

pub(crate) fn grad_input_and_sums<T: Item, const G: usize, const H: usize, const L: usize, const P: usize>(
    inner: usize,
    inputs: [Strips<'_, T>; 2],
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    dx: StripsMut<'_, T>,
    next: [Strips<'_, T>; 2],
    acc: &mut Acc<'_>,
) {
    map_and_sum::<T, _, G, H, L, P, 2>(
        inner,
        |f, [x, dy]| GradInput { x, dy, kacd: [k, a, c, d].map(|coef| Coef::Splat(coef[f])) },
        dx,
        inputs,
        next,
        |sums, [x, dy], at| sums.add_grads::<T>(f64x8::widen(&x[at..]), f64x8::widen(&dy[at..])),
        |sum, [x, dy], at| sum.add_grads::<T>(f64::widen(&x[at..]), f64::widen(&dy[at..])),
        acc,
    );
}

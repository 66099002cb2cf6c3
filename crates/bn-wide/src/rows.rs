//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. G vectors of eight lanes go over a run together. The features of a strip come one after the other, the
//!    lanes wait in the accumulator meanwhile.
//! 2. The elements behind the last whole step are added lane by lane, in the accumulator.

use crate::map::{Coef, GradInput, Normalize};
use crate::sum::{Item, Lanes, Sums};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::stream::{self, AHEAD, Built, fill};
use bn_core::strips::{Strips, StripsMut};
use wide::f64x8;

pub(crate) fn moments<T: Item, const G: usize, const FAR: bool>(
    inner: usize,
    x: Strips<'_, T>,
    pilot: Option<&[T]>,
    acc: &mut Acc<'_>,
) {
    for strip in x.iter() {
        for (f, run) in strip.chunks_exact(inner).enumerate() {
            let start = f * 8 * G;
            match pilot.map(|pilot| pilot[f].to_f64()) {
                None => add_run::<T, G>(
                    acc,
                    start,
                    inner,
                    |sums, at| {
                        fetch::<T, FAR>(run, at);
                        sums.add_moments::<T>(f64x8::widen(&run[at..]));
                    },
                    |sum, at| sum.add_moments::<T>(f64::widen(&run[at..])),
                ),
                Some(k) => add_run::<T, G>(
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

pub(crate) fn grad_sums<T: Item, const G: usize>(
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
                None => add_run::<T, G>(
                    acc,
                    f * 8 * G,
                    inner,
                    |sums, at| {
                        fetch(at);
                        sums.add_grads::<T>(f64x8::widen(&x[at..]), f64x8::widen(&dy[at..]));
                    },
                    |sum, at| sum.add_grads::<T>(f64::widen(&x[at..]), f64::widen(&dy[at..])),
                ),
                Some(k) => add_run::<T, G>(
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
fn add_run<T: Item, const G: usize>(
    acc: &mut Acc<'_>,
    start: usize,
    inner: usize,
    vector: impl Fn(&mut Sums<f64x8>, usize),
    number: impl Fn(&mut Sums<f64>, usize),
) {
    let whole = inner / (8 * G) * (8 * G);
    let mut groups = Sums::<f64x8>::load_all::<T, G>(acc, start);
    for at in (0..whole).step_by(8 * G) {
        for (g, sums) in groups.iter_mut().enumerate() {
            vector(sums, at + 8 * g);
        }
    }
    for (g, sums) in groups.into_iter().enumerate() {
        sums.store::<T>(acc, start + 8 * g);
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

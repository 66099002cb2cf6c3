//! A feature's values side by side (inner > 1): coefficients are splat, sums run over lanes.
//!
//! 1. A strip is a run of `inner` values per feature. Value i goes to lane i mod L, so L independent sums run
//!    at once; the array of lanes is what the compiler turns into vectors.
//! 2. Lanes live in the accumulator between strips: a block's lanes stay in L1, and the strips of a feature may
//!    be far apart.

use crate::map::{gate_of, grad_input, normalize, scale, second};
use crate::sum::{Lane, Summand, load, store};
use bn_core::kernel::{Acc, Affine, GradAffine, Map, SecondAffine, Sum};
use bn_core::tensor::StripsMut;
use std::ops::Range;

pub(crate) fn sum<T: Summand, const L: usize>(inner: usize, sum: &Sum<'_, T>, acc: Acc<'_>) {
    match *sum {
        Sum::Moments { x, pilot } => {
            each_chunk::<T, L>(inner, x.rows(), x.len(), acc, |lanes, row, f, at| {
                let k = pilot.map_or(T::default(), |pilot| pilot[f]);
                for (lane, &x) in lanes.iter_mut().zip(&x.strip(row)[at]) {
                    *lane = T::add_moments(*lane, x, k);
                }
            });
        }
        Sum::Grads { x, dy, pilot, gate } => {
            each_chunk::<T, L>(inner, x.rows(), x.len(), acc, |lanes, row, f, at| {
                let (k, passed) = (pilot.map_or(T::default(), |pilot| pilot[f]), gate_of(gate, f));
                let values = x.strip(row)[at.clone()].iter().zip(&dy.strip(row)[at]);
                for (lane, (&x, &dy)) in lanes.iter_mut().zip(values) {
                    *lane = T::add_grads(*lane, x, passed(x, dy), k);
                }
            });
        }
    }
}

/// Of each of `rows` strips of `len` elements, hands L elements of a feature's run at a time to `add`, the last ones
/// fewer: the lanes, the strip, the feature, and where in the strip they lie.
fn each_chunk<T: Summand, const L: usize>(
    inner: usize,
    rows: usize,
    len: usize,
    mut acc: Acc<'_>,
    add: impl Fn(&mut [Lane<T>; L], usize, usize, Range<usize>),
) {
    for row in 0..rows {
        for f in 0..len / inner {
            let mut lanes: [Lane<T>; L] = std::array::from_fn(|l| load::<T>(&acc, f * L + l));
            let end = (f + 1) * inner;
            for start in (f * inner..end).step_by(L) {
                add(&mut lanes, row, f, start..end.min(start + L));
            }
            for (l, &lane) in lanes.iter().enumerate() {
                store::<T>(lane, &mut acc, f * L + l);
            }
        }
    }
}

pub(crate) fn map<T: Summand>(inner: usize, map: &Map<'_, T>, out: StripsMut<'_, T>) {
    match *map {
        Map::Normalize { x, affine: Affine { k, a, b }, post } => each_run(inner, out, |row, f, at| {
            let coefs = [k[f], a[f], b[f]];
            let (x, plus) = (&x.strip(row)[at.clone()], post.plus().map(|r| &r.strip(row)[at]));
            x.iter().enumerate().map(move |(i, &x)| normalize(x, plus.map(|r| r[i]), coefs, post))
        }),
        Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate } => {
            each_run(inner, out, |row, f, at| {
                let (coefs, passed) = ([k[f], a[f], c[f], d[f], m[f]], gate_of(gate, f));
                let values = x.strip(row)[at.clone()].iter().zip(&dy.strip(row)[at]);
                values.map(move |(&x, &dy)| grad_input(x, passed(x, dy), coefs))
            });
        }
        Map::Scale { dy, a, gate } => each_run(inner, out, |row, f, at| {
            let (a, passed) = (a[f], gate_of(gate.map(|(_, gate)| gate), f));
            let (dy, x) = (&dy.strip(row)[at.clone()], gate.map(|(x, _)| &x.strip(row)[at]));
            dy.iter().enumerate().map(move |(i, &dy)| scale(x.map_or(dy, |x| passed(x[i], dy)), a))
        }),
        Map::Gated { dy, y, clamp } => each_run(inner, out, |row, _, at| {
            let values = y.strip(row)[at.clone()].iter().zip(&dy.strip(row)[at]);
            values.map(move |(&y, &dy)| clamp.gate(y, dy))
        }),
        Map::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } } => {
            each_run(inner, out, |row, f, at| {
                let coefs = [k[f], a[f], b[f], c[f], d[f], m[f], l[f]];
                let [x, dy, v] = [x, dy, v].map(|of| of.strip(row));
                at.map(move |i| second([x[i], dy[i], v[i]], coefs))
            });
        }
    }
}

/// Writes the values of each feature's run in each strip.
fn each_run<T: Summand, V: Iterator<Item = T>>(
    inner: usize,
    mut out: StripsMut<'_, T>,
    values: impl Fn(usize, usize, Range<usize>) -> V,
) {
    for row in 0..out.rows() {
        for (f, run) in out.strip_mut(row).chunks_exact(inner).enumerate() {
            run.fill_from(values(row, f, f * inner..(f + 1) * inner));
        }
    }
}

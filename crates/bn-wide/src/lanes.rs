//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! As many vectors of features as there are registers for go down a stack of strips that stays in L1 at a time; the features
//! behind the last whole vector go one by one.

use crate::map::{Coef, GradInput, Normalize};
use crate::sum::{Item, Lanes, Sums, VECTORS};
use bn_core::group::{EachStack, Stack, stacks};
use bn_core::kernels::{Acc, Affine, Fetch, GradAffine, Hints};
use bn_core::stream::{Built, fill};
use bn_core::strips::{Strips, StripsMut};
use std::ops::Range;
use wide::f64x8;

/// Whether memory is asked for in the order in which it lies, see [`stacks`]. Measured.
const ALONG: bool = !crate::AVX512;

/// What is summed over N inputs.
trait Sum<T: Item, const N: usize> {
    /// Adds the columns `at..at + W` of R rows, G vectors, to their lanes.
    fn add<V: Lanes, const G: usize, const W: usize, const R: usize>(
        &self,
        at: usize,
        sums: &mut [Sums<V>; G],
        rows: [[&[T; W]; N]; R],
    );
}

/// Sums around 0.
struct Plain;

/// Sums around a pilot per feature.
struct About<'a, T>(&'a [T]);

impl<T: Item> Sum<T, 1> for Plain {
    #[inline(always)]
    fn add<V: Lanes, const G: usize, const W: usize, const R: usize>(
        &self,
        _: usize,
        sums: &mut [Sums<V>; G],
        rows: [[&[T; W]; 1]; R],
    ) {
        for [x] in rows {
            for g in 0..G {
                sums[g].add_moments::<T>(V::widen(&x[8 * g..]));
            }
        }
    }
}

impl<T: Item> Sum<T, 1> for About<'_, T> {
    #[inline(always)]
    fn add<V: Lanes, const G: usize, const W: usize, const R: usize>(
        &self,
        at: usize,
        sums: &mut [Sums<V>; G],
        rows: [[&[T; W]; 1]; R],
    ) {
        let k = widened::<T, V, G>(&self.0[at..]);
        for [x] in rows {
            for g in 0..G {
                sums[g].add_moments_about::<T>(V::widen(&x[8 * g..]), k[g]);
            }
        }
    }
}

impl<T: Item> Sum<T, 2> for Plain {
    #[inline(always)]
    fn add<V: Lanes, const G: usize, const W: usize, const R: usize>(
        &self,
        _: usize,
        sums: &mut [Sums<V>; G],
        rows: [[&[T; W]; 2]; R],
    ) {
        for [x, dy] in rows {
            for g in 0..G {
                sums[g].add_grads::<T>(V::widen(&x[8 * g..]), V::widen(&dy[8 * g..]));
            }
        }
    }
}

impl<T: Item> Sum<T, 2> for About<'_, T> {
    #[inline(always)]
    fn add<V: Lanes, const G: usize, const W: usize, const R: usize>(
        &self,
        at: usize,
        sums: &mut [Sums<V>; G],
        rows: [[&[T; W]; 2]; R],
    ) {
        let k = widened::<T, V, G>(&self.0[at..]);
        for [x, dy] in rows {
            for g in 0..G {
                sums[g].add_grads_about::<T>(V::widen(&x[8 * g..]), V::widen(&dy[8 * g..]), k[g]);
            }
        }
    }
}

/// The first G vectors.
#[inline(always)]
fn widened<T: Item, V: Lanes, const G: usize>(values: &[T]) -> [V; G] {
    let mut wide = [V::from(0.0); G];
    for g in 0..G {
        wide[g] = V::widen(&values[8 * g..]);
    }
    wide
}

/// Adds the columns of stacks of strips: several vectors at a time, one, and single ones.
struct Columns<'s, 'a, S> {
    sum: &'s S,
    acc: &'s mut Acc<'a>,
    len: usize,
}

impl<T: Item, S: Sum<T, N>, const N: usize> EachStack<T, N> for Columns<'_, '_, S> {
    #[inline(always)]
    fn take<const R: usize>(&mut self, stack: &Stack<'_, T, N, R>) {
        let Self { sum, ref mut acc, len } = *self;
        let (wide, whole) = (len / (8 * VECTORS) * (8 * VECTORS), len / 8 * 8);
        add_chunks::<T, f64x8, VECTORS, { 8 * VECTORS }, N, R>(stack, 0..wide, sum, acc);
        add_chunks::<T, f64x8, 1, 8, N, R>(stack, wide..whole, sum, acc);
        add_chunks::<T, f64, 1, 1, N, R>(stack, whole..len, sum, acc);
    }
}

fn reduce<T: Item, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    fetch: Fetch,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    stacks(inputs, fetch, ALONG, &mut Columns { sum, acc, len: inputs[0].len() });
}

#[inline(always)]
fn add_chunks<T: Item, V: Lanes, const G: usize, const W: usize, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    cols: Range<usize>,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    stack.chunks::<W>(cols, |at, rows| {
        let mut sums = Sums::<V>::load_all::<T, G>(acc, at);
        sum.add(at, &mut sums, rows);
        Sums::store_all::<T, G>(sums, acc, at);
    });
}

pub(crate) fn moments<T: Item>(x: Strips<'_, T>, pilot: Option<&[T]>, fetch: Fetch, acc: &mut Acc<'_>) {
    match pilot {
        None => reduce(&[x], fetch, &Plain, acc),
        Some(pilot) => reduce(&[x], fetch, &About(pilot), acc),
    }
}

pub(crate) fn grad_sums<T: Item>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: Option<&[T]>,
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    match pilot {
        None => reduce(&[x.reborrow(), dy.reborrow()], fetch, &Plain, acc),
        Some(pilot) => reduce(&[x.reborrow(), dy.reborrow()], fetch, &About(pilot), acc),
    }
}

pub(crate) fn normalize<T: Item, const L: usize>(
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let stream = hints.stream.then(Built::default);
    hints.each_strip(y, |row, y, ahead| {
        let map = Normalize { x: x.strip(row), kab: [k, a, b].map(Coef::Each) };
        fill::<T, L, _>(y, stream.as_ref(), ahead, &map);
    });
}

pub(crate) fn grad_input<T: Item, const L: usize>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let stream = hints.stream.then(Built::default);
    hints.each_strip(dx, |row, dx, ahead| {
        let map = GradInput { x: x.strip(row), dy: dy.strip(row), kacd: [k, a, c, d].map(Coef::Each) };
        fill::<T, L, _>(dx, stream.as_ref(), ahead, &map);
    });
}

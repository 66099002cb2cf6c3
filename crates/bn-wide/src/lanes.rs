//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! As many vectors of features as there are registers for go down a stack of strips that stays in L1 at a time; the features
//! behind the last whole vector go one by one.

use crate::map::{Coef, GradInput, Normalize};
use crate::sum::{Item, Lanes, Sums, VECTORS};
use bn_core::group::{Stack, in_order};
use bn_core::kernels::{Acc, Affine, Fetch, GradAffine, Hints};
use bn_core::stream::{Built, fill};
use bn_core::strips::{Strips, StripsMut};
use std::ops::Range;
use wide::f64x8;

/// Whether memory is asked for in the order in which it lies, see [`Stack::along`]. Measured.
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

/// Adds the columns of `inputs`' strips: of one input eight strips at a time, but four where memory is asked for in its order,
/// of two inputs four. Measured. Of what is left four, two and one.
fn reduce<T: Item, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    fetch: Fetch,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let (mut start, mut in_order) = (0, in_order(inputs));
    if N == 1 {
        // Known where the stacks are made, so that a chunk need not ask.
        start = if ALONG && in_order {
            add_stacks::<T, N, 4>(inputs, start, fetch, true, sum, acc)
        } else {
            add_stacks::<T, N, 8>(inputs, start, fetch, false, sum, acc)
        };
        in_order = false;
    }
    start = add_stacks::<T, N, 4>(inputs, start, fetch, in_order, sum, acc);
    start = add_stacks::<T, N, 2>(inputs, start, Fetch::Near, false, sum, acc);
    add_stacks::<T, N, 1>(inputs, start, Fetch::Near, false, sum, acc);
}

/// Adds the strips from `start` on, R at a time, as long as there are as many. Where the next ones begin.
#[inline(always)]
fn add_stacks<T: Item, const N: usize, const R: usize>(
    inputs: &[Strips<'_, T>; N],
    start: usize,
    fetch: Fetch,
    in_order: bool,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) -> usize {
    let (rows, len) = (inputs[0].rows(), inputs[0].len());
    let end = start + (rows - start) / R * R;
    for start in (start..end).step_by(R) {
        let stack = if ALONG {
            Stack::<T, N, R>::along(inputs, start, in_order)
        } else {
            Stack::<T, N, R>::new(inputs, start, fetch)
        };
        add_rows(&stack, len, sum, acc);
    }
    end
}

/// Adds all columns of a stack: several vectors at a time, one, and single ones.
#[inline(always)]
fn add_rows<T: Item, const N: usize, const R: usize>(
    stack: &Stack<'_, T, N, R>,
    len: usize,
    sum: &impl Sum<T, N>,
    acc: &mut Acc<'_>,
) {
    let (wide, whole) = (len / (8 * VECTORS) * (8 * VECTORS), len / 8 * 8);
    add_chunks::<T, f64x8, VECTORS, { 8 * VECTORS }, N, R>(stack, 0..wide, sum, acc);
    add_chunks::<T, f64x8, 1, 8, N, R>(stack, wide..whole, sum, acc);
    add_chunks::<T, f64, 1, 1, N, R>(stack, whole..len, sum, acc);
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

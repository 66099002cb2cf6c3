//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! As many vectors of features as there are registers for go down a group of strips that stays in L1 at a time; the features
//! behind the last whole vector go one by one.

use crate::map::{Coef, GradInput, Normalize};
use crate::sum::{Item, Lanes, Sums, VECTORS};
use bn_core::group::{Group, rows_to_group};
use bn_core::kernels::{Acc, Affine, Fetch, GradAffine, Hints};
use bn_core::stream::{Built, fill};
use bn_core::strips::{Strips, StripsMut};
use wide::f64x8;

/// A sum over the strips of a group.
trait Sum<T: Item> {
    /// Adds the columns of G vectors from `at` on.
    fn add<V: Lanes, const G: usize>(&self, at: usize, acc: &mut Acc<'_>);
}

/// Adds `len` columns: several vectors at a time, one, and single ones.
#[inline(always)]
fn columns<T: Item>(len: usize, sum: &impl Sum<T>, acc: &mut Acc<'_>) {
    let wide = len / (8 * VECTORS) * (8 * VECTORS);
    let whole = len / 8 * 8;
    for at in (0..wide).step_by(8 * VECTORS) {
        sum.add::<f64x8, VECTORS>(at, acc);
    }
    for at in (wide..whole).step_by(8) {
        sum.add::<f64x8, 1>(at, acc);
    }
    for at in whole..len {
        sum.add::<f64, 1>(at, acc);
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

struct Moments<'a, T> {
    group: Group<'a, T, 1>,
    pilot: Option<&'a [T]>,
}

impl<T: Item> Sum<T> for Moments<'_, T> {
    #[inline(always)]
    fn add<V: Lanes, const G: usize>(&self, at: usize, acc: &mut Acc<'_>) {
        let mut sums = Sums::<V>::load_all::<T, G>(acc, at);
        match self.pilot {
            None => self.group.down(at, V::N * G, |[x]| {
                for g in 0..G {
                    sums[g].add_moments::<T>(V::widen(&x[8 * g..]));
                }
            }),
            Some(pilot) => {
                let k = widened::<T, V, G>(&pilot[at..]);
                self.group.down(at, V::N * G, |[x]| {
                    for g in 0..G {
                        sums[g].add_moments_about::<T>(V::widen(&x[8 * g..]), k[g]);
                    }
                });
            }
        }
        Sums::store_all::<T, G>(sums, acc, at);
    }
}

pub(crate) fn moments<T: Item>(x: Strips<'_, T>, pilot: Option<&[T]>, fetch: Fetch, acc: &mut Acc<'_>) {
    let rows = rows_to_group(1, 8 * VECTORS * size_of::<T>(), x);
    for start in (0..x.rows()).step_by(rows) {
        columns(x.len(), &Moments { group: Group::new([x], start, rows, fetch), pilot }, acc);
    }
}

struct GradSums<'a, T> {
    group: Group<'a, T, 2>,
    pilot: Option<&'a [T]>,
}

impl<T: Item> Sum<T> for GradSums<'_, T> {
    #[inline(always)]
    fn add<V: Lanes, const G: usize>(&self, at: usize, acc: &mut Acc<'_>) {
        let mut sums = Sums::<V>::load_all::<T, G>(acc, at);
        match self.pilot {
            None => self.group.down(at, V::N * G, |[x, dy]| {
                for g in 0..G {
                    sums[g].add_grads::<T>(V::widen(&x[8 * g..]), V::widen(&dy[8 * g..]));
                }
            }),
            Some(pilot) => {
                let k = widened::<T, V, G>(&pilot[at..]);
                self.group.down(at, V::N * G, |[x, dy]| {
                    for g in 0..G {
                        sums[g].add_grads_about::<T>(V::widen(&x[8 * g..]), V::widen(&dy[8 * g..]), k[g]);
                    }
                });
            }
        }
        Sums::store_all::<T, G>(sums, acc, at);
    }
}

pub(crate) fn grad_sums<T: Item>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    pilot: Option<&[T]>,
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    let rows = rows_to_group(2, 8 * VECTORS * size_of::<T>(), x);
    for start in (0..x.rows()).step_by(rows) {
        columns(
            x.len(),
            &GradSums { group: Group::new([x.reborrow(), dy.reborrow()], start, rows, fetch), pilot },
            acc,
        );
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

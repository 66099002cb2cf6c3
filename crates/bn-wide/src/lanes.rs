//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! Four vectors of features at a time go down a group of strips that stays in L1, so that their lanes stay in
//! registers; the features behind the last whole vector go one at a time.

use crate::map::{Coef, GradInput, Normalize};
use crate::sum::{Item, Lanes, Sums};
use bn_core::kernels::{Acc, Affine, GradAffine, Hints};
use bn_core::stream::{self, Built, fill};
use bn_core::strips::{Strips, StripsMut};
use wide::f64x8;

/// The strips of a group.
const GROUP: usize = 16;

/// Vectors that go down a group together.
const WIDE: usize = 4;

/// A sum over the strips of a group.
trait Sum<T: Item> {
    /// Adds the columns of G vectors from `at` on.
    fn add<V: Lanes, const G: usize>(&self, at: usize, acc: &mut Acc<'_>);
}

/// Adds `len` columns: four vectors at a time, one, and single ones.
#[inline(always)]
fn columns<T: Item>(len: usize, sum: &impl Sum<T>, acc: &mut Acc<'_>) {
    let wide = len / (8 * WIDE) * (8 * WIDE);
    let whole = len / 8 * 8;
    for at in (0..wide).step_by(8 * WIDE) {
        sum.add::<f64x8, WIDE>(at, acc);
    }
    for at in (wide..whole).step_by(8) {
        sum.add::<f64x8, 1>(at, acc);
    }
    for at in whole..len {
        sum.add::<f64, 1>(at, acc);
    }
}

/// The columns of G vectors from `at` on. Those after them are fetched into L1 meanwhile.
#[inline(always)]
fn columns_of<T, V: Lanes, const G: usize>(strip: &[T], at: usize) -> &[T] {
    stream::fetch_range(strip, at + V::N * G, V::N * G);
    &strip[at..][..V::N * G]
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
    x: &'a [&'a [T]],
    pilot: Option<&'a [T]>,
}

impl<T: Item> Sum<T> for Moments<'_, T> {
    #[inline(always)]
    fn add<V: Lanes, const G: usize>(&self, at: usize, acc: &mut Acc<'_>) {
        let mut sums = Sums::<V>::load_all::<T, G>(acc, at);
        let strips = self.x.iter().map(|strip| columns_of::<T, V, G>(strip, at));
        match self.pilot {
            None => {
                for strip in strips {
                    for g in 0..G {
                        sums[g].add_plain::<T>(V::widen(&strip[8 * g..]));
                    }
                }
            }
            Some(pilot) => {
                let k = widened::<T, V, G>(&pilot[at..]);
                for strip in strips {
                    for g in 0..G {
                        sums[g].add_moments::<T>(V::widen(&strip[8 * g..]), k[g]);
                    }
                }
            }
        }
        for (g, sums) in sums.into_iter().enumerate() {
            sums.store::<T>(acc, at + 8 * g);
        }
    }
}

pub(crate) fn moments<T: Item>(x: Strips<'_, T>, pilot: Option<&[T]>, acc: &mut Acc<'_>) {
    for group in groups(x) {
        columns(x.len(), &Moments { x: group.strips(), pilot }, acc);
    }
}

struct GradSums<'a, T> {
    x: &'a [&'a [T]],
    dy: &'a [&'a [T]],
    pilot: &'a [T],
}

impl<T: Item> Sum<T> for GradSums<'_, T> {
    #[inline(always)]
    fn add<V: Lanes, const G: usize>(&self, at: usize, acc: &mut Acc<'_>) {
        let mut sums = Sums::<V>::load_all::<T, G>(acc, at);
        let k = widened::<T, V, G>(&self.pilot[at..]);
        for (x, dy) in self.x.iter().zip(self.dy) {
            let (x, dy) = (columns_of::<T, V, G>(x, at), columns_of::<T, V, G>(dy, at));
            for g in 0..G {
                sums[g].add_grads::<T>(V::widen(&x[8 * g..]), V::widen(&dy[8 * g..]), k[g]);
            }
        }
        for (g, sums) in sums.into_iter().enumerate() {
            sums.store::<T>(acc, at + 8 * g);
        }
    }
}

pub(crate) fn grad_sums<T: Item>(x: Strips<'_, T>, dy: Strips<'_, T>, pilot: &[T], acc: &mut Acc<'_>) {
    for (x_group, dy_group) in groups(x).zip(groups(dy)) {
        let sum = GradSums { x: x_group.strips(), dy: dy_group.strips(), pilot };
        columns(x.len(), &sum, acc);
    }
}

/// Up to [`GROUP`] strips.
struct Group<'a, T> {
    strips: [&'a [T]; GROUP],
    rows: usize,
}

impl<'a, T> Group<'a, T> {
    fn strips(&self) -> &[&'a [T]] {
        &self.strips[..self.rows]
    }
}

/// All strips in groups.
fn groups<'a, T: Copy>(x: Strips<'a, T>) -> impl Iterator<Item = Group<'a, T>> {
    (0..x.rows()).step_by(GROUP).map(move |start| {
        let rows = GROUP.min(x.rows() - start);
        let strips = std::array::from_fn(|i| if i < rows { x.strip(start + i) } else { &[] });
        Group { strips, rows }
    })
}

pub(crate) fn normalize<T: Item, const L: usize>(
    x: Strips<'_, T>,
    Affine { k, a, b }: Affine<'_, T>,
    mut y: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let stream = hints.stream.then(Built::new);
    for (row, strip) in x.iter().enumerate() {
        let ahead = hints.ahead(row, [x.strip_or_empty(row + 1), &[]]);
        y.fetch(row + 1);
        let map = Normalize { x: strip, kab: [k, a, b].map(Coef::Each) };
        fill::<T, L, _>(y.strip_mut(row), stream.as_ref(), ahead, &map);
    }
}

pub(crate) fn grad_input<T: Item, const L: usize>(
    x: Strips<'_, T>,
    dy: Strips<'_, T>,
    GradAffine { k, a, c, d }: GradAffine<'_, T>,
    mut dx: StripsMut<'_, T>,
    hints: Hints<'_, T>,
) {
    let stream = hints.stream.then(Built::new);
    for row in 0..x.rows() {
        let ahead = hints.ahead(row, [x.strip_or_empty(row + 1), dy.strip_or_empty(row + 1)]);
        dx.fetch(row + 1);
        let map = GradInput { x: x.strip(row), dy: dy.strip(row), kacd: [k, a, c, d].map(Coef::Each) };
        fill::<T, L, _>(dx.strip_mut(row), stream.as_ref(), ahead, &map);
    }
}

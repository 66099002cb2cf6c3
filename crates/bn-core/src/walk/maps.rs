//! Maps of a tile, strip by strip and in order, as every vector kernel crate runs them.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, Next, fill};
use super::linear::{GradInput, Normalize, Scale};
use super::vector::Vector;
use crate::kernel::{Affine, GradAffine, Hints, Map, Out, Post, Tile, Walk};
use crate::mem::{Bare, Output, Stores};
use crate::tensor::{Strips, StripsMut};

/// What every map is told of its memory: how to stream, if it does, and what to fetch.
pub(super) struct Memory<'h, T, const BYTES: usize> {
    pub(super) stores: Option<Stores<BYTES>>,
    pub(super) hints: Hints<'h, T>,
}

const PLAIN: &str = "maps that are not plain have a function of their own";

/// Writes a [plain](Map::is_plain) `map` of a tile, a line of L elements at a time, of which V holds K, which are converted as `by` does.
#[inline(always)]
pub fn map<T: Stored, V: Vector<T::Compute>, const K: usize, const L: usize, const BYTES: usize>(
    tile: Tile,
    map: &Map<'_, T>,
    out: Out<'_, T>,
    hints: Hints<'_, T>,
    by: impl Convert<T>,
    stores: impl FnOnce() -> Stores<BYTES>,
) {
    let Out::Fresh(out) = out;
    let memory = Memory { stores: hints.stream.then(stores), hints };
    match tile.walk {
        Walk::Runs { inner } => runs::<T, V, K, L, BYTES>(inner, map, out, memory, by),
        Walk::Columns => columns::<T, V, K, L, BYTES>(map, out, memory, by),
    }
}

/// A feature's coefficients are the same all along its run.
#[inline(always)]
fn runs<T: Stored, V: Vector<T::Compute>, const K: usize, const L: usize, const BYTES: usize>(
    inner: usize,
    map: &Map<'_, T>,
    out: StripsMut<'_, T>,
    memory: Memory<'_, T, BYTES>,
    by: impl Convert<T>,
) {
    match *map {
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Pass } => {
            each_run::<_, V, _, 1, L, BYTES>(
                inner,
                [x],
                out,
                memory,
                #[inline(always)]
                |f, [x]| Normalize::<_, _, _, K> { by, x, coefs: [k[f], a[f], b[f]] },
            );
        }
        Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: None } => {
            each_run::<_, V, _, 2, L, BYTES>(
                inner,
                [x, dy],
                out,
                memory,
                #[inline(always)]
                |f, [x, dy]| GradInput::<_, _, _, K> { by, x, dy, coefs: [k[f], a[f], c[f], d[f], m[f]] },
            );
        }
        Map::Scale { dy, a, gate: None } => each_run::<_, V, _, 1, L, BYTES>(
            inner,
            [dy],
            out,
            memory,
            #[inline(always)]
            |f, [dy]| Scale::<_, _, _, K> { by, dy, a: a[f] },
        ),
        _ => unreachable!("{PLAIN}"),
    }
}

/// Every column has coefficients of its own.
#[inline(always)]
fn columns<T: Stored, V: Vector<T::Compute>, const K: usize, const L: usize, const BYTES: usize>(
    map: &Map<'_, T>,
    out: StripsMut<'_, T>,
    memory: Memory<'_, T, BYTES>,
    by: impl Convert<T>,
) {
    match *map {
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Pass } => {
            each_strip::<_, 1, BYTES>(
                [x],
                out,
                memory,
                #[inline(always)]
                |[x], out, stores, next| {
                    fill::<T, V, L, BYTES>(
                        out,
                        stores,
                        next,
                        &Normalize::<_, _, _, K> { by, x, coefs: [k, a, b] },
                    );
                },
            );
        }
        Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: None } => {
            each_strip::<_, 2, BYTES>(
                [x, dy],
                out,
                memory,
                #[inline(always)]
                |[x, dy], out, stores, next| {
                    fill::<T, V, L, BYTES>(
                        out,
                        stores,
                        next,
                        &GradInput::<_, _, _, K> { by, x, dy, coefs: [k, a, c, d, m] },
                    );
                },
            );
        }
        Map::Scale { dy, a, gate: None } => {
            each_strip::<_, 1, BYTES>(
                [dy],
                out,
                memory,
                #[inline(always)]
                |[dy], out, stores, next| {
                    fill::<T, V, L, BYTES>(out, stores, next, &Scale::<_, _, _, K> { by, dy, a });
                },
            );
        }
        _ => unreachable!("{PLAIN}"),
    }
}

/// Fills each run from what `map` makes of its feature and of that run of each input.
#[inline(always)]
pub(super) fn each_run<
    'a,
    T: Bare,
    V,
    M: LineMap<T, V>,
    const N: usize,
    const L: usize,
    const BYTES: usize,
>(
    inner: usize,
    inputs: [Strips<'a, T>; N],
    out: StripsMut<'_, T>,
    memory: Memory<'_, T, BYTES>,
    map: impl Fn(usize, [&'a [T]; N]) -> M,
) {
    each_strip::<T, N, BYTES>(
        inputs,
        out,
        memory,
        #[inline(always)]
        |strips, out, stores, next| {
            for (f, out) in out.chunks_exact(inner).enumerate() {
                let mut runs: [&[T]; N] = [&[]; N];
                for i in 0..N {
                    runs[i] = &strips[i][f * inner..][..inner];
                }
                fill::<T, V, L, BYTES>(out, stores, next.skip(f * inner), &map(f, runs));
            }
        },
    );
}

/// Hands each strip of the inputs and of `out` to `map`, with what is to be fetched meanwhile.
#[inline(always)]
pub(super) fn each_strip<'a, T: Bare, const N: usize, const BYTES: usize>(
    inputs: [Strips<'a, T>; N],
    mut out: StripsMut<'_, T>,
    Memory { stores, hints }: Memory<'_, T, BYTES>,
    map: impl Fn([&'a [T]; N], Output<'_, T>, Option<&Stores<BYTES>>, Next<'_, T>),
) {
    for row in 0..out.rows() {
        out.prefetch(row + 1);
        let (mut strips, mut next): ([&[T]; N], [&[T]; 2]) = ([&[]; N], [&[]; 2]);
        for i in 0..N {
            strips[i] = inputs[i].strip(row);
        }
        for i in 0..2 {
            next[i] = match &hints.next[i] {
                Some(strips) => strips.strip_or_behind(row),
                None if hints.behind && i < N => inputs[i].strip_or_behind(row + 1),
                None => &[],
            };
        }
        map(strips, out.strip_mut(row), stores.as_ref(), Next { strips: next, sparse: hints.sparse });
    }
}

//! Maps of a tile, strip by strip and in order, as every vector kernel crate runs them.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, Next, fill};
use super::gate::{Activated, Gated, Through};
use super::linear::{Formula, GradInput, Mapped, Normalize, Scale, Second};
use super::vector::Vector;
use crate::kernel::{Affine, Gate, GradAffine, Hints, Map, Out, Post, SecondAffine, Tile, Walk};
use crate::mem::{Bare, Output, Stores};
use crate::num::Element;
use crate::tensor::{Strips, StripsMut};
use std::marker::PhantomData;

/// What every map is told of its memory: how to stream, if it does, and what to fetch.
struct Memory<'h, T, const BYTES: usize> {
    stores: Option<Stores<BYTES>>,
    hints: Hints<'h, T>,
}

/// Writes `map` of a tile, a line of L elements at a time, of which V holds K, which are converted as `by` does. The map is
/// [plain](Map::is_plain), or is not, as PLAIN says: compilers make worse code of plain maps in one function with the others.
#[inline(always)]
pub fn map<
    T: Stored,
    V: Vector<T::Compute>,
    const K: usize,
    const L: usize,
    const BYTES: usize,
    const PLAIN: bool,
>(
    tile: Tile,
    map: &Map<'_, T>,
    out: Out<'_, T>,
    hints: Hints<'_, T>,
    by: impl Convert<T>,
    stores: impl FnOnce() -> Stores<BYTES>,
) {
    let Out::Fresh(out) = out;
    let memory = Memory { stores: hints.stream.then(stores), hints };
    let to = To::<T, V, _, K, L, BYTES> { walk: tile.walk, out, memory, by, vector: PhantomData };
    if PLAIN { plain(map, to) } else { other(map, to) }
}

#[inline(always)]
fn plain<
    T: Stored,
    V: Vector<T::Compute>,
    W: Convert<T>,
    const K: usize,
    const L: usize,
    const BYTES: usize,
>(
    map: &Map<'_, T>,
    to: To<'_, '_, T, V, W, K, L, BYTES>,
) {
    match *map {
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Pass } => {
            to.map([x], [k, a, b], Normalize);
        }
        Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: None } => {
            to.map([x, dy], [k, a, c, d, m], GradInput);
        }
        Map::Scale { dy, a, gate: None } => to.map([dy], [a], Scale),
        _ => unreachable!("maps that are not plain have a function of their own"),
    }
}

#[inline(always)]
fn other<
    T: Stored,
    V: Vector<T::Compute>,
    W: Convert<T>,
    const K: usize,
    const L: usize,
    const BYTES: usize,
>(
    map: &Map<'_, T>,
    to: To<'_, '_, T, V, W, K, L, BYTES>,
) {
    match *map {
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Clamp(clamp) } => {
            to.map([x], [k, a, b], Activated::<_, false>(clamp));
        }
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::AddClamp(plus, clamp) } => {
            to.map([x, plus], [k, a, b], Activated::<_, false>(clamp));
        }
        Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: Some(gate) } => {
            to.map([x, dy], [k, a, c, d, m, gate.affine.b], Through::<_, false>(gate.clamp));
        }
        Map::Scale { dy, gate: Some((x, Gate { affine: Affine { k, a, b }, clamp })), .. } => {
            to.map([x, dy], [k, a, b], Through::<_, false>(clamp));
        }
        Map::Gated { dy, y, clamp } => to.map_strips([dy, y], Gated(clamp)),
        Map::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } } => {
            to.map([x, dy, v], [k, a, b, c, d, m, l], Second);
        }
        _ => unreachable!("plain maps have a function of their own"),
    }
}

/// Where a map goes, and how.
struct To<'t, 'h, T: Element, V, W, const K: usize, const L: usize, const BYTES: usize> {
    walk: Walk,
    out: StripsMut<'t, T>,
    memory: Memory<'h, T, BYTES>,
    by: W,
    vector: PhantomData<V>,
}

impl<T, V, W, const K: usize, const L: usize, const BYTES: usize> To<'_, '_, T, V, W, K, L, BYTES>
where
    T: Stored,
    V: Vector<T::Compute>,
    W: Convert<T>,
{
    /// Maps the inputs. In runs a feature's coefficients are the same all along its run; in columns every column has its own.
    #[inline(always)]
    fn map<F: Formula<T::Compute, N, M>, const N: usize, const M: usize>(
        self,
        inputs: [Strips<'_, T>; N],
        rows: [&[T::Compute]; M],
        formula: F,
    ) {
        let Self { walk, out, memory, by, .. } = self;
        match walk {
            Walk::Runs { inner } => each_run::<T, V, _, N, L, BYTES>(
                inner,
                inputs,
                out,
                memory,
                #[inline(always)]
                |f, inputs| Mapped::<_, _, _, _, N, M, K> { by, inputs, coefs: of(rows, f), formula },
            ),
            Walk::Columns => each_strip::<T, N, BYTES>(
                inputs,
                out,
                memory,
                #[inline(always)]
                |inputs, out, stores, next| {
                    let map = Mapped::<_, _, _, _, N, M, K> { by, inputs, coefs: rows, formula };
                    fill::<T, V, L, BYTES>(out, stores, next, &map);
                },
            ),
        }
    }

    /// Maps the inputs by a formula without coefficients that count: a strip is one run then.
    #[inline(always)]
    fn map_strips<F: Formula<T::Compute, N, 1>, const N: usize>(
        self,
        inputs: [Strips<'_, T>; N],
        formula: F,
    ) {
        let Self { out, memory, by, .. } = self;
        let coefs = [T::Compute::default()];
        each_strip::<T, N, BYTES>(
            inputs,
            out,
            memory,
            #[inline(always)]
            |inputs, out, stores, next| {
                let map = Mapped::<_, _, _, _, N, 1, K> { by, inputs, coefs, formula };
                fill::<T, V, L, BYTES>(out, stores, next, &map);
            },
        );
    }
}

/// The coefficients of feature `f`.
#[inline(always)]
pub(super) fn of<R: Copy, const M: usize>(rows: [&[R]; M], f: usize) -> [R; M] {
    // Not `map`, which is not inlined everywhere.
    let mut coefs = [rows[0][f]; M];
    for i in 1..M {
        coefs[i] = rows[i][f];
    }
    coefs
}

/// Fills each run from what `map` makes of its feature and of that run of each input.
#[inline(always)]
fn each_run<'a, T: Bare, V, M: LineMap<T, V>, const N: usize, const L: usize, const BYTES: usize>(
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
fn each_strip<'a, T: Bare, const N: usize, const BYTES: usize>(
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

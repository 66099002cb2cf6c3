//! Maps with an activation or a gate, and that of the double backward: apart from the [plain ones](super::maps), whose code
//! compilers make worse of where it stands in one function with these.

use super::convert::{Convert, Stored};
use super::fill::fill;
use super::gate::{Activated, Gated, GradGated, ScaleGated};
use super::maps::{Memory, each_run, each_strip};
use super::second::Second;
use super::vector::Vector;
use crate::kernel::{Affine, Gate, GradAffine, Hints, Map, Out, Post, SecondAffine, Tile, Walk};
use crate::mem::Stores;
use crate::tensor::StripsMut;

const OTHERS: &str = "plain maps have a function of their own";

/// As [`map`](super::map), for maps that are not [plain](Map::is_plain).
#[inline(always)]
pub fn other_map<T: Stored, V: Vector<T::Compute>, const K: usize, const L: usize, const BYTES: usize>(
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
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Clamp(clamp) } => {
            each_run::<_, V, _, 1, L, BYTES>(
                inner,
                [x],
                out,
                memory,
                #[inline(always)]
                |f, [x]| Activated::<_, _, _, 0, K, false> {
                    by,
                    x,
                    plus: [],
                    coefs: [k[f], a[f], b[f]],
                    clamp,
                },
            );
        }
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::AddClamp(plus, clamp) } => {
            each_run::<_, V, _, 2, L, BYTES>(
                inner,
                [x, plus],
                out,
                memory,
                #[inline(always)]
                |f, [x, r]| Activated::<_, _, _, 1, K, false> {
                    by,
                    x,
                    plus: [r],
                    coefs: [k[f], a[f], b[f]],
                    clamp,
                },
            );
        }
        Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: Some(gate) } => {
            let (b, clamp) = (gate.affine.b, gate.clamp);
            each_run::<_, V, _, 2, L, BYTES>(
                inner,
                [x, dy],
                out,
                memory,
                #[inline(always)]
                |f, [x, dy]| {
                    let (coefs, b) = ([k[f], a[f], c[f], d[f], m[f]], b[f]);
                    GradGated::<_, _, _, K, false> { by, x, dy, coefs, b, clamp }
                },
            );
        }
        Map::Scale { dy, gate: Some((x, Gate { affine: Affine { k, a, b }, clamp })), .. } => {
            each_run::<_, V, _, 2, L, BYTES>(
                inner,
                [x, dy],
                out,
                memory,
                #[inline(always)]
                |f, [x, dy]| ScaleGated::<_, _, _, K> { by, x, dy, coefs: [k[f], a[f], b[f]], clamp },
            );
        }
        Map::Gated { .. } => columns::<T, V, K, L, BYTES>(map, out, memory, by),
        Map::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } } => {
            each_run::<_, V, _, 3, L, BYTES>(
                inner,
                [x, dy, v],
                out,
                memory,
                #[inline(always)]
                |f, inputs| {
                    let coefs = [k[f], a[f], b[f], c[f], d[f], m[f], l[f]];
                    Second::<_, _, _, K> { by, inputs, coefs }
                },
            );
        }
        _ => unreachable!("{OTHERS}"),
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
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Clamp(clamp) } => {
            each_strip::<_, 1, BYTES>(
                [x],
                out,
                memory,
                #[inline(always)]
                |[x], out, stores, next| {
                    let map = Activated::<_, _, _, 0, K, false> { by, x, plus: [], coefs: [k, a, b], clamp };
                    fill::<T, V, L, BYTES>(out, stores, next, &map);
                },
            );
        }
        Map::Normalize { x, affine: Affine { k, a, b }, post: Post::AddClamp(plus, clamp) } => {
            each_strip::<_, 2, BYTES>(
                [x, plus],
                out,
                memory,
                #[inline(always)]
                |[x, r], out, stores, next| {
                    let map = Activated::<_, _, _, 1, K, false> { by, x, plus: [r], coefs: [k, a, b], clamp };
                    fill::<T, V, L, BYTES>(out, stores, next, &map);
                },
            );
        }
        Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: Some(gate) } => {
            let (b, clamp) = (gate.affine.b, gate.clamp);
            each_strip::<_, 2, BYTES>(
                [x, dy],
                out,
                memory,
                #[inline(always)]
                |[x, dy], out, stores, next| {
                    let map = GradGated::<_, _, _, K, false> { by, x, dy, coefs: [k, a, c, d, m], b, clamp };
                    fill::<T, V, L, BYTES>(out, stores, next, &map);
                },
            );
        }
        Map::Scale { dy, gate: Some((x, Gate { affine: Affine { k, a, b }, clamp })), .. } => {
            each_strip::<_, 2, BYTES>(
                [x, dy],
                out,
                memory,
                #[inline(always)]
                |[x, dy], out, stores, next| {
                    let map = ScaleGated::<_, _, _, K> { by, x, dy, coefs: [k, a, b], clamp };
                    fill::<T, V, L, BYTES>(out, stores, next, &map);
                },
            );
        }
        // Without coefficients a strip is one run.
        Map::Gated { dy, y, clamp } => {
            each_strip::<_, 2, BYTES>(
                [dy, y],
                out,
                memory,
                #[inline(always)]
                |[dy, y], out, stores, next| {
                    fill::<T, V, L, BYTES>(out, stores, next, &Gated::<_, _, K> { by, y, dy, clamp });
                },
            );
        }
        Map::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } } => {
            each_strip::<_, 3, BYTES>(
                [x, dy, v],
                out,
                memory,
                #[inline(always)]
                |inputs, out, stores, next| {
                    let coefs = [k, a, b, c, d, m, l];
                    fill::<T, V, L, BYTES>(out, stores, next, &Second::<_, _, _, K> { by, inputs, coefs });
                },
            );
        }
        _ => unreachable!("{OTHERS}"),
    }
}

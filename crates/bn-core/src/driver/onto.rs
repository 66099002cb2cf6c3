//! Maps whose output goes over an input, or onto a gradient that is there: piece by piece in L1.
//!
//! A kernel maps a piece to memory of its own, beside everything. Only then is it put to its place, so that what it goes over has
//! been read. A map is elementwise: pieces change no bit.

use super::convert::{PIECE, for_pieces};
use super::target::Target;
use crate::kernel::{Hints, KernelSet, Kernels, Map, Out, Tile};
use crate::num::Element;
use crate::tensor::{Strips, StripsMut};

/// The output of a piece, where a cache line begins.
#[repr(align(64))]
struct Beside<T>([T; PIECE]);

/// Maps a tile to `out`. An input that is absent from the map is what `out` holds.
pub(super) fn map<T: Element>(
    (set, kernels): (&impl KernelSet, &dyn Kernels<T>),
    tile: Tile,
    map: &Map<'_, T>,
    mut out: Target<'_, T>,
) {
    let mut beside = Beside([T::default(); PIECE]);
    for_pieces(tile, out.rows(), |piece| {
        let (rows, len) = (piece.rows.len(), piece.cols.len());
        let mapped = &mut beside.0[..rows * len];
        {
            let own = filled(map, &out);
            let own = own.over::<T>(|strips| piece.cut(&strips), |coefs| piece.of(coefs));
            let to = StripsMut::from_output((&mut *mapped).into(), rows, len);
            let to = Out::Fresh(to.unwrap_or_else(|| unreachable!("a piece fits its buffer")));
            kernels.map(piece.tile, &own, to, Hints::default());
        }
        set.vectorize(
            #[inline(always)]
            || {
                for (row, values) in piece.rows.clone().zip(mapped.chunks_exact(len)) {
                    out.put(row, piece.cols.start, values);
                }
            },
        );
    });
}

/// The map with the input that is absent from it, which `out` holds.
pub(super) fn filled<'s, 'm: 's, T: Element>(map: &Map<'m, T>, out: &'s Target<'_, T>) -> Map<'s, T> {
    let fill = |strips: Strips<'m, T>| match out {
        Target::Over(held) if strips.is_absent() => held.read(),
        _ => strips.reborrow(),
    };
    map.over::<T>(fill, |coefs| coefs)
}

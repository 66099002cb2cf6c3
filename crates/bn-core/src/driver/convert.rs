//! Kernels for types that are computed in another one: tiles are converted piece by piece in L1.
//!
//! A piece starts at a whole number of lanes, so every value meets the lane it would have in a tensor of the other type:
//! the sums have the bits of the widened tensor's, and outputs are those of the other type, rounded once more.

use crate::kernel::{Acc, Fetch, Form, Hints, KernelSet, Kernels, Map, Out, Sum, Tile, Walk};
use crate::num::{Element, Real};
use crate::tensor::{Strips, StripsMut};
use std::ops::Range;

/// A backend's kernels for T: its own, or those of the type that T is computed in.
pub(super) enum Chosen<'k, T: Element> {
    Own(&'k dyn Kernels<T>),
    Converted(Pieces<'k, T::Compute>),
}

impl<'k, T: Element> Chosen<'k, T> {
    pub(super) fn of(kernels: &'k impl KernelSet) -> Self {
        let compute = || kernels.of().unwrap_or_else(|| unreachable!("there are kernels for f32 and f64"));
        kernels.of().map_or_else(|| Self::Converted(Pieces(compute())), Self::Own)
    }

    pub(super) fn get(&self) -> &dyn Kernels<T> {
        match self {
            Self::Own(kernels) => *kernels,
            Self::Converted(pieces) => pieces,
        }
    }
}

/// The kernels of R for every type that is computed in R.
pub(super) struct Pieces<'k, R: Real>(&'k dyn Kernels<R>);

/// Elements of a piece: three buffers of f32 take half of L1. A whole number of lanes.
pub(super) const PIECE: usize = 2048;
const _: () = assert!(PIECE.is_multiple_of(f32::LANES) && PIECE.is_multiple_of(f64::LANES));

/// A buffer for each input of an operation.
type Buffers<R, const N: usize> = [[R; PIECE]; N];

/// A part of a tile that fits a buffer.
pub(super) struct Piece {
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
    features: Range<usize>,
    pub(super) tile: Tile,
}

impl Piece {
    /// The piece's first virtual lane in the tile's accumulator.
    fn lane<R: Real>(&self) -> usize {
        match self.tile.walk {
            Walk::Runs { .. } => self.features.start * R::LANES,
            Walk::Columns => self.features.start,
        }
    }

    /// The values of the piece's features, out of one for each feature of the tile.
    pub(super) fn of<'v, R>(&self, values: &'v [R]) -> &'v [R] {
        &values[self.features.clone()]
    }

    /// Its elements of the tile's strips.
    pub(super) fn cut<'v, T: Copy>(&self, strips: &Strips<'v, T>) -> Strips<'v, T> {
        strips.rows_range(self.rows.clone()).columns(self.cols.clone())
    }

    /// Its elements of `x`, widened.
    fn widened<'b, T: Element>(&self, x: Strips<'_, T>, buf: &'b mut [T::Compute]) -> Strips<'b, T::Compute> {
        let (rows, len) = (self.rows.len(), self.cols.len());
        for (i, to) in self.rows.clone().zip(buf.chunks_exact_mut(len)) {
            T::widen_all(&x.strip(i)[self.cols.clone()], to);
        }
        Strips::from_slice(buf, rows, len).unwrap_or_else(|| unreachable!("a piece fits its buffer"))
    }

    /// Puts `values` in its place in `out`, rounded.
    fn narrow<T: Element>(&self, values: &[T::Compute], out: &mut StripsMut<'_, T>) {
        let len = self.cols.len();
        let mut narrow = [T::default(); PIECE];
        T::narrow_all(values, &mut narrow[..values.len()]);
        for (i, values) in self.rows.clone().zip(narrow[..self.rows.len() * len].chunks_exact(len)) {
            out.strip_mut(i).copy(self.cols.start, values);
        }
    }
}

/// Cuts a tile of `rows` strips into pieces, the elements of every lane in order.
pub(super) fn for_pieces(tile: Tile, rows: usize, mut work: impl FnMut(Piece)) {
    match tile.walk {
        Walk::Columns => {
            let width = tile.features.clamp(1, PIECE);
            let height = PIECE / width;
            for start in (0..tile.features).step_by(width) {
                let features = start..tile.features.min(start + width);
                let tile = Tile { features: features.len(), ..tile };
                for row in (0..rows).step_by(height) {
                    let rows = row..rows.min(row + height);
                    work(Piece { rows, cols: features.clone(), features: features.clone(), tile });
                }
            }
        }
        Walk::Runs { inner } => {
            let group = (PIECE / inner).max(1);
            for row in 0..rows {
                for start in (0..tile.features).step_by(group) {
                    let features = start..tile.features.min(start + group);
                    let whole = start * inner..features.end * inner;
                    for col in whole.clone().step_by(PIECE) {
                        let cols = col..whole.end.min(col + PIECE);
                        let walk = Walk::Runs { inner: cols.len() / features.len() };
                        let tile = Tile { features: features.len(), walk };
                        work(Piece { rows: row..row + 1, cols, features: features.clone(), tile });
                    }
                }
            }
        }
    }
}

impl<R: Real> Pieces<'_, R> {
    /// A map of at most N inputs.
    fn pieces<T: Element<Compute = R>, const N: usize>(
        &self,
        tile: Tile,
        map: &Map<'_, T>,
        mut out: StripsMut<'_, T>,
    ) {
        let mut buffers: Buffers<R, N> = [[R::default(); PIECE]; N];
        let mut result = [R::default(); PIECE];
        for_pieces(tile, out.rows(), |piece| {
            let mut free = buffers.iter_mut();
            let mut widened = |x| piece.widened(x, free.next().unwrap_or_else(|| unreachable!("{ENOUGH}")));
            let map = map.over::<R>(&mut widened, |coef| piece.of(coef));
            let (rows, len) = (piece.rows.len(), piece.cols.len());
            let result = &mut result[..rows * len];
            let to = StripsMut::from_output(result.into(), rows, len);
            let to = Out::Fresh(to.unwrap_or_else(|| unreachable!("a piece fits its buffer")));
            self.0.map(piece.tile, &map, to, Hints::default());
            piece.narrow(result, &mut out);
        });
    }
}

impl<T: Element<Compute = R>, R: Real> Kernels<T> for Pieces<'_, R> {
    fn sum(&self, tile: Tile, sum: &Sum<'_, T>, _: Fetch, mut acc: Acc<'_>) {
        let mut buffers: Buffers<R, 2> = [[R::default(); PIECE]; 2];
        for_pieces(tile, sum.rows(), |piece| {
            let mut free = buffers.iter_mut();
            let mut widened = |x| piece.widened(x, free.next().unwrap_or_else(|| unreachable!("{ENOUGH}")));
            let sum = sum.over::<R>(&mut widened, |coef| piece.of(coef));
            self.0.sum(piece.tile, &sum, Fetch::NEAR, acc.from_lane(piece.lane::<R>()));
        });
    }

    fn map(&self, tile: Tile, map: &Map<'_, T>, out: Out<'_, T>, _: Hints<'_, T>) {
        let Out::Fresh(out) = out;
        match map.inputs() {
            0..=2 => self.pieces::<T, 2>(tile, map, out),
            _ => self.pieces::<T, 3>(tile, map, out),
        }
    }

    fn form(&self) -> Form {
        // Its pieces are converted one after the other, in L1.
        Form { follows: false, turns: false, ..self.0.form() }
    }
}

const ENOUGH: &str = "there are as many buffers as an operation has inputs";

//! f16 and bf16 tensors: converted piece by piece in L1 and handed to the f32 kernels.
//!
//! A piece starts at a whole number of lanes, so every value meets the lane it would have in an f32 tensor:
//! the sums have the bits of the widened tensor's, and y and dx are those of f32, rounded once more.

use crate::element::{Element, Real};
use crate::kernels::{Acc, Affine, Fetch, GradAffine, Hints, Kernels, Tile, Walk};
use crate::strips::{Strips, StripsMut};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::ops::Range;

/// Elements of a piece: three buffers of f32 take half of L1. A whole number of lanes.
const PIECE: usize = 2048;
const _: () = assert!(PIECE.is_multiple_of(f32::LANES));

/// A part of a tile that fits a buffer.
struct Piece {
    rows: Range<usize>,
    cols: Range<usize>,
    features: Range<usize>,
    tile: Tile,
}

impl Piece {
    /// The piece's first virtual lane in the tile's accumulator.
    fn lane(&self) -> usize {
        match self.tile.walk {
            Walk::Rows { .. } => self.features.start * f32::LANES,
            Walk::Lanes => self.features.start,
        }
    }

    /// The values of the piece's features, out of one for each feature of the tile.
    fn of<'v>(&self, values: &'v [f32]) -> &'v [f32] {
        &values[self.features.clone()]
    }

    fn len(&self) -> (usize, usize) {
        (self.rows.len(), self.cols.len())
    }
}

/// Cuts a tile of `rows` strips into pieces, the elements of every lane in order.
fn for_pieces(tile: Tile, rows: usize, mut work: impl FnMut(Piece)) {
    match tile.walk {
        Walk::Lanes => {
            let width = tile.features.clamp(1, PIECE);
            let height = PIECE / width;
            for start in (0..tile.features).step_by(width) {
                let features = start..tile.features.min(start + width);
                let tile = Tile { features: features.len(), walk: Walk::Lanes, fetch: Fetch::Near };
                for row in (0..rows).step_by(height) {
                    let rows = row..rows.min(row + height);
                    work(Piece { rows, cols: features.clone(), features: features.clone(), tile });
                }
            }
        }
        Walk::Rows { inner } => {
            let group = (PIECE / inner).max(1);
            for row in 0..rows {
                for start in (0..tile.features).step_by(group) {
                    let features = start..tile.features.min(start + group);
                    let whole = start * inner..features.end * inner;
                    for col in whole.clone().step_by(PIECE) {
                        let cols = col..whole.end.min(col + PIECE);
                        let walk = Walk::Rows { inner: cols.len() / features.len() };
                        let tile = Tile { features: features.len(), walk, fetch: Fetch::Near };
                        work(Piece { rows: row..row + 1, cols, features: features.clone(), tile });
                    }
                }
            }
        }
    }
}

fn widened<'b, T>(x: Strips<'_, T>, piece: &Piece, buf: &'b mut [f32; PIECE]) -> Strips<'b, f32>
where
    [T]: HalfFloatSliceExt,
{
    let (rows, len) = piece.len();
    for (i, to) in piece.rows.clone().zip(buf.chunks_exact_mut(len)) {
        x.strip(i)[piece.cols.clone()].convert_to_f32_slice(to);
    }
    Strips::from_slice(buf, rows, len).unwrap_or_else(|| unreachable!("a piece fits its buffer"))
}

/// Lets `map` fill a buffer, and puts it into `y`, rounded.
fn narrowed<T>(y: &mut StripsMut<'_, T>, piece: &Piece, map: impl FnOnce(StripsMut<'_, f32>))
where
    [T]: HalfFloatSliceExt,
{
    let mut buf = [0.0; PIECE];
    let (rows, len) = piece.len();
    map(StripsMut::from_slice(&mut buf, rows, len).unwrap_or_else(|| unreachable!("a piece fits its buffer")));
    for (i, from) in piece.rows.clone().zip(buf.chunks_exact(len)) {
        y.strip_mut(i)[piece.cols.clone()].convert_from_f32_slice(from);
    }
}

macro_rules! half_type {
    ($t:ident, high: $high:literal) => {
        impl Element for $t {
            type Compute = f32;
            // The arithmetic is that of f32, the result must fit this type.
            const RANGE: crate::coef::Range = crate::coef::Range { low: 1e-30, high: $high };
            const NAME: &'static str = stringify!($t);

            fn moments(
                kernels: &dyn Kernels<f32>,
                tile: Tile,
                x: Strips<'_, Self>,
                pilot: Option<&[f32]>,
                mut acc: Acc<'_>,
            ) {
                let mut buf = [0.0; PIECE];
                for_pieces(tile, x.rows(), |p| {
                    let pilot = pilot.map(|pilot| p.of(pilot));
                    kernels.moments(p.tile, widened(x, &p, &mut buf), pilot, acc.from_lane(p.lane()));
                });
            }

            fn normalize(
                kernels: &dyn Kernels<f32>,
                tile: Tile,
                x: Strips<'_, Self>,
                Affine { k, a, b }: Affine<'_, f32>,
                mut y: StripsMut<'_, Self>,
                _: Hints<'_, Self>,
            ) {
                let mut buf = [0.0; PIECE];
                for_pieces(tile, x.rows(), |p| {
                    let (x, affine) =
                        (widened(x, &p, &mut buf), Affine { k: p.of(k), a: p.of(a), b: p.of(b) });
                    narrowed(&mut y, &p, |y| kernels.normalize(p.tile, x, affine, y, Hints::default()));
                });
            }

            fn grad_sums(
                kernels: &dyn Kernels<f32>,
                tile: Tile,
                x: Strips<'_, Self>,
                dy: Strips<'_, Self>,
                pilot: Option<&[f32]>,
                mut acc: Acc<'_>,
            ) {
                let (mut x_buf, mut dy_buf) = ([0.0; PIECE], [0.0; PIECE]);
                for_pieces(tile, x.rows(), |p| {
                    let (x, dy) = (widened(x, &p, &mut x_buf), widened(dy, &p, &mut dy_buf));
                    kernels.grad_sums(p.tile, x, dy, pilot.map(|pilot| p.of(pilot)), acc.from_lane(p.lane()));
                });
            }

            fn grad_input(
                kernels: &dyn Kernels<f32>,
                tile: Tile,
                x: Strips<'_, Self>,
                dy: Strips<'_, Self>,
                GradAffine { k, a, c, d }: GradAffine<'_, f32>,
                mut dx: StripsMut<'_, Self>,
                _: Hints<'_, Self>,
            ) {
                let (mut x_buf, mut dy_buf) = ([0.0; PIECE], [0.0; PIECE]);
                for_pieces(tile, x.rows(), |p| {
                    let (x, dy) = (widened(x, &p, &mut x_buf), widened(dy, &p, &mut dy_buf));
                    let affine = GradAffine { k: p.of(k), a: p.of(a), c: p.of(c), d: p.of(d) };
                    narrowed(&mut dx, &p, |dx| {
                        kernels.grad_input(p.tile, x, dy, affine, dx, Hints::default())
                    });
                });
            }

            fn to_compute(self) -> f32 {
                self.to_f32()
            }
            fn from_compute(v: f32) -> Self {
                Self::from_f32(v)
            }
        }
    };
}

half_type!(f16, high: 1e10);
half_type!(bf16, high: 1e30);

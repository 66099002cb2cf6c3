//! Pieces of hard features of f64: elements are gathered from their strips, scaled, and results put back.
//!
//! A piece lies in L1 and is mapped as rows of columns, whatever the features were: coefficients are spread over a row, and a
//! narrow row is repeated until it is worth a call.

use super::extent::Extent;
use super::window::{WIDTH, Window};
use crate::kernel::{
    Acc, Affine, Clamp, Fetch, GradAffine, Hints, KernelSet, Kernels, Map, Out, Plane, Post, Sum, Tile, Walk,
};
use crate::maths::frame::Coef;
use crate::num::wide::power_of_two;
use crate::num::{Element, Real};
use crate::tensor::{Strips, StripsMut};
use std::ops::Range;

/// Elements of a piece.
pub(super) const PIECE: usize = 1024;

/// A value as f64.
#[inline(always)]
pub(super) fn wide<T: Element>(v: T) -> f64 {
    v.to_compute().to_f64()
}

/// The nearest value of the type.
#[inline(always)]
pub(super) fn narrow<T: Element>(v: f64) -> T {
    T::from_compute(T::Compute::from_f64(v))
}

/// v·2ᵉ for each column, in three steps that are exact but for the last.
#[derive(Clone, Debug)]
pub(super) struct Scale([Vec<f64>; 2]);

impl Default for Scale {
    fn default() -> Self {
        Self([vec![1.0; WIDTH], vec![1.0; WIDTH]])
    }
}

impl Scale {
    pub(super) fn set(&mut self, window: &Window<'_>, exponent: impl Fn(usize) -> i32) {
        let [steps, last] = &mut self.0;
        let third = |i| exponent(i).clamp(-2200, 2200) / 3;
        window.spread(|i| power_of_two(third(i)), steps);
        window.spread(|i| power_of_two(exponent(i).clamp(-2200, 2200) - 2 * third(i)), last);
    }

    /// A piece of the `rows` of `from`, scaled and without `k`.
    pub(super) fn read<T: Element>(
        &self,
        set: &impl KernelSet,
        window: &Window<'_>,
        from: &Strips<'_, T>,
        rows: Range<usize>,
        to: &mut [f64],
        k: &[f64],
    ) {
        set.vectorize(
            #[inline(always)]
            || {
                window.gather(from, rows, to, wide);
                self.apply(window, to, k);
            },
        );
    }

    /// Applies it to a piece, and takes `k` away.
    #[inline(always)]
    pub(super) fn apply(&self, window: &Window<'_>, values: &mut [f64], k: &[f64]) {
        let row = WIDTH / window.width() * window.width();
        let [steps, last] = &self.0;
        for values in values.chunks_mut(row) {
            for ((v, &k), (&step, &last)) in values.iter_mut().zip(k).zip(steps.iter().zip(last)) {
                *v = *v * step * step * last - k;
            }
        }
    }
}

/// Memory for pieces and what belongs to their columns.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    pub(super) x: Vec<f64>,
    pub(super) dy: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) result: Vec<f64>,
    lanes: Vec<f64>,
    pub(super) zeros: Vec<f64>,
    /// How x, dy, the result and v are scaled.
    pub(super) scales: [Scale; 4],
    /// The pilot that x loses.
    pub(super) k: Vec<f64>,
    /// δ, a, b or c, d and m; of the double backward δ, a, b, c, d, m and l.
    pub(super) coefs: [Vec<f64>; 7],
}

impl Default for Pieces {
    fn default() -> Self {
        let row = || vec![0.0; WIDTH];
        let piece = || vec![0.0; PIECE];
        Self {
            x: piece(),
            dy: piece(),
            v: piece(),
            result: piece(),
            lanes: vec![0.0; 4 * WIDTH],
            zeros: row(),
            scales: Default::default(),
            k: row(),
            coefs: [(); 7].map(|()| row()),
        }
    }
}

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normalize,
    GradInput,
    Scale,
}

impl Kind {
    /// The coefficient in the third place: b or c.
    pub(super) fn third(self, coef: &Coef) -> f64 {
        if self == Self::Normalize { coef.b } else { coef.c }
    }
}

/// A map's kind and its inputs, as far as it has them.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'i, T> {
    pub(super) kind: Kind,
    pub(super) x: Option<Strips<'i, T>>,
    /// dy, or what is added to a normalized x.
    pub(super) other: Option<Strips<'i, T>>,
    /// The activation of the result.
    pub(super) clamp: Option<Clamp<f64>>,
}

impl<'i, T: Element> Inputs<'i, T> {
    pub(super) fn gradients(kind: Kind, x: Option<Strips<'i, T>>, dy: Strips<'i, T>) -> Self {
        Self { kind, x, other: Some(dy), clamp: None }
    }

    pub(super) fn normalize(x: Strips<'i, T>, post: Post<'i, T>) -> Self {
        let clamp = match post {
            Post::Pass => None,
            Post::Clamp(clamp) | Post::AddClamp(_, clamp) => Some(clamp.widened()),
        };
        Self { kind: Kind::Normalize, x: Some(x), other: post.plus(), clamp }
    }
}

impl Pieces {
    /// Maps a window of the inputs to `out`.
    pub(super) fn map<T: Element>(
        &mut self,
        set: &impl KernelSet,
        window: &Window<'_>,
        Inputs { kind, x, other, clamp }: Inputs<'_, T>,
        out: &mut StripsMut<'_, T>,
    ) {
        for rows in window.pieces(out.rows(), PIECE) {
            let len = rows.len() * window.width();
            if let Some(x) = &x {
                self.scales[0].read(set, window, x, rows.clone(), &mut self.x[..len], &self.k);
            }
            if let Some(other) = &other {
                self.scales[1].read(set, window, other, rows.clone(), &mut self.dy[..len], &self.zeros);
            }
            for (at, rows, width) in window.rows(len) {
                if rows > 0 {
                    self.map_rows(set.f64(), (kind, other.is_some()), at, rows, width);
                }
            }
            self.put(set, window, rows, (clamp, out));
        }
    }

    fn map_rows(
        &mut self,
        kernels: &dyn Kernels<f64>,
        (kind, both): (Kind, bool),
        at: Range<usize>,
        rows: usize,
        width: usize,
    ) {
        let cut = |v| Strips::from_slice(v, rows, width).unwrap_or_else(|| unreachable!("rows of a piece"));
        let (x, dy) = (cut(&self.x[at.clone()]), cut(&self.dy[at.clone()]));
        let [k, a, bc, d, m, ..] = self.coefs.each_ref().map(|row| &row[..width]);
        let map = match kind {
            Kind::Normalize => {
                let post = if both { Post::AddClamp(dy, Clamp::none()) } else { Post::Pass };
                Map::Normalize { x, affine: Affine { k, a, b: bc }, post }
            }
            Kind::GradInput => Map::GradInput { x, dy, affine: GradAffine { k, a, c: bc, d, m }, gate: None },
            Kind::Scale => Map::Scale { dy, a, gate: None },
        };
        let to = StripsMut::from_output((&mut self.result[at]).into(), rows, width);
        let to = Out::Fresh(to.unwrap_or_else(|| unreachable!("rows of a piece")));
        kernels.map(Tile { features: width, walk: Walk::Columns }, &map, to, Hints::default());
    }

    /// The sums of a window around its k: of x alone its moments, of x and dy those of the backward. A lane to a column, so that
    /// they do not depend on which features go together. `add` gets each lane of a feature.
    pub(super) fn sum<T: Element>(
        &mut self,
        set: &impl KernelSet,
        window: &Window<'_>,
        x: &Strips<'_, T>,
        dy: Option<&Strips<'_, T>>,
        mut add: impl FnMut(usize, [(f64, f64); 2]),
    ) {
        let width = window.width();
        let lanes = &mut self.lanes[..4 * width];
        lanes.fill(0.0);
        for rows in window.pieces(x.rows(), PIECE) {
            let (height, len) = (rows.len(), rows.len() * width);
            self.scales[0].read(set, window, x, rows.clone(), &mut self.x[..len], &self.zeros);
            if let Some(dy) = dy {
                self.scales[1].read(set, window, dy, rows, &mut self.dy[..len], &self.zeros);
            }
            let cut = |v| Strips::from_slice(v, height, width).unwrap_or_else(|| unreachable!("a piece"));
            let (x, pilot) = (cut(&self.x), Some(&self.k[..width]));
            let sum = match dy {
                Some(_) => Sum::Grads { x, dy: cut(&self.dy), pilot, gate: None },
                None => Sum::Moments { x, pilot },
            };
            let tile = Tile { features: width, walk: Walk::Columns };
            set.f64().sum(tile, &sum, Fetch::NEAR, Acc::new(lanes, width));
        }
        let acc = Acc::new(lanes, width);
        for lane in 0..width {
            let of = |plane: &Plane<'_>| (plane.hi[lane], plane.lo[lane]);
            add(window.feature(lane), [of(&acc.first), of(&acc.second)]);
        }
    }

    /// The smallest and the largest finite number of each column, and whether all are finite.
    pub(super) fn extents<T: Element>(
        &mut self,
        set: &impl KernelSet,
        window: &Window<'_>,
        of: &Strips<'_, T>,
        mut add: impl FnMut(usize, Extent),
    ) {
        let width = window.width();
        let mut all = [Extent::default(); WIDTH];
        let all = &mut all[..width];
        for rows in window.pieces(of.rows(), PIECE) {
            let len = rows.len() * width;
            let (x, all) = (&mut self.x[..len], &mut *all);
            set.vectorize(
                #[inline(always)]
                || {
                    window.gather(of, rows, x, wide);
                    for row in x.chunks_exact(width) {
                        for (extent, &v) in all.iter_mut().zip(row) {
                            extent.take(v);
                        }
                    }
                },
            );
        }
        all.iter().enumerate().for_each(|(column, extent)| add(window.feature(column), *extent));
    }
}

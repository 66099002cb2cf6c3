//! Which positions of a tensor exist: the stretches of a mask.

use super::rooms::room;
use super::target::Target;
use crate::num::Element;
use crate::tensor::{Shape, Strips};
use std::ops::Range;

/// Valid positions side by side within a run.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    row: usize,
    start: usize,
    len: usize,
}

/// The valid positions of a tensor, and how its features lie once the others are left out: side by side as one run where they
/// were runs, else down the rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps {
    stretches: Vec<Stretch>,
    inner: usize,
    all: usize,
    valid: usize,
}

/// Zeros to write.
const PIECE: usize = 256;

impl Gaps {
    /// Those of a mask over the rows of `shape` and the positions of their runs.
    pub(crate) fn set(&mut self, shape: Shape, mask: &[bool]) {
        (self.inner, self.all, self.valid) = (shape.inner(), mask.len(), 0);
        self.stretches.clear();
        for (row, run) in mask.chunks(shape.inner().max(1)).enumerate() {
            let mut at = 0;
            while let Some(start) = run[at..].iter().position(|valid| *valid).map(|skip| at + skip) {
                let len = run[start..].iter().take_while(|valid| **valid).count();
                self.stretches.push(Stretch { row, start, len });
                self.valid += len;
                at = start + len;
            }
        }
    }

    /// How many positions are valid.
    pub(crate) fn valid(&self) -> usize {
        self.valid
    }

    /// Whether all are.
    pub(super) fn is_whole(&self) -> bool {
        self.valid == self.all
    }

    /// The shape of so many features without the gaps.
    pub(super) fn closed(&self, features: usize) -> Shape {
        let (outer, inner) = if self.inner > 1 { (1, self.valid) } else { (self.valid, 1) };
        // What has less elements than a shape is one too.
        Shape::new(outer, features, inner).unwrap_or_default()
    }

    /// The valid elements of `from`, whose strips hold `features` features, in the order of [`closed`](Self::closed).
    pub(super) fn gather<'b, T: Element>(
        &self,
        from: &Strips<'_, T>,
        features: usize,
        buf: &'b mut Vec<T>,
    ) -> Strips<'b, T> {
        let shape = self.closed(features);
        let to = room(buf, shape.len());
        if self.inner > 1 {
            let mut at = 0;
            for f in 0..features {
                for &Stretch { row, start, len } in &self.stretches {
                    to[at..at + len].copy_from_slice(&from.strip(row)[f * self.inner + start..][..len]);
                    at += len;
                }
            }
        } else {
            let rows = self.stretches.iter().map(|stretch| stretch.row);
            for (row, to) in rows.zip(to.chunks_exact_mut(features.max(1))) {
                to.copy_from_slice(from.strip(row));
            }
        }
        shape.strips(to).unwrap_or_else(|| unreachable!("room for them"))
    }

    /// Puts them back into `to`, zeros in between.
    pub(super) fn scatter<T: Element>(&self, values: &[T], features: usize, mut to: Target<'_, T>) {
        let (rows, zeros) = (to.rows(), [T::default(); PIECE]);
        let zero = |to: &mut Target<'_, T>, row: usize, mut range: Range<usize>| {
            while !range.is_empty() {
                let len = range.len().min(PIECE);
                to.put(row, range.start, &zeros[..len]);
                range.start += len;
            }
        };
        let mut at = 0;
        // Single positions go as whole strips.
        let (inner, groups) = if self.inner > 1 { (self.inner, features) } else { (features, 1) };
        for group in 0..groups {
            let first = group * inner;
            let (mut row, mut end) = (0, 0);
            for &Stretch { row: own, start, len } in &self.stretches {
                let (start, len) = if self.inner > 1 { (start, len) } else { (0, inner) };
                while row < own {
                    zero(&mut to, row, first + end..first + inner);
                    (row, end) = (row + 1, 0);
                }
                zero(&mut to, row, first + end..first + start);
                to.put(row, first + start, &values[at..at + len]);
                (at, end) = (at + len, start + len);
            }
            while row < rows {
                zero(&mut to, row, first + end..first + inner);
                (row, end) = (row + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::Output;

    /// Every mask of a few positions, of runs and of rows: what is valid comes back to its place, all else is 0.
    #[test]
    fn what_is_valid_comes_back_among_zeros() {
        for (outer, inner) in [(2, 4), (8, 1), (1, 8)] {
            let (features, shape) = (3, Shape::new(outer, 3, inner).unwrap());
            let values: Vec<f32> = (1..=shape.len()).map(|v| v as f32).collect();
            for bits in 0..256_u32 {
                let mask: Vec<bool> = (0..8).map(|i| bits >> i & 1 == 1).collect();
                let (mut gaps, mut closed, mut back) = (Gaps::default(), Vec::new(), vec![9.0; values.len()]);
                gaps.set(shape, &mask);
                assert_eq!((gaps.valid(), gaps.is_whole()), (bits.count_ones() as usize, bits == 255));
                let len = gaps.gather(&shape.strips(&values).unwrap(), features, &mut closed);
                assert_eq!(len.rows() * len.len(), features * gaps.valid());
                let to = shape.strips_mut(Output::from(&mut back)).unwrap();
                gaps.scatter(&closed, features, Target::Fresh(to));
                for (i, (&back, &own)) in back.iter().zip(&values).enumerate() {
                    let position = i / (inner * features) * inner + i % inner;
                    assert_eq!(back, if mask[position] { own } else { 0.0 }, "{bits:b} {inner} [{i}]");
                }
            }
        }
    }
}

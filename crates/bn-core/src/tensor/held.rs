//! Strips that are written first and read then: what a step keeps between two of its operations.

use super::shape::Shape;
use super::strips::{Place, Strips, StripsMut};
use ndarray::{ArrayViewMut2, Axis};

/// Strips of elements that hold values, to write and to read.
#[derive(Debug)]
pub(crate) struct Held<'a, T>(ArrayViewMut2<'a, T>);

impl<'a, T: Copy> Held<'a, T> {
    /// `buf` as the strips of `shape`; `None` where its length is another.
    pub(crate) fn new(shape: Shape, buf: &'a mut [T]) -> Option<Self> {
        let dims = (shape.outer(), shape.features() * shape.inner());
        ArrayViewMut2::from_shape(dims, buf).ok().filter(|view| view.len() == shape.len()).map(Self)
    }

    /// The same elements as strips of another shape; `None` where they are not side by side, or of another number.
    pub(crate) fn reshaped(self, shape: Shape) -> Option<Self> {
        Self::new(shape, self.0.into_slice()?)
    }

    /// As [`new`](Self::new), of `rows` strips of `len` elements.
    pub(crate) fn from_slice(buf: &'a mut [T], rows: usize, len: usize) -> Option<Self> {
        ArrayViewMut2::from_shape((rows, len), buf).ok().map(Self)
    }

    /// The elements in order; `None` where the strips have gaps between them.
    pub(crate) fn into_slice(self) -> Option<&'a mut [T]> {
        self.0.into_slice()
    }

    /// How many strips.
    pub(crate) fn rows(&self) -> usize {
        self.0.nrows()
    }

    /// The length of a strip.
    pub(crate) fn len(&self) -> usize {
        self.0.ncols()
    }

    /// How they lie.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.0.as_ptr(), self.len(), self.0.is_standard_layout())
    }

    /// The same strips for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Held<'_, T> {
        Held(self.0.view_mut())
    }

    /// Strip `i`.
    pub(crate) fn strip_mut(&mut self, i: usize) -> &mut [T] {
        let row = self.0.index_axis_mut(Axis(0), i);
        row.into_slice().unwrap_or_else(|| unreachable!("columns of contiguous strips"))
    }

    /// The strips before `row` and those from it on.
    pub(crate) fn split_rows(self, row: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at(Axis(0), row);
        (Self(head), Self(tail))
    }

    /// The columns before `col` and those from it on.
    pub(crate) fn split_columns(self, col: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at(Axis(1), col);
        (Self(head), Self(tail))
    }

    /// To be read.
    pub(crate) fn read(&self) -> Strips<'_, T> {
        Strips::from_view(self.0.view()).unwrap_or_else(|| unreachable!("columns of contiguous strips"))
    }

    /// To be written.
    pub(crate) fn write(&mut self) -> StripsMut<'_, T> {
        StripsMut::from_view(self.0.view_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let shape = Shape::new(2, 2, 1).unwrap();
        let mut values = [1, 2, 3, 4];
        assert!(Held::new(shape, &mut values[..3]).is_none());
        let (mut head, tail) = Held::new(shape, &mut values).unwrap().split_columns(1);
        head.write().strip_mut(1).set(0, 7);
        assert_eq!(
            (head.read().strip(0), head.read().strip(1), tail.read().strip(1)),
            (&[1][..], &[7][..], &[4][..])
        );
        let held = Held::new(shape, &mut values).unwrap().reshaped(Shape::new(1, 4, 1).unwrap());
        assert_eq!(held.unwrap().read().strip(0), [1, 2, 7, 4]);
    }
}

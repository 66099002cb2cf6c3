//! A tensor as the kernels see it: strips of contiguous elements, a fixed stride apart.
//!
//! (outer, features, inner) becomes `outer` strips of features·inner elements. A block of features is a
//! range of columns, a leaf of the batch a range of rows. Reading, that is arithmetic on one shared slice; writing,
//! it stays within safe code because `ndarray`'s views know how to split in either direction.

use super::shape::Shape;
use crate::mem::{LINE, Output, prefetch, to_write};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Strips to read.
#[derive(Clone, Copy, Debug)]
pub struct Strips<'a, T>(Kind<'a, T>);

/// Elements to read may lie in one slice with those of other strips; a view costs more at every strip, and is needed only
/// where the caller's array has gaps of its own.
#[derive(Clone, Copy, Debug)]
enum Kind<'a, T> {
    Slice { buf: &'a [T], rows: usize, len: usize, stride: usize },
    View(ArrayView2<'a, T>),
}

/// Strips to write, of elements that need not hold values yet; they cannot be read.
#[derive(Debug)]
pub struct StripsMut<'a, T>(ArrayViewMut2<'a, MaybeUninit<T>>);

/// How strips lie that are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The length of a strip.
    pub(crate) len: usize,
    /// The elements before the first one that begins a cache line.
    pub(crate) lead: usize,
    /// Whether the strips follow each other without a gap.
    pub(crate) contiguous: bool,
    /// Where in memory they begin.
    pub(crate) address: usize,
}

impl Place {
    /// Of strips of `len` elements from `start` on.
    pub(super) fn new<T>(start: *const T, len: usize, contiguous: bool) -> Self {
        Self { len, lead: start.align_offset(LINE), contiguous, address: start.addr() }
    }
}

impl<'a, T> Strips<'a, T> {
    /// A view of `rows` strips whose elements lie side by side; `None` where they do not.
    #[must_use]
    pub fn from_view(view: ArrayView2<'a, T>) -> Option<Self> {
        let (rows, len) = view.dim();
        if let Some(buf) = view.to_slice() {
            return Some(Self(Kind::Slice { buf, rows, len, stride: len }));
        }
        (view.is_empty() || len <= 1 || view.strides()[1] == 1).then_some(Self(Kind::View(view)))
    }

    /// `rows` strips of `len` elements, one after the other in `buf`; `None` where `buf` is not that long.
    #[must_use]
    pub fn from_slice(buf: &'a [T], rows: usize, len: usize) -> Option<Self> {
        let buf = buf.get(..rows.checked_mul(len)?)?;
        Some(Self(Kind::Slice { buf, rows, len, stride: len }))
    }

    /// `rows` strips of `len` elements that are not there: they can be cut, and no element can be read.
    pub(crate) fn absent(rows: usize, len: usize) -> Self {
        Self(Kind::Slice { buf: &[], rows, len, stride: len })
    }

    /// Whether they are [`absent`](Self::absent).
    pub(crate) fn is_absent(&self) -> bool {
        matches!(&self.0, Kind::Slice { buf: [], .. }) && !self.is_empty()
    }

    /// How many strips.
    #[inline]
    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.0 {
            Kind::Slice { rows, .. } => *rows,
            Kind::View(view) => view.nrows(),
        }
    }

    /// The length of a strip.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Slice { len, .. } => *len,
            Kind::View(view) => view.ncols(),
        }
    }

    /// The elements from the beginning of a strip to that of the next.
    #[inline]
    #[must_use]
    pub fn stride(&self) -> usize {
        match &self.0 {
            Kind::Slice { stride, .. } => *stride,
            // A negative one wraps round, as addresses do.
            Kind::View(view) => view.strides()[0] as usize,
        }
    }

    /// The same strips for a shorter time, as those of another tensor live; ndarray's views do not shorten by themselves.
    #[inline(always)]
    #[must_use]
    pub fn reborrow<'b>(&self) -> Strips<'b, T>
    where
        'a: 'b,
    {
        match &self.0 {
            &Kind::Slice { buf, rows, len, stride } => Strips(Kind::Slice { buf, rows, len, stride }),
            Kind::View(view) => Strips(Kind::View(view.reborrow())),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows() == 0 || self.len() == 0
    }

    /// Strip `i`.
    ///
    /// # Panics
    /// Where there are not as many.
    #[inline(always)]
    #[must_use]
    pub fn strip(&self, i: usize) -> &'a [T] {
        match &self.0 {
            Kind::Slice { buf, rows, len, stride } => {
                assert!(i < *rows, "expected a strip below {rows}, got {i}");
                &buf[i * stride..][..*len]
            }
            Kind::View(view) => strip_of_view(view, i),
        }
    }

    /// Strip `i`, or what lies where it would be: a strip of the tensor that is no part of these, to be fetched meanwhile.
    /// Where the tensor's memory ends, nothing.
    #[inline(always)]
    #[must_use]
    pub fn strip_or_behind(&self, i: usize) -> &'a [T] {
        match &self.0 {
            Kind::Slice { buf, len, stride, .. } => {
                buf.get(i * stride..).and_then(|buf| buf.get(..*len)).unwrap_or_default()
            }
            Kind::View(view) if i < view.nrows() => strip_of_view(view, i),
            Kind::View(_) => &[],
        }
    }

    /// The elements `cols` of strip `row`, as a single strip.
    ///
    /// # Panics
    /// Where there are not as many.
    pub(crate) fn piece(&self, row: usize, cols: Range<usize>) -> Self {
        let strip = self.strip(row);
        let (behind, len) = (&strip[cols.start..], cols.len());
        Self(Kind::Slice { buf: behind, rows: 1, len, stride: len })
    }

    /// All strips in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [T]> {
        (0..self.rows()).map(move |i| self.strip(i))
    }

    /// The elements as one slice, where the strips follow each other without a gap.
    #[must_use]
    pub fn as_slice(&self) -> Option<&'a [T]> {
        match self.0 {
            Kind::Slice { buf, rows, len, stride } => {
                (rows <= 1 || stride == len).then(|| &buf[..rows * len])
            }
            Kind::View(view) => view.to_slice(),
        }
    }

    /// The strips `range`.
    ///
    /// # Panics
    /// Where there are not as many.
    #[must_use]
    pub fn rows_range(&self, range: Range<usize>) -> Self {
        match self.0 {
            Kind::Slice { buf, rows, len, stride } => {
                assert!(
                    range.start <= range.end && range.end <= rows,
                    "expected rows of {rows}, got {range:?}"
                );
                let start = (range.start * stride).min(buf.len());
                Self(Kind::Slice { buf: &buf[start..], rows: range.len(), len, stride })
            }
            Kind::View(view) => Self(Kind::View(view.slice_move(s![range, ..]))),
        }
    }

    /// The columns `cols` of every strip.
    ///
    /// # Panics
    /// Where there are not as many.
    #[must_use]
    pub fn columns(&self, cols: Range<usize>) -> Self {
        match self.0 {
            Kind::Slice { buf, rows, len, stride } => {
                assert!(cols.start <= cols.end && cols.end <= len, "expected columns of {len}, got {cols:?}");
                let start = cols.start.min(buf.len());
                Self(Kind::Slice { buf: &buf[start..], rows, len: cols.len(), stride })
            }
            Kind::View(view) => Self(Kind::View(view.slice_move(s![.., cols]))),
        }
    }
}

#[cold]
fn strip_of_view<'a, T>(view: &ArrayView2<'a, T>, i: usize) -> &'a [T] {
    let row = view.index_axis_move(Axis(0), i);
    row.to_slice().unwrap_or_else(|| unreachable!("strips are contiguous: checked when made"))
}

impl<'a, T: Copy> StripsMut<'a, T> {
    /// `rows` strips of `len` elements, one after the other in `to`; `None` where `to` is not that long.
    #[must_use]
    pub fn from_output(to: Output<'a, T>, rows: usize, len: usize) -> Option<Self> {
        let to = to.into_raw().get_mut(..rows.checked_mul(len)?)?;
        ArrayViewMut2::from_shape((rows, len), to).ok().map(Self)
    }

    /// The strips of a view whose rows are contiguous.
    pub(super) fn from_view(view: ArrayViewMut2<'a, T>) -> Self {
        Self(to_write(view))
    }

    /// How many strips.
    #[inline]
    #[must_use]
    pub fn rows(&self) -> usize {
        self.0.nrows()
    }

    /// The length of a strip.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ncols()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Strip `i`.
    ///
    /// # Panics
    /// Where there are not as many.
    #[inline]
    pub fn strip_mut(&mut self, i: usize) -> Output<'_, T> {
        let row = self.0.index_axis_mut(Axis(0), i);
        let row =
            row.into_slice().unwrap_or_else(|| unreachable!("strips are contiguous: checked when made"));
        row.into()
    }

    /// Fetches the line that strip `i` begins in, where there is one: for the first elements of a strip that is
    /// streamed.
    #[inline]
    pub fn prefetch(&self, i: usize) {
        if i < self.rows() {
            let start = self.0.as_ptr().wrapping_offset(self.0.strides()[0] * i as isize);
            prefetch::address::<_, true>(start);
        }
    }

    /// How they lie.
    pub(crate) fn place(&self) -> Place {
        let (len, contiguous) = (self.len(), self.0.is_standard_layout());
        Place::new(self.0.as_ptr().cast::<T>(), len, contiguous)
    }

    /// The same strips for a shorter time.
    pub fn reborrow(&mut self) -> StripsMut<'_, T> {
        StripsMut(self.0.view_mut())
    }

    /// The elements in order, where the strips follow each other without a gap.
    #[must_use]
    pub fn into_output(self) -> Option<Output<'a, T>> {
        self.0.into_slice().map(Into::into)
    }

    /// As [`Strips::columns`].
    pub fn columns(&mut self, cols: Range<usize>) -> StripsMut<'_, T> {
        StripsMut(self.0.slice_mut(s![.., cols]))
    }

    /// The strips before `row` and those from it on.
    #[must_use]
    pub fn split_rows(self, row: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at(Axis(0), row);
        (Self(head), Self(tail))
    }

    /// The columns before `col` and those from it on, to be written at the same time.
    #[must_use]
    pub fn split_columns(self, col: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at(Axis(1), col);
        (Self(head), Self(tail))
    }
}

impl Shape {
    /// `buf` as this shape's strips; `None` where its length is another.
    pub(crate) fn strips<'a, T>(&self, buf: &'a [T]) -> Option<Strips<'a, T>> {
        (buf.len() == self.len())
            .then(|| Strips::from_slice(buf, self.outer(), self.features() * self.inner()))
            .flatten()
    }

    /// As [`Shape::strips`], to write.
    pub(crate) fn strips_mut<'a, T: Copy>(&self, to: Output<'a, T>) -> Option<StripsMut<'a, T>> {
        (to.len() == self.len())
            .then(|| StripsMut::from_output(to, self.outer(), self.features() * self.inner()))
            .flatten()
    }
}

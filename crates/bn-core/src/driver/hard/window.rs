//! Which elements of hard features go together: those in the same columns of several features, so that rows of values side
//! by side are gone over once.

use crate::num::Element;
use crate::tensor::{Strips, StripsMut};
use std::ops::Range;

/// The most columns of a window, and the coefficients of a row.
pub(super) const WIDTH: usize = 256;

/// Of each of some features the same columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'f> {
    features: &'f [usize],
    /// The columns of a feature, and those of them that are meant.
    inner: usize,
    start: usize,
    len: usize,
}

impl<'f> Window<'f> {
    /// The windows that cover `features`, of which as many fit as [`Window::fitting`] says.
    pub(super) fn of(features: &'f [usize], inner: usize) -> impl Iterator<Item = Self> {
        let columns = if features.is_empty() { 0 } else { inner };
        let starts = (0..columns).step_by(WIDTH.min(inner).max(1));
        starts.map(move |start| Self { features, inner, start, len: WIDTH.min(inner - start) })
    }

    /// How many features go together.
    pub(super) fn fitting(inner: usize) -> usize {
        (WIDTH / inner.max(1)).max(1)
    }

    pub(super) fn width(&self) -> usize {
        self.features.len() * self.len
    }

    /// Which of the features a column is of.
    pub(super) fn feature(&self, column: usize) -> usize {
        column / self.len
    }

    /// The ranges of rows whose elements are a piece of at most `len`, if that is a row's.
    pub(super) fn pieces(&self, rows: usize, len: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let height = (len / self.width()).max(1);
        (0..rows).step_by(height).map(move |start| start..rows.min(start + height))
    }

    /// The columns of the first feature and all that follow, where they lie side by side.
    fn range(&self) -> Option<Range<usize>> {
        let (first, last) = (*self.features.first()?, *self.features.last()?);
        let dense = last - first + 1 == self.features.len();
        let whole = self.len == self.inner || self.features.len() == 1;
        (dense && whole).then(|| {
            let start = first * self.inner + self.start;
            start..start + self.width()
        })
    }

    /// The elements of `rows` of `from`, row by row, each as `read` makes it.
    #[inline(always)]
    pub(super) fn gather<T: Element, V>(
        &self,
        from: &Strips<'_, T>,
        rows: Range<usize>,
        to: &mut [V],
        read: impl Fn(T) -> V,
    ) {
        let range = self.range();
        let copy = |from: &[T], to: &mut [V]| from.iter().zip(to).for_each(|(&v, to)| *to = read(v));
        for (row, to) in rows.zip(to.chunks_exact_mut(self.width())) {
            let strip = from.strip(row);
            if let Some(range) = &range {
                copy(&strip[range.clone()], to);
            } else if self.inner == 1 {
                for (to, &f) in to.iter_mut().zip(self.features) {
                    *to = read(strip[f]);
                }
            } else {
                for (to, &f) in to.chunks_exact_mut(self.len).zip(self.features) {
                    copy(&strip[f * self.inner + self.start..][..self.len], to);
                }
            }
        }
    }

    /// Puts `values` back into `rows` of `out`.
    #[inline(always)]
    pub(super) fn scatter<T: Copy>(&self, values: &[T], rows: Range<usize>, out: &mut StripsMut<'_, T>) {
        let range = self.range();
        for (row, values) in rows.zip(values.chunks_exact(self.width())) {
            let mut strip = out.strip_mut(row);
            if let Some(range) = &range {
                strip.copy(range.start, values);
            } else if self.inner == 1 {
                for (&v, &f) in values.iter().zip(self.features) {
                    strip.set(f, v);
                }
            } else {
                for (values, &f) in values.chunks_exact(self.len).zip(self.features) {
                    strip.copy(f * self.inner + self.start, values);
                }
            }
        }
    }

    /// A number of each feature over a row, as often as the row fits.
    pub(super) fn spread(&self, of: impl Fn(usize) -> f64, row: &mut [f64]) {
        let (width, len) = (self.width(), self.len);
        for i in 0..self.features.len() {
            row[i * len..][..len].fill(of(i));
        }
        for repeat in 1..WIDTH / width {
            row.copy_within(0..width, repeat * width);
        }
    }

    /// Of a piece of `len` elements, its whole long rows and what is left: where they lie, their number and their length.
    pub(super) fn rows(&self, len: usize) -> [(Range<usize>, usize, usize); 2] {
        let row = WIDTH / self.width() * self.width();
        let (whole, rest) = (len / row, len % row);
        [(0..whole * row, whole, row), (whole * row..len, usize::from(rest > 0), rest)]
    }
}

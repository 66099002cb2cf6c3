//! Slices that are written and never read, so that it does not matter whether they hold values yet.
//!
//! A `&mut [T]` must never take in what is no T, and a `&mut [MaybeUninit<T>]` would let it: safe code may swap elements of
//! the two. An [`Output`] hands out no reference to an element, so that whatever it was made of holds values of T alone.

#![allow(unsafe_code, reason = "elements that hold values are taken for ones that need not")]

use ndarray::ArrayViewMut2;
use std::mem::MaybeUninit;

/// Elements to write, in order of memory: made with `into()` of a `&mut [T]` or of a `&mut [MaybeUninit<T>]`.
#[derive(Debug)]
pub struct Output<'a, T>(&'a mut [MaybeUninit<T>]);

impl<'a, T: Copy> From<&'a mut [T]> for Output<'a, T> {
    fn from(values: &'a mut [T]) -> Self {
        let len = values.len();
        // SAFETY: the same elements, of a type of the same layout, for the same time. What is written through an Output is
        // a T, so that the slice holds values of T when it is seen again; a T that is Copy is not dropped.
        Self(unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) })
    }
}

impl<'a, T: Copy> From<&'a mut Vec<T>> for Output<'a, T> {
    fn from(values: &'a mut Vec<T>) -> Self {
        values.as_mut_slice().into()
    }
}

impl<'a, T: Copy, const N: usize> From<&'a mut [T; N]> for Output<'a, T> {
    fn from(values: &'a mut [T; N]) -> Self {
        values.as_mut_slice().into()
    }
}

impl<'a, T: Copy> From<&'a mut [MaybeUninit<T>]> for Output<'a, T> {
    fn from(values: &'a mut [MaybeUninit<T>]) -> Self {
        Self(values)
    }
}

impl<T> Default for Output<'_, T> {
    fn default() -> Self {
        Self(&mut [])
    }
}

impl<'a, T: Copy> Output<'a, T> {
    /// How many elements.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes one element.
    ///
    /// # Panics
    /// Where there are not as many, as the next.
    #[inline(always)]
    pub fn set(&mut self, i: usize, value: T) {
        self.0[i].write(value);
    }

    /// Writes as many elements from `start` on as there are values.
    #[inline(always)]
    pub fn copy(&mut self, start: usize, values: &[T]) {
        for (to, &value) in self.0[start..][..values.len()].iter_mut().zip(values) {
            to.write(value);
        }
    }

    /// Writes the elements from the first on, as long as there are both.
    #[inline(always)]
    pub fn fill_from(self, values: impl Iterator<Item = T>) {
        for (to, value) in self.0.iter_mut().zip(values) {
            to.write(value);
        }
    }

    /// The elements before `at` and those from it on.
    #[inline(always)]
    #[must_use]
    pub fn split_at(self, at: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at_mut(at);
        (Self(head), Self(tail))
    }

    /// The elements in pieces of `len`; what is left behind the last whole one is no piece.
    #[inline(always)]
    pub fn chunks_exact(self, len: usize) -> impl Iterator<Item = Self> {
        self.0.chunks_exact_mut(len).map(Output)
    }

    /// The elements themselves, to whom it is known not to read them nor to put in what is no T.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> &'a mut [MaybeUninit<T>] {
        self.0
    }
}

/// A view of elements that hold values, as one of elements that need not.
pub(crate) fn to_write<T: Copy>(mut view: ArrayViewMut2<'_, T>) -> ArrayViewMut2<'_, MaybeUninit<T>> {
    let raw = view.raw_view_mut().cast::<MaybeUninit<T>>();
    // SAFETY: as in `From<&mut [T]>`: the same elements for the same time, through which the crate writes nothing but a T.
    unsafe { raw.deref_into_view_mut() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_memory_are_written() {
        let mut values = [0u8; 7];
        let mut fresh = [MaybeUninit::<u8>::uninit(); 7];
        for mut output in [Output::from(&mut values[..]), Output::from(&mut fresh[..])] {
            output.set(6, 6);
            output.copy(3, &[3, 4, 5]);
            let (head, tail) = output.split_at(3);
            assert_eq!((head.len(), tail.len(), tail.is_empty()), (3, 4, false));
            head.fill_from(0..);
        }
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 6]);
        // SAFETY: all seven were written.
        assert_eq!(fresh.map(|value| unsafe { value.assume_init() }), values);
    }
}

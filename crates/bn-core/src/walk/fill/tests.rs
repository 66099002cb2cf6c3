//! Streamed lines at every alignment, beside pages that must not be touched.

#![allow(unsafe_code, reason = "pages that must not be touched, and stores that were detected")]

mod guarded;

use super::*;
use guarded::Guarded;

/// The `len` elements that begin `offset` elements into the page, or that end as far from its end.
fn slice<T>(page: &mut Guarded, offset: usize, len: usize, at_end: bool) -> &mut [T] {
    let whole = page.whole();
    let start = if at_end { whole.len() - len - offset } else { offset };
    &mut whole[start..start + len]
}

struct Copied<'a, T>(&'a [T]);

impl<T: Bare> LineMap<T, ()> for Copied<'_, T> {
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let lines = lines::<T, L>(self.0, start, n);
        move |i| lines[i]
    }
    fn one(&self, at: usize) -> T {
        self.0[at]
    }
}

fn ahead<T>(values: &[T]) -> Next<'_, T> {
    Next { strips: [values, &[]], sparse: values.len() % 2 == 1 }
}

/// How a copy is made.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Plain,
    Streamed,
    /// By [`begin`], [`Stores::write`] and [`ones`].
    InSteps,
}

#[inline(always)]
fn copied<T: Bare, const L: usize, const BYTES: usize>(
    to: &mut [T],
    stores: &Stores<BYTES>,
    how: How,
    from: &[T],
) {
    let map = &Copied(from);
    if how != How::InSteps {
        let stores = (how == How::Streamed).then_some(stores);
        return fill::<T, (), L, BYTES>(to.into(), stores, ahead(from), map);
    }
    let (start, lines, tail) = begin::<T, (), L>(to.into(), map);
    let (value, n) = (map.lines::<L>(start, lines.len()), lines.len());
    for (i, line) in lines.iter_mut().enumerate() {
        stores.write(line, value(i));
    }
    ones(tail, start + n * L, map);
}

#[target_feature(enable = "avx2")]
fn copy_avx2<T: Bare, const L: usize>(to: &mut [T], stores: &Stores<32>, how: How, from: &[T]) {
    copied::<T, L, 32>(to, stores, how, from);
}

#[target_feature(enable = "avx512f")]
fn copy_avx512<T: Bare, const L: usize>(to: &mut [T], stores: &Stores<64>, how: How, from: &[T]) {
    copied::<T, L, 64>(to, stores, how, from);
}

/// With stores of `bytes`; false where the machine has them not.
fn copy<T: Bare, const L: usize>(bytes: usize, to: &mut [T], how: How, from: &[T]) -> bool {
    match bytes {
        64 if is_x86_feature_detected!("avx512f") => {
            // SAFETY: it was detected, twice over.
            unsafe { copy_avx512::<T, L>(to, &Stores::detected(), how, from) };
        }
        32 if is_x86_feature_detected!("avx2") => {
            // SAFETY: likewise.
            unsafe { copy_avx2::<T, L>(to, &Stores::detected(), how, from) };
        }
        // SAFETY: every x86-64 has them.
        16 => copied::<T, L, 16>(to, &unsafe { Stores::detected() }, how, from),
        _ => return false,
    }
    true
}

fn stays_within<T: Bare + PartialEq + std::fmt::Debug + From<u8>, const L: usize>(bytes: usize) {
    let (mut to_page, mut from_page) = (Guarded::new(), Guarded::new());
    for len in (0..70).chain([127, 128, 129, 300]) {
        for offset in 0..=128 / size_of::<T>() {
            for (at_end, how) in [false, true]
                .into_iter()
                .flat_map(|at_end| [How::Plain, How::Streamed, How::InSteps].map(|how| (at_end, how)))
            {
                let from = slice::<T>(&mut from_page, offset / 2, len, at_end);
                for (i, v) in from.iter_mut().enumerate() {
                    *v = T::from((i % 251) as u8);
                }
                slice::<T>(&mut to_page, 0, 512, at_end).fill(T::from(255));
                let to = slice::<T>(&mut to_page, offset, len, at_end);
                if !copy::<T, L>(bytes, to, how, from) {
                    println!("skipped: this machine has no streaming stores of {bytes} bytes");
                    return;
                }
                assert_eq!(to, from, "len {len} offset {offset}");
                let whole = slice::<T>(&mut to_page, 0, 512, at_end);
                let touched = whole.iter().filter(|v| **v != T::from(255)).count();
                assert_eq!(touched, len, "len {len} offset {offset}: wrote elsewhere");
            }
        }
    }
}

#[test]
fn streamed_copies_stay_within_their_pages() {
    for bytes in [16, 32, 64] {
        stays_within::<f32, 16>(bytes);
        stays_within::<f64, 8>(bytes);
        // Two lines at a time.
        stays_within::<f32, 32>(bytes);
        #[cfg(feature = "half")]
        stays_within::<half::f16, 32>(bytes);
    }
}

#[test]
fn whole_lines_are_lines() {
    let mut buf = [MaybeUninit::<f32>::uninit(); 100];
    for start in 0..20 {
        for end in start..100 {
            let len = end - start;
            let (head, lines, tail) = lines_mut::<f32, 16>(&mut buf[start..end]);
            assert!(head.len() < 16 || lines.is_empty());
            assert!(tail.len() < 16);
            assert_eq!(head.len() + 16 * lines.len() + tail.len(), len);
            assert!(lines.as_ptr().addr().is_multiple_of(LINE));
        }
    }
}

#[test]
fn prefetching_reads_nothing() {
    let mut page = Guarded::new();
    let values = slice::<f32>(&mut page, 0, 1024, false);
    for at in [0, 1023, 1024, 5000, usize::MAX] {
        prefetch::line::<_, true>(values, at);
        prefetch::line::<_, false>(values, at);
    }
    prefetch::line::<f64, true>(&[], 0);
}

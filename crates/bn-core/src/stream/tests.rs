//! Streamed lines at every alignment, beside pages that must not be touched.

use super::*;

/// Three pages, of which the middle one may be touched: AddressSanitizer does not see a streaming store that
/// goes astray, a protected page does.
struct Guarded {
    start: *mut libc::c_void,
    page: usize,
}

impl Guarded {
    fn new() -> Self {
        // SAFETY: an anonymous mapping at an address of the system's choice, checked below; only its middle page
        // is made accessible.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(std::ptr::null_mut(), 3 * page, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let middle = start.byte_add(page);
            assert_eq!(libc::mprotect(middle, page, libc::PROT_READ | libc::PROT_WRITE), 0);
            Self { start, page }
        }
    }

    /// The `len` elements that begin `offset` bytes into the page, or that end as far from its end.
    fn slice<T>(&mut self, offset: usize, len: usize, at_end: bool) -> &mut [T] {
        let bytes = len * size_of::<T>();
        assert!(offset + bytes <= self.page && offset.is_multiple_of(align_of::<T>()));
        let at = if at_end { self.page - bytes - offset } else { offset };
        // SAFETY: within the accessible page, aligned as checked, any bytes are a T (integers and floats only),
        // and the borrow of self keeps it alive and unaliased.
        unsafe { std::slice::from_raw_parts_mut(self.start.byte_add(self.page + at).cast(), len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, whole.
        unsafe { libc::munmap(self.start, 3 * self.page) };
    }
}

struct Copied<'a, T>(&'a [T]);

impl<T: Copy, const L: usize> Map<T, L> for Copied<'_, T> {
    fn lines(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let lines = lines(self.0, start, n);
        move |i| lines[i]
    }
    fn one(&self, at: usize) -> T {
        self.0[at]
    }
}

#[target_feature(enable = "avx2")]
fn copy_avx2<T: Plain, const L: usize>(to: &mut [T], stores: Option<&Stores<32>>, from: &[T]) {
    fill::<T, L, 32>(to, stores, [from, &[]], &Copied(from));
}

#[target_feature(enable = "avx512f")]
fn copy_avx512<T: Plain, const L: usize>(to: &mut [T], stores: Option<&Stores<64>>, from: &[T]) {
    fill::<T, L, 64>(to, stores, [from, &[]], &Copied(from));
}

/// With stores of `bytes`; false where the machine has them not.
fn copy<T: Plain, const L: usize>(bytes: usize, to: &mut [T], stream: bool, from: &[T]) -> bool {
    match bytes {
        64 if is_x86_feature_detected!("avx512f") => {
            // SAFETY: it was detected, twice over.
            unsafe { copy_avx512::<T, L>(to, stream.then(|| Stores::detected()).as_ref(), from) };
        }
        32 if is_x86_feature_detected!("avx2") => {
            // SAFETY: likewise.
            unsafe { copy_avx2::<T, L>(to, stream.then(|| Stores::detected()).as_ref(), from) };
        }
        // SAFETY: every x86-64 has them.
        16 => fill::<T, L, 16>(
            to,
            stream.then(|| unsafe { Stores::detected() }).as_ref(),
            [from, &[]],
            &Copied(from),
        ),
        _ => return false,
    }
    true
}

fn stays_within<T: Plain + PartialEq + std::fmt::Debug + From<u8>, const L: usize>(bytes: usize) {
    let (mut to_page, mut from_page) = (Guarded::new(), Guarded::new());
    for len in (0..70).chain([127, 128, 129, 300]) {
        for offset in (0..=128).step_by(size_of::<T>()) {
            for (at_end, stream) in [(false, false), (false, true), (true, false), (true, true)] {
                let from_offset = offset / 2 / size_of::<T>() * size_of::<T>();
                let from = from_page.slice::<T>(from_offset, len, at_end);
                for (i, v) in from.iter_mut().enumerate() {
                    *v = T::from((i % 251) as u8);
                }
                to_page.slice::<T>(0, 512, at_end).fill(T::from(255));
                let to = to_page.slice::<T>(offset, len, at_end);
                if !copy::<T, L>(bytes, to, stream, from) {
                    println!("skipped: this machine has no streaming stores of {bytes} bytes");
                    return;
                }
                assert_eq!(to, from, "len {len} offset {offset}");
                let whole = to_page.slice::<T>(0, 512, at_end);
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
    }
}

#[test]
fn whole_lines_are_lines() {
    let mut buf = vec![0f32; 100];
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
    let values = page.slice::<f32>(0, 1024, false);
    for at in [0, 1023, 1024, 5000, usize::MAX] {
        fetch::<_, true>(values, at);
        fetch::<_, false>(values, at);
    }
    fetch::<f64, true>(&[], 0);
}

//! Stores past the caches, and prefetch: the memory instructions that safe Rust does not have.
//!
//! 1. A streaming store writes a whole cache line without reading it first: the output of a large tensor costs
//!    one transfer instead of two, and does not drive the next block out of L2.
//! 2. Only whole, aligned lines stream well; the ragged ends of a range are ordinary stores.
//! 3. Streaming stores are weakly ordered: [`fence`] must come before another thread may look.

#![allow(unsafe_code, reason = "streaming stores and prefetch are intrinsics on raw pointers")]

/// The elements of `to`'s first partial cache line: where whole lines begin.
#[inline(always)]
fn head<T>(to: &[T]) -> usize {
    to.as_ptr().align_offset(64).min(to.len())
}

/// How many elements of `to` there are up to the end of its last whole cache line; 0 where there is none.
#[inline(always)]
pub(crate) fn whole_lines<T>(to: &[T]) -> usize {
    let (head, line) = (head(to), 64 / size_of::<T>());
    if to.len() < head + line { 0 } else { head + (to.len() - head) / line * line }
}

/// Copies `from` to `to`, of the same length; whole cache lines of `to` are streamed, in stores of `STORE` bytes.
/// More than 16 needs the caller to be compiled for AVX2 (32) or AVX-512 (64).
#[inline(always)]
pub(crate) fn copy<T: Copy, const STORE: usize>(to: &mut [T], from: &[T]) {
    assert_eq!(to.len(), from.len());
    let head = head(to);
    let tail = whole_lines(to).max(head);
    to[..head].copy_from_slice(&from[..head]);
    to[tail..].copy_from_slice(&from[tail..]);
    lines::<T, STORE>(&mut to[head..tail], &from[head..tail]);
}

/// Copies whole lines, the first of which is aligned in `to`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn lines<T: Copy, const STORE: usize>(to: &mut [T], from: &[T]) {
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_stream_si128, _mm256_loadu_si256,
        _mm256_stream_si256, _mm512_loadu_si512, _mm512_stream_si512,
    };
    let bytes = size_of_val(to);
    let (to, from) = (to.as_mut_ptr().cast::<u8>(), from.as_ptr().cast::<u8>());
    for at in (0..bytes).step_by(STORE) {
        // SAFETY: both ranges are `bytes` long, a multiple of 64 and so of STORE, hence at + STORE stays within
        // them; `to` is aligned to 64, so to + at is to STORE. T is Copy: its bytes may be moved. The instruction
        // sets of the wider stores are those of the callers that ask for them (`entry.rs`).
        unsafe {
            let (to, from) = (to.add(at), from.add(at));
            match STORE {
                64 => _mm512_stream_si512(to.cast::<__m512i>(), _mm512_loadu_si512(from.cast::<__m512i>())),
                32 => _mm256_stream_si256(to.cast::<__m256i>(), _mm256_loadu_si256(from.cast::<__m256i>())),
                _ => _mm_stream_si128(to.cast::<__m128i>(), _mm_loadu_si128(from.cast::<__m128i>())),
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn lines<T: Copy, const STORE: usize>(to: &mut [T], from: &[T]) {
    to.copy_from_slice(from);
}

/// Asks for the cache lines of `ahead` to be brought into L2.
#[inline(always)]
pub(crate) fn prefetch<T>(ahead: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in ahead.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch does not access memory as far as the program can tell; the address is that of an
        // element.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = ahead;
}

/// Makes streamed data visible to other threads.
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE, and a fence touches no memory.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(all(test, target_arch = "x86_64", unix))]
mod tests {
    use super::*;
    use crate::Level;

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

    #[target_feature(enable = "avx2")]
    fn copy_avx2<T: Copy>(to: &mut [T], from: &[T]) {
        copy::<T, 32>(to, from);
    }

    #[target_feature(enable = "avx512f")]
    fn copy_avx512<T: Copy>(to: &mut [T], from: &[T]) {
        copy::<T, 64>(to, from);
    }

    fn copy_at<T: Copy>(level: Level, to: &mut [T], from: &[T]) {
        match level {
            Level::Baseline => copy::<T, 16>(to, from),
            // SAFETY: only available levels are asked for.
            Level::Avx2 => unsafe { copy_avx2(to, from) },
            // SAFETY: likewise.
            Level::Avx512 => unsafe { copy_avx512(to, from) },
        }
    }

    fn stays_within<T: Copy + PartialEq + std::fmt::Debug + From<u8>>() {
        let (mut to_page, mut from_page) = (Guarded::new(), Guarded::new());
        for level in Level::ALL {
            if !level.is_available() {
                println!("skipped {level}: not on this machine");
                continue;
            }
            for len in (0..70).chain([127, 128, 129, 300]) {
                for offset in (0..=128).step_by(size_of::<T>()) {
                    for at_end in [false, true] {
                        let from =
                            from_page.slice::<T>(offset / 2 / size_of::<T>() * size_of::<T>(), len, at_end);
                        for (i, v) in from.iter_mut().enumerate() {
                            *v = T::from((i % 251) as u8);
                        }
                        to_page.slice::<T>(0, 512, at_end).fill(T::from(255));
                        let to = to_page.slice::<T>(offset, len, at_end);
                        copy_at(level, to, from);
                        fence();
                        assert_eq!(to, from, "{level} len {len} offset {offset}");
                        let whole = to_page.slice::<T>(0, 512, at_end);
                        let touched = whole.iter().filter(|v| **v != T::from(255)).count();
                        assert_eq!(touched, len, "{level} len {len} offset {offset}: wrote elsewhere");
                    }
                }
            }
        }
    }

    #[test]
    fn streamed_copies_stay_within_their_pages() {
        stays_within::<f32>();
        stays_within::<f64>();
    }

    #[test]
    fn whole_lines_end_at_a_line() {
        let buf = vec![0f32; 100];
        for start in 0..20 {
            for end in start..100 {
                let to = &buf[start..end];
                let n = whole_lines(to);
                assert!(n <= to.len());
                assert!(n == 0 || (to.as_ptr().addr() + 4 * n).is_multiple_of(64));
            }
        }
    }

    #[test]
    fn prefetching_reads_nothing() {
        let mut page = Guarded::new();
        prefetch(page.slice::<f32>(0, 1024, false));
        prefetch::<f64>(&[]);
    }
}

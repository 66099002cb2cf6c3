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

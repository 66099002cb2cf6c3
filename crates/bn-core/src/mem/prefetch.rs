//! Prefetch: lines that are asked for before they are needed.

#![allow(unsafe_code, reason = "prefetch is an intrinsic on a raw pointer")]

use super::LINE;

/// Asks for the cache line of element `at` to be brought into L2, with `NEAR` into L1. What is not mapped is not
/// fetched, so `at` may lie behind the end.
#[inline(always)]
pub fn line<T, const NEAR: bool>(values: &[T], at: usize) {
    address::<T, NEAR>(values.as_ptr().wrapping_add(at));
}

/// As [`line()`], for the lines of `len` elements from `at` on.
#[inline(always)]
pub fn lines<T, const NEAR: bool>(values: &[T], at: usize, len: usize) {
    for i in (0..len).step_by(LINE / size_of::<T>()) {
        line::<T, NEAR>(values, at.wrapping_add(i));
    }
}

/// As [`lines()`]; nothing where there are no values at all.
#[inline(always)]
pub fn range<T, const NEAR: bool>(values: &[T], at: usize, len: usize) {
    if !values.is_empty() {
        lines::<T, NEAR>(values, at, len);
    }
}

/// As [`line()`], for the line at an address, wherever that leads.
#[inline(always)]
pub(crate) fn address<T, const NEAR: bool>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let address = address.cast();
        // SAFETY: a prefetch does not access memory as far as the program can tell, and never faults, wherever the
        // address leads. SSE is in every x86-64.
        unsafe {
            if NEAR { _mm_prefetch::<_MM_HINT_T0>(address) } else { _mm_prefetch::<_MM_HINT_T1>(address) }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

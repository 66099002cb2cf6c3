//! Stores past the caches, for the maps of every kernel crate.
//!
//! 1. A streaming store writes a whole cache line without reading it first: the output of a large tensor costs
//!    one transfer instead of two, and does not drive the next block out of L2.
//! 2. Only whole, aligned lines stream well; the ragged ends of a range are ordinary stores.
//! 3. Streaming stores are weakly ordered: a fence must come before anything looks at what they wrote. [`Stores`] makes one
//!    when it is dropped, so a kernel has it for the length of a call.
//! 4. Elsewhere than on x86-64 they are ordinary stores.

#![allow(unsafe_code, reason = "streaming stores are intrinsics on raw pointers")]

use super::LINE;
use std::mem::MaybeUninit;

/// Streaming stores of `BYTES` bytes each, on a machine that has them: 16 on every x86-64, 32 with AVX, 64 with
/// AVX-512. All write whole lines; wider ones go with the vectors of their instruction set. When it is dropped, what was
/// written with it can be seen.
#[derive(Debug)]
pub struct Stores<const BYTES: usize>(());

impl<const BYTES: usize> Drop for Stores<BYTES> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has SSE, and a fence touches no memory.
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }
}

/// Elements that are nothing but their bytes.
pub trait Bare: Copy + Default + sealed::Sealed {}
impl<T: Copy + Default + sealed::Sealed> Bare for T {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    #[cfg(feature = "half")]
    impl Sealed for half::f16 {}
    #[cfg(feature = "half")]
    impl Sealed for half::bf16 {}
}

/// The stores of the instruction set that the program is built for.
pub type Built = Stores<
    {
        if cfg!(target_feature = "avx512f") {
            64
        } else if cfg!(target_feature = "avx") {
            32
        } else {
            16
        }
    },
>;

impl Default for Built {
    /// What every machine has that the program may run on.
    fn default() -> Self {
        Self(())
    }
}

impl<const BYTES: usize> Stores<BYTES> {
    /// Stores of an instruction set that was detected, for functions that are compiled for it.
    ///
    /// # Safety
    /// The machine has AVX where BYTES is 32, AVX-512F where it is 64.
    #[must_use]
    #[inline(always)]
    pub unsafe fn detected() -> Self {
        const { assert!(BYTES == 16 || BYTES == 32 || BYTES == 64) };
        Self(())
    }
}

/// L elements from where a cache line begins, one or several lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line<T, const L: usize>([MaybeUninit<T>; L]);

impl<T: Copy, const L: usize> Line<T, L> {
    /// Writes `value` by ordinary stores.
    #[inline(always)]
    pub(crate) fn set(&mut self, value: [T; L]) {
        write(&mut self.0, value);
    }
}

/// Writes a whole array: element by element the compiler would take it apart.
#[inline(always)]
pub(crate) fn write<T: Copy, const L: usize>(to: &mut [MaybeUninit<T>; L], value: [T; L]) {
    // SAFETY: an array of MaybeUninit<T> has the layout of one of T, and is borrowed to be written.
    unsafe { to.as_mut_ptr().cast::<[T; L]>().write(value) }
}

/// `to` as what comes before its first whole cache line, its whole lines, and the rest.
#[inline(always)]
#[expect(clippy::type_complexity, reason = "three parts of one slice")]
pub(crate) fn lines_mut<T: Bare, const L: usize>(
    to: &mut [MaybeUninit<T>],
) -> (&mut [MaybeUninit<T>], &mut [Line<T, L>], &mut [MaybeUninit<T>]) {
    const { assert!(size_of::<[T; L]>().is_multiple_of(LINE) && size_of::<Line<T, L>>() == size_of::<[T; L]>()) };
    // SAFETY: a Line is L elements side by side and nothing else, as asserted; any L elements are one, in either direction.
    unsafe { to.align_to_mut() }
}

impl<const BYTES: usize> Stores<BYTES> {
    /// Streams `value` to a line.
    #[inline(always)]
    pub(crate) fn write<T: Bare, const L: usize>(&self, to: &mut Line<T, L>, value: [T; L]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{
                __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_stream_si128, _mm256_loadu_si256,
                _mm256_stream_si256, _mm512_loadu_si512, _mm512_stream_si512,
            };
            let (to, from) = (to.0.as_mut_ptr().cast::<u8>(), value.as_ptr().cast::<u8>());
            for at in (0..size_of::<[T; L]>()).step_by(BYTES) {
                // SAFETY: both sides are whole lines of 64 bytes, and BYTES divides that; `to` is aligned to 64 by its type, so
                // to + at is to BYTES. T is Bare: no padding, its bytes may be moved. That the machine has the stores is what
                // a value of this type stands for.
                unsafe {
                    let (to, from) = (to.add(at), from.add(at));
                    match BYTES {
                        64 => {
                            _mm512_stream_si512(
                                to.cast::<__m512i>(),
                                _mm512_loadu_si512(from.cast::<__m512i>()),
                            );
                        }
                        32 => _mm256_stream_si256(
                            to.cast::<__m256i>(),
                            _mm256_loadu_si256(from.cast::<__m256i>()),
                        ),
                        _ => _mm_stream_si128(to.cast::<__m128i>(), _mm_loadu_si128(from.cast::<__m128i>())),
                    }
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            to.set(value);
        }
    }
}

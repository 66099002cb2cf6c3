//! f16 by the machine's own conversions: F16C under AVX2, the wider ones under AVX-512.
//!
//! Sums widen as many elements at a time as become one register of f64: to take a register of f32 apart costs more. Maps
//! convert whole registers of f32.

#![allow(unsafe_code, reason = "conversions are intrinsics on raw pointers")]

use bn_core::Element;
use bn_core::mem::Bare;
use bn_core::walk::{Convert, Vector};
use half::f16;
use std::arch::x86_64::{
    __m128i, __m256i, _MM_FROUND_TO_NEAREST_INT, _mm_cvtph_ps, _mm_loadl_epi64, _mm_loadu_si128,
    _mm_storeu_ps, _mm_storeu_si128, _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm512_cvtph_ps, _mm512_cvtps_ph, _mm512_loadu_ps,
    _mm512_storeu_ps,
};

/// The conversions of a machine with registers of `BYTES` bytes: 32 with F16C, 64 with AVX-512F.
#[derive(Clone, Copy)]
pub(crate) struct F16c<const BYTES: usize>(());

impl<const BYTES: usize> F16c<BYTES> {
    /// Those of an instruction set that was detected, for functions that are compiled for it.
    ///
    /// # Safety
    /// The machine has F16C, and AVX-512F where BYTES is 64.
    #[inline(always)]
    pub(crate) unsafe fn detected() -> Self {
        const { assert!(BYTES == 32 || BYTES == 64) };
        Self(())
    }
}

#[cfg(test)]
impl<const BYTES: usize> F16c<BYTES> {
    /// Those of this machine, where it has them.
    pub(crate) fn find() -> Option<Self> {
        let found = is_x86_feature_detected!("f16c") && (BYTES == 32 || is_x86_feature_detected!("avx512f"));
        // SAFETY: they were detected.
        found.then(|| unsafe { Self::detected() })
    }
}

impl<const BYTES: usize> Convert<f16> for F16c<BYTES> {
    #[inline(always)]
    fn widened<'a, const W: usize>(self, from: &'a [f16; W], room: &'a mut [f32; W]) -> &'a [f32; W] {
        let step = BYTES / size_of::<f64>();
        if !W.is_multiple_of(step) {
            for i in 0..W {
                room[i] = from[i].to_compute();
            }
            return room;
        }
        let (source, target) = (from.as_ptr().cast::<u8>(), room.as_mut_ptr());
        for at in (0..W).step_by(step) {
            // SAFETY: both arrays have `step` elements from `at` on, which divides their length; the loads and stores need no
            // alignment. That the machine has the instructions is what a value of this type stands for.
            unsafe {
                let (from, to) = (source.add(at * size_of::<f16>()), target.add(at));
                if BYTES == 64 {
                    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128(from.cast::<__m128i>())));
                } else {
                    _mm_storeu_ps(to, _mm_cvtph_ps(_mm_loadl_epi64(from.cast::<__m128i>())));
                }
            }
        }
        room
    }

    #[inline(always)]
    fn load<V: Vector<f32>, const L: usize>(self, from: &[f16; L]) -> V {
        let step = BYTES / size_of::<f32>();
        const { assert!(L.is_multiple_of(BYTES / size_of::<f32>())) };
        let mut wide = [0.0f32; L];
        let (source, target) = (from.as_ptr().cast::<u8>(), wide.as_mut_ptr());
        for at in (0..L).step_by(step) {
            // SAFETY: as in `widened`, with the `step` of this function.
            unsafe {
                let (from, to) = (source.add(at * size_of::<f16>()), target.add(at));
                if BYTES == 64 {
                    _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256(from.cast::<__m256i>())));
                } else {
                    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128(from.cast::<__m128i>())));
                }
            }
        }
        V::load(&wide)
    }

    #[inline(always)]
    fn line<V: Vector<f32>, const L: usize>(self, v: V) -> [f16; L]
    where
        f32: Bare,
    {
        let step = BYTES / size_of::<f32>();
        const { assert!(L.is_multiple_of(BYTES / size_of::<f32>())) };
        let (wide, mut line) = (v.line::<L>(), [f16::default(); L]);
        let (source, target) = (wide.as_ptr(), line.as_mut_ptr().cast::<u8>());
        for at in (0..L).step_by(step) {
            // SAFETY: as in `load`; any 16 bits are an f16.
            unsafe {
                let (from, to) = (source.add(at), target.add(at * size_of::<f16>()));
                if BYTES == 64 {
                    let narrow = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_loadu_ps(from));
                    _mm256_storeu_si256(to.cast::<__m256i>(), narrow);
                } else {
                    let narrow = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(from));
                    _mm_storeu_si128(to.cast::<__m128i>(), narrow);
                }
            }
        }
        line
    }
}

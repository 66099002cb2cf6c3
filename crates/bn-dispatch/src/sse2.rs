//! f16 with SSE2 alone, which every x86-64 has and which knows no f16.
//!
//! 1. Eight elements are widened at a time, as long as possible in halves of 16 bits. An f32 with an f16's exponent is 2¹¹² times
//!    too small: a product takes it to its place, zeros and all.
//! 2. That would be slow for what is subnormal there, and wrong for ∞ and NaN. Where one of the elements is such, all are
//!    widened in the way that is right for every one.
//! 3. Rounding is the sum of [`Element::from_compute`]. Packing with saturation makes a NaN of what it leaves of one.

#![allow(unsafe_code, reason = "vectors are loaded and stored through raw pointers")]

use bn_core::Element;
use bn_core::mem::Bare;
use bn_core::walk::{Convert, Vector};
use half::f16;
use std::arch::x86_64::{
    __m128, __m128i, _mm_add_epi16, _mm_add_epi32, _mm_add_ps, _mm_and_ps, _mm_and_si128, _mm_andnot_si128,
    _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi16, _mm_cmplt_epi16, _mm_loadu_ps, _mm_loadu_si128,
    _mm_max_ps, _mm_min_ps, _mm_movemask_epi8, _mm_mul_ps, _mm_or_si128, _mm_packs_epi32, _mm_set1_epi16,
    _mm_set1_epi32, _mm_set1_ps, _mm_setzero_ps, _mm_setzero_si128, _mm_slli_epi16, _mm_srai_epi16,
    _mm_srai_epi32, _mm_srli_epi32, _mm_storeu_si128, _mm_sub_epi32, _mm_unpackhi_epi16, _mm_unpacklo_epi16,
};

/// Conversions of f16 by SSE2.
#[derive(Clone, Copy)]
pub(crate) struct Sse2;

/// Elements that are converted at a time.
const STEP: usize = 8;

/// Which of eight elements, as 16 bits each, may be subnormal, infinite or NaN: twice their bits, of which the sign is lost,
/// lie within 2¹¹ of 0. So does 0 itself.
#[inline]
#[target_feature(enable = "sse2")]
fn doubtful(bits: __m128i) -> __m128i {
    let twice = _mm_add_epi16(bits, bits);
    _mm_cmplt_epi16(_mm_add_epi16(twice, _mm_set1_epi16(0x8800u16.cast_signed())), _mm_set1_epi16(-0x7000))
}

/// Those of the `doubtful` ones that are not 0.
#[inline]
#[target_feature(enable = "sse2")]
fn but_zeros(doubtful: __m128i, bits: __m128i) -> __m128i {
    let zeros = _mm_cmpeq_epi16(_mm_add_epi16(bits, bits), _mm_setzero_si128());
    _mm_andnot_si128(zeros, doubtful)
}

#[inline]
#[target_feature(enable = "sse2")]
fn any(mask: __m128i) -> bool {
    _mm_movemask_epi8(mask) != 0
}

/// Eight elements of which none is subnormal, infinite or NaN, widened.
#[inline]
#[target_feature(enable = "sse2")]
fn widen(bits: __m128i) -> [__m128; 2] {
    // Sign, exponent and the mantissa's upper seven bits; its lower three.
    let upper = _mm_and_si128(_mm_srai_epi16(bits, 3), _mm_set1_epi16(0x8fffu16.cast_signed()));
    let lower = _mm_slli_epi16(bits, 13);
    let scale = _mm_set1_ps(f32::from_bits((127 + 112) << 23));
    [_mm_unpacklo_epi16(lower, upper), _mm_unpackhi_epi16(lower, upper)]
        .map(|v| _mm_mul_ps(_mm_castsi128_ps(v), scale))
}

/// The sizes of four elements, rounded, as 32 bits each; of a NaN, more than 16 bits hold.
#[inline]
#[target_feature(enable = "sse2")]
fn narrow(v: __m128) -> __m128i {
    let size = _mm_and_ps(v, _mm_castsi128_ps(_mm_set1_epi32(0x7fff_ffff)));
    // The second one of two where one is NaN.
    let size = _mm_min_ps(_mm_set1_ps(65536.0), size);
    let normal = _mm_castps_si128(_mm_max_ps(size, _mm_set1_ps(1.0 / 16384.0)));
    let exponent = _mm_and_si128(normal, _mm_set1_epi32(0x7f80_0000));
    let unit = _mm_add_epi32(exponent, _mm_set1_epi32(13 << 23));
    let places = _mm_sub_epi32(_mm_castps_si128(_mm_add_ps(size, _mm_castsi128_ps(unit))), unit);
    _mm_sub_epi32(_mm_add_epi32(places, _mm_srli_epi32(exponent, 13)), _mm_set1_epi32(113 << 10))
}

/// `N` eights of elements, widened.
#[inline]
#[target_feature(enable = "sse2")]
fn widen_all<const N: usize>(from: &[[f16; STEP]; N]) -> [[__m128; 2]; N] {
    let (mut bits, mut doubts) = ([_mm_setzero_si128(); N], _mm_setzero_si128());
    for i in 0..N {
        // SAFETY: eight elements are 16 bytes; the load needs no alignment.
        bits[i] = unsafe { _mm_loadu_si128(from[i].as_ptr().cast::<__m128i>()) };
        doubts = _mm_or_si128(doubts, doubtful(bits[i]));
    }
    if any(doubts) {
        doubts = _mm_setzero_si128();
        for i in 0..N {
            doubts = _mm_or_si128(doubts, but_zeros(doubtful(bits[i]), bits[i]));
        }
        if any(doubts) {
            return widen_any(from);
        }
    }
    let mut wide = [[_mm_setzero_ps(); 2]; N];
    for i in 0..N {
        wide[i] = widen(bits[i]);
    }
    wide
}

/// The same, whatever they are. Not in line: the lanes of sums would be spilled for it.
#[cold]
#[inline(never)]
#[target_feature(enable = "sse2")]
fn widen_any<const N: usize>(from: &[[f16; STEP]; N]) -> [[__m128; 2]; N] {
    let mut wide = [[_mm_setzero_ps(); 2]; N];
    for i in 0..N {
        let values = from[i].map(Element::to_compute);
        // SAFETY: there are eight values; the loads need no alignment.
        wide[i] = unsafe { [_mm_loadu_ps(values.as_ptr()), _mm_loadu_ps(values.as_ptr().add(4))] };
    }
    wide
}

/// The first `N` eights of elements of `from`, widened to `to`.
///
/// # Safety
/// There are as many, and as much room.
#[inline(always)]
unsafe fn put<const N: usize>(from: *const f16, to: *mut f32) {
    // SAFETY: an array of arrays lies as its elements do; that they and the room are there is the caller's to see. Every
    // x86-64 has SSE2.
    unsafe { to.cast::<[[__m128; 2]; N]>().write_unaligned(widen_all(&*from.cast::<[[f16; STEP]; N]>())) };
}

/// Eight values from `from` on, rounded to `to`.
///
/// # Safety
/// As of [`put`].
#[inline]
#[target_feature(enable = "sse2")]
unsafe fn narrow_eight(from: *const f32, to: *mut f16) {
    // SAFETY: the values are there; the loads need no alignment.
    let [low, high] = unsafe { [_mm_loadu_ps(from), _mm_loadu_ps(from.add(4))] };
    let sizes = _mm_packs_epi32(narrow(low), narrow(high));
    let (low, high) = (_mm_castps_si128(low), _mm_castps_si128(high));
    let upper = _mm_packs_epi32(_mm_srai_epi32(low, 16), _mm_srai_epi32(high, 16));
    let signs = _mm_and_si128(upper, _mm_set1_epi16(0x8000u16.cast_signed()));
    // SAFETY: so is the room; any 16 bits are an f16.
    unsafe { _mm_storeu_si128(to.cast::<__m128i>(), _mm_or_si128(sizes, signs)) };
}

impl Convert<f16> for Sse2 {
    #[inline(always)]
    fn widened<'a, const W: usize>(self, from: &'a [f16; W], room: &'a mut [f32; W]) -> &'a [f32; W] {
        let (source, target) = (from.as_ptr(), room.as_mut_ptr());
        // SAFETY: both arrays have W elements.
        unsafe {
            match W {
                8 => put::<1>(source, target),
                16 => put::<2>(source, target),
                32 => put::<4>(source, target),
                _ => {
                    for i in 0..W {
                        room[i] = from[i].to_compute();
                    }
                }
            }
        }
        room
    }

    #[inline(always)]
    fn line<V: Vector<f32>, const L: usize>(self, v: V) -> [f16; L]
    where
        f32: Bare,
    {
        const { assert!(L.is_multiple_of(STEP)) };
        let (wide, mut line) = (v.line::<L>(), [f16::default(); L]);
        for at in (0..L).step_by(STEP) {
            // SAFETY: both arrays have eight elements from `at` on.
            unsafe { narrow_eight(wide.as_ptr().add(at), line.as_mut_ptr().add(at)) };
        }
        line
    }
}

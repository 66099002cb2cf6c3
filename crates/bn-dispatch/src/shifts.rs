//! bf16 by shifts, which every machine has.
//!
//! 1. A bf16 is the upper half of an f32. Of two side by side in 32 bits one is shifted there, the other one is there already.
//! 2. So lines whose order does not matter are taken apart into their even elements and their odd ones, and put together
//!    again: no element changes its place in a register, which is what other ways spend their time on.
//! 3. A NaN that a map computes has the bits of one that went in, or the machine's own. With coefficients seen to, the lower half
//!    of all of these is 0, so that rounding leaves them what they are.

#![allow(unsafe_code, reason = "two elements are one number of 32 bits")]

use bn_core::Element;
use bn_core::mem::Bare;
use bn_core::walk::{Convert, Vector};
use half::bf16;

/// Conversions of bf16. With `FOUR` sums widen as many elements as become 32 bytes of f64, each four at once: where registers are
/// larger that is too few.
#[derive(Clone, Copy)]
pub(crate) struct Shifts<const FOUR: bool>;

/// The upper half of 32 bits.
const UPPER: u32 = 0xffff_0000;

/// The bits of `v`, of which the upper half is the nearest bf16's, the even one of two. A NaN's lower half must be 0, or it could
/// be carried on to another number.
#[inline(always)]
fn rounded(v: f32) -> u32 {
    let bits = v.to_bits();
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1))
}

/// Four elements from `from` on, widened to `to`: zeros and elements in turns, where the compiler would spread and shift.
///
/// # Safety
/// There are as many, and as much room.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn widen_four(from: *const bf16, to: *mut f32) {
    use std::arch::x86_64::{
        __m128i, _mm_loadl_epi64, _mm_setzero_si128, _mm_storeu_si128, _mm_unpacklo_epi16,
    };
    // SAFETY: the caller's; nothing needs alignment, and every x86-64 has SSE2.
    unsafe {
        let four = _mm_loadl_epi64(from.cast::<__m128i>());
        _mm_storeu_si128(to.cast::<__m128i>(), _mm_unpacklo_epi16(_mm_setzero_si128(), four));
    }
}

impl<const FOUR: bool> Convert<bf16> for Shifts<FOUR> {
    #[inline(always)]
    fn widened<'a, const W: usize>(self, from: &'a [bf16; W], room: &'a mut [f32; W]) -> &'a [f32; W] {
        #[cfg(target_arch = "x86_64")]
        if FOUR && W.is_multiple_of(4) {
            for at in (0..W).step_by(4) {
                // SAFETY: both arrays have four elements from `at` on.
                unsafe { widen_four(from.as_ptr().add(at), room.as_mut_ptr().add(at)) };
            }
            return room;
        }
        for i in 0..W {
            room[i] = from[i].to_compute();
        }
        room
    }

    #[inline(always)]
    fn line<V: Vector<f32>, const L: usize>(self, v: V) -> [bf16; L]
    where
        f32: Bare,
    {
        let (wide, mut line) = (v.line::<L>(), [bf16::default(); L]);
        for i in 0..L {
            line[i] = bf16::from_compute(wide[i]);
        }
        line
    }

    #[inline(always)]
    fn load_mixed<V: Vector<f32>, const L: usize>(self, from: &[bf16; L]) -> V {
        const { assert!(L.is_multiple_of(2)) };
        let (pairs, mut wide) = (from.as_ptr().cast::<u32>(), [0.0; L]);
        for i in 0..L / 2 {
            // SAFETY: L elements of 16 bits are L / 2 pairs of them; the load needs no alignment, and any bits are a u32.
            let pair = unsafe { pairs.add(i).read_unaligned() };
            wide[i] = f32::from_bits(pair << 16);
            wide[L / 2 + i] = f32::from_bits(pair & UPPER);
        }
        V::load(&wide)
    }

    #[inline(always)]
    fn coef(self, v: f32) -> f32 {
        // The one NaN of this name has a lower half of 0.
        if v.is_nan() { f32::NAN } else { v }
    }

    #[inline(always)]
    fn line_mixed<V: Vector<f32>, const L: usize>(self, v: V) -> [bf16; L]
    where
        f32: Bare,
    {
        const { assert!(L.is_multiple_of(2)) };
        let (wide, mut line) = (v.line::<L>(), [bf16::default(); L]);
        let pairs = line.as_mut_ptr().cast::<u32>();
        for i in 0..L / 2 {
            let pair = (rounded(wide[i]) >> 16) | (rounded(wide[L / 2 + i]) & UPPER);
            // SAFETY: as in `load_mixed`; any 16 bits are a bf16.
            unsafe { pairs.add(i).write_unaligned(pair) };
        }
        line
    }
}

//! f16 and bf16: storage alone. Their arithmetic is that of f32.
//!
//! Conversions have no branch, so that loops over them become vectors under any instruction set. Subnormal values are kept, of
//! either type; a caller who has them flushed to zero gets other values.

use super::element::{Element, PerElement};
use half::{bf16, f16};

macro_rules! half_type {
    ($t:ident, widen: $widen:ident, narrow: $narrow:ident) => {
        impl Element for $t {
            type Compute = f32;
            const NAME: &'static str = stringify!($t);

            #[inline(always)]
            fn to_compute(self) -> f32 {
                $widen(self.to_bits())
            }
            #[inline(always)]
            fn from_compute(v: f32) -> Self {
                Self::from_bits($narrow(v))
            }
            fn widen_all(from: &[Self], to: &mut [f32]) {
                assert_eq!(from.len(), to.len(), "{LENGTHS}");
                for (to, from) in to.iter_mut().zip(from) {
                    *to = from.to_compute();
                }
            }
            fn narrow_all(from: &[f32], to: &mut [Self]) {
                assert_eq!(from.len(), to.len(), "{LENGTHS}");
                for (to, &from) in to.iter_mut().zip(from) {
                    *to = Self::from_compute(from);
                }
            }
            fn pick<P: PerElement>(of: P) -> P::Of<Self> {
                of.$t()
            }
        }
    };
}

half_type!(f16, widen: widen_f16, narrow: narrow_f16);
half_type!(bf16, widen: widen_bf16, narrow: narrow_bf16);

const LENGTHS: &str = "as many values are converted as there is room for";

/// Bits of f32: all but the sign, the exponent, and where its field begins.
const SIZE: u32 = 0x7fff_ffff;
const EXPONENT: u32 = 0x7f80_0000;
const MANTISSA_BITS: u32 = 23;

/// 2⁻¹⁴, the smallest normal f16, and 2¹⁶, the power of two above the largest one.
const F16_NORMAL: f32 = 1.0 / 16384.0;
const F16_ABOVE: f32 = 65536.0;
/// The difference of the exponents' biases, and of the lengths of the mantissas.
const F16_BIAS: u32 = 127 - 15;
const F16_SHIFT: u32 = MANTISSA_BITS - 10;

/// The f16 of these bits. With the bias added, a normal value v is right. A subnormal one, m·2⁻²⁴, reads as
/// v = 2⁻¹⁵ + m·2⁻²⁵; so 2v − 2⁻¹⁴ is right, and is the smaller of the two there and nowhere else.
#[inline(always)]
fn widen_f16(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let biased = ((bits & 0x7fff) << F16_SHIFT) + (F16_BIAS << MANTISSA_BITS);
    let normal = f32::from_bits(biased);
    let subnormal = (normal + normal) - F16_NORMAL;
    let finite = if normal < subnormal { normal } else { subnormal };
    // The exponents of ∞ and NaN are all ones.
    let special = if normal < F16_ABOVE { 0 } else { EXPONENT };
    f32::from_bits(finite.to_bits() | special | ((bits & 0x8000) << 16))
}

/// The bits of the nearest f16, the even one of two. An f32 of the value's exponent, 13 larger, has the last places of an f16 of
/// that exponent: their sum is rounded as is wanted, and its mantissa counts those places.
#[inline(always)]
fn narrow_f16(v: f32) -> u16 {
    let bits = v.to_bits();
    let size = f32::from_bits(bits & SIZE);
    // What is larger becomes ∞, NaN too at first.
    let size = if size < F16_ABOVE { size } else { F16_ABOVE };
    // Below, all values have the last place of the smallest normal one.
    let exponent = if size > F16_NORMAL { size } else { F16_NORMAL }.to_bits() & EXPONENT;
    let unit = exponent + (F16_SHIFT << MANTISSA_BITS);
    let places = (size + f32::from_bits(unit)).to_bits() - unit;
    // A normal value's places have the implicit one, so the exponent's field is one less: that of 2⁻¹⁴ becomes 0.
    let narrow = places + (exponent >> F16_SHIFT) - ((F16_BIAS + 1) << 10);
    let quiet = if v.is_nan() { 0x200 } else { 0 };
    // The sign is spread: what is a number of 16 bits with a sign is packed in one instruction.
    let sign = (bits.cast_signed() >> 16) & !0x7fff;
    (((narrow | quiet) & 0x7fff).cast_signed() | sign) as u16
}

/// The bf16 of these bits: an f32's upper half.
#[inline(always)]
fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bits of the nearest bf16, the even one of two; a NaN stays one, and quiet.
#[inline(always)]
fn narrow_bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    // A carry goes into the exponent, of the largest numbers to ∞. That of a NaN could go on to 0.
    let (carry, quiet) = if v.is_nan() { (0, 0x40) } else { (0x7fff + ((bits >> 16) & 1), 0) };
    (((bits + carry).cast_signed() >> 16) | quiet) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// What a type's crate makes of it.
    struct Reference<T> {
        widen: fn(T) -> f32,
        narrow: fn(f32) -> T,
        from_bits: fn(u16) -> T,
        to_bits: fn(T) -> u16,
    }

    const F16: Reference<f16> = Reference {
        widen: f16::to_f32,
        narrow: f16::from_f32,
        from_bits: f16::from_bits,
        to_bits: f16::to_bits,
    };
    const BF16: Reference<bf16> = Reference {
        widen: bf16::to_f32,
        narrow: bf16::from_f32,
        from_bits: bf16::from_bits,
        to_bits: bf16::to_bits,
    };

    fn widens<T: Element<Compute = f32>>(reference: &Reference<T>) {
        let all: Vec<T> = (0..=u16::MAX).map(reference.from_bits).collect();
        let mut wide = vec![0.0; all.len()];
        T::widen_all(&all, &mut wide);
        for (&v, got) in all.iter().zip(wide) {
            let want = (reference.widen)(v);
            assert!(got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()), "{v:?}: {got:e}");
        }
    }

    fn narrows_alike<T: Element<Compute = f32> + Debug>(reference: &Reference<T>, values: &[f32]) {
        let mut narrow = vec![T::default(); values.len()];
        T::narrow_all(values, &mut narrow);
        for (&v, &got) in values.iter().zip(&narrow) {
            let want = (reference.narrow)(v);
            // Quiet where the mantissa's first bit is set.
            let right = if v.is_nan() {
                let quiet = if T::NAME == "f16" { 0x7e00 } else { 0x7fc0 };
                got.to_compute().is_nan() && (reference.to_bits)(got) & quiet == quiet
            } else {
                (reference.to_bits)(got) == (reference.to_bits)(want)
            };
            assert!(right, "{v:e} ({:#x}): {got:?}, expected {want:?}", v.to_bits());
        }
    }

    /// Every value, the middle to the next one, what lies beside either, and as many between.
    fn narrows<T: Element<Compute = f32> + Debug>(reference: &Reference<T>) {
        for bits in 0..=u16::MAX {
            let (here, next) = ((reference.from_bits)(bits), (reference.from_bits)(bits ^ 1));
            let [here, next] = [here, next].map(reference.widen);
            let above = (reference.widen)((reference.from_bits)(bits.wrapping_add(1)));
            let mut values = vec![here, f32::from_bits(here.to_bits() ^ 1)];
            for other in [next, above] {
                let middle = f64::midpoint(f64::from(here), f64::from(other)) as f32;
                for step in [0x8000_0000u32, 0x1000, 2, 1, 0] {
                    values.push(f32::from_bits(middle.to_bits().wrapping_add(step)));
                    values.push(f32::from_bits(middle.to_bits().wrapping_sub(step)));
                }
            }
            narrows_alike(reference, &values);
        }
    }

    #[test]
    fn every_value_is_widened_exactly() {
        widens(&F16);
        widens(&BF16);
    }

    #[test]
    fn what_lies_between_two_values_goes_to_the_nearer_or_the_even_one() {
        narrows(&F16);
        narrows(&BF16);
    }

    #[test]
    fn numbers_of_every_exponent_are_narrowed() {
        // All signs and exponents, with mantissas that lie about the places where either type is cut off.
        let mantissas: Vec<u32> = (0..24).flat_map(|bit| [0, 1, 2, 3].map(|low| (1 << bit) ^ low)).collect();
        for high in 0..1 << 9 {
            let values: Vec<f32> = mantissas
                .iter()
                .flat_map(|m| [*m, !m].map(|m| f32::from_bits((high << 23) | (m & 0x7f_ffff))))
                .collect();
            narrows_alike(&F16, &values);
            narrows_alike(&BF16, &values);
        }
        let named =
            [65503.9, 65519.996, 65520.0, 65535.9, 65536.0, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY];
        narrows_alike(&F16, &named);
        narrows_alike(&BF16, &named);
    }
}

//! Floats as words: what a step of a search does to the bits of a value.

use bn_core::Element;
use half::{bf16, f16};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// A number whose sign, exponent and mantissa can be moved by themselves. No move makes a finite number infinite or NaN.
pub(super) trait Word: Element {
    /// The stored bits of the mantissa.
    const MANTISSA: u32;
    /// The bits of +∞: those of every finite magnitude are below.
    const INFINITY: u64;
    /// Sign and magnitude: the magnitudes are in the order of the numbers.
    fn parts(self) -> (bool, u64);
    /// The number with this sign and magnitude.
    fn of(negative: bool, magnitude: u64) -> Self;
}

macro_rules! word {
    ($t:ident, $bits:ident, $mantissa:literal) => {
        impl Word for $t {
            const MANTISSA: u32 = $mantissa;
            const INFINITY: u64 = $t::INFINITY.to_bits() as u64;

            fn parts(self) -> (bool, u64) {
                let bits = self.to_bits();
                let sign = 1 << ($bits::BITS - 1);
                (bits & sign != 0, u64::from(bits & !sign))
            }
            fn of(negative: bool, magnitude: u64) -> Self {
                let sign = $bits::from(negative) << ($bits::BITS - 1);
                Self::from_bits(sign | magnitude as $bits)
            }
        }
    };
}

word!(f32, u32, 23);
word!(f64, u64, 52);
word!(f16, u16, 10);
word!(bf16, u16, 7);

/// `steps` neighbours further, through 0 to the other sign where it comes to that.
pub(super) fn neighbour<W: Word>(v: W, steps: i64) -> W {
    let (negative, magnitude) = v.parts();
    let largest = W::INFINITY as i64 - 1;
    let ordered = if negative { -(magnitude as i64) } else { magnitude as i64 };
    let moved = ordered.saturating_add(steps).clamp(-largest, largest);
    W::of(moved < 0, moved.unsigned_abs())
}

/// v·2ᵉ, but for the least exponents, where the mantissa is kept as it is.
pub(super) fn shifted<W: Word>(v: W, e: i64) -> W {
    let (negative, magnitude) = v.parts();
    let moved = (magnitude as i64).saturating_add(e << W::MANTISSA);
    W::of(negative, moved.clamp(0, W::INFINITY as i64 - 1) as u64)
}

/// One random step of a value.
pub(super) fn nudged<W: Word>(v: W, rng: &mut Pcg64Mcg) -> W {
    let (negative, magnitude) = v.parts();
    let mask = (1u64 << W::MANTISSA) - 1;
    let few = |rng: &mut Pcg64Mcg| rng.random_range(0..4u64);
    let sign = |rng: &mut Pcg64Mcg| if rng.random_range(0..2) == 0 { 1 } else { -1 };
    match rng.random_range(0..16) {
        // A few units in the last place, or as many as a bit of the mantissa makes.
        0..=3 => neighbour(v, sign(rng) * rng.random_range(1..5i64)),
        4..=9 => neighbour(v, sign(rng) << rng.random_range(0..=W::MANTISSA)),
        // Near a boundary of the mantissas, where a unit of roundoff is most or least of the value.
        10 => W::of(negative, (magnitude | mask) - few(rng).min(mask)),
        11 => W::of(negative, (magnitude & !mask) + few(rng)),
        12 => W::of(negative, (magnitude & !mask) | rng.random_range(0..=mask)),
        13 => shifted(v, sign(rng) * rng.random_range(1..3)),
        14 => shifted(v, sign(rng) * rng.random_range(1..25)),
        _ => W::of(!negative, magnitude),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_step_is_finite<W: Word>(values: &[W]) {
        let mut rng = crate::data::rng(5);
        for &start in values {
            let mut v = start;
            for _ in 0..10_000 {
                v = nudged(v, &mut rng);
                assert!(v.parts().1 < W::INFINITY, "{start:?}");
            }
        }
    }

    #[test]
    fn steps_stay_finite() {
        every_step_is_finite(&[0.0f32, 1.0, f32::MAX, -f32::MIN_POSITIVE]);
        every_step_is_finite(&[0.0f64, 1.0, f64::MAX, -5e-324]);
        every_step_is_finite(&[f16::ONE, f16::MAX]);
        every_step_is_finite(&[bf16::ONE, bf16::MAX]);
    }

    #[test]
    fn neighbours_and_shifts_are_exact() {
        assert_eq!(neighbour(1.0f32, 1), 1.0 + f32::EPSILON);
        assert_eq!(neighbour(0.0f64, -1), -5e-324);
        assert_eq!(neighbour(f32::MAX, 9), f32::MAX);
        assert_eq!(shifted(-1.5f64, 3), -12.0);
        assert_eq!(shifted(f16::from_f32(3.0), -1).to_f32(), 1.5);
    }
}

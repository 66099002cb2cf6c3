//! A tensor's bits as one number, and whether two tensors have the same.

use crate::case::Tensor;
use bn_core::Element;
use half::{bf16, f16};

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), of the little-endian bytes of `values` in the
/// tensor's own type: `T` for y and dx, `T::Compute` for the others. Every NaN counts as the type's positive
/// quiet NaN without payload (f32 7fc00000, f64 7ff8000000000000, f16 7e00, bf16 7fc0).
#[must_use]
pub fn digest<T: Element>(tensor: Tensor, values: &[f64]) -> u64 {
    let name = match tensor {
        tensor if tensor.is_whole() => T::NAME,
        _ => T::Compute::NAME,
    };
    // The results hold values of the type exactly, so that going back to it rounds nothing.
    let bits = |v: f64| match (name, v.is_nan()) {
        ("f64", true) => (0x7ff8_0000_0000_0000, 8),
        ("f64", false) => (v.to_bits(), 8),
        ("f32", true) => (0x7fc0_0000, 4),
        ("f32", false) => (u64::from((v as f32).to_bits()), 4),
        ("f16", true) => (0x7e00, 2),
        ("f16", false) => (u64::from(f16::from_f64(v).to_bits()), 2),
        ("bf16", true) => (0x7fc0, 2),
        ("bf16", false) => (u64::from(bf16::from_f64(v).to_bits()), 2),
        (other, _) => unreachable!("no element type is called {other}"),
    };
    let mut hash = Fnv::default();
    for &v in values {
        let (bits, width) = bits(v);
        hash.write(&bits.to_le_bytes()[..width]);
    }
    hash.0
}

/// Whether two results hold the same bits, all NaNs counting as one.
#[must_use]
pub fn same_bits(a: &[f64], b: &[f64]) -> bool {
    let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    a.len() == b.len() && a.iter().zip(b).all(same)
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_gives_the_published_values() {
        for (text, want) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8u64)]
        {
            let mut hash = Fnv::default();
            hash.write(text.as_bytes());
            assert_eq!(hash.0, want, "{text:?}");
        }
    }

    #[test]
    fn bits_count_in_the_tensors_own_type() {
        let of = |bytes: &[u8]| {
            let mut hash = Fnv::default();
            hash.write(bytes);
            hash.0
        };
        assert_eq!(digest::<f32>(Tensor::Y, &[1.5]), of(&1.5f32.to_le_bytes()));
        assert_eq!(digest::<f64>(Tensor::Mean, &[1.5]), of(&1.5f64.to_le_bytes()));
        assert_eq!(digest::<bf16>(Tensor::Dx, &[1.5]), of(&bf16::from_f64(1.5).to_le_bytes()));
        assert_eq!(digest::<f16>(Tensor::Dx, &[1.5]), of(&f16::from_f64(1.5).to_le_bytes()));
        assert_eq!(digest::<f16>(Tensor::Dbias, &[1.5]), of(&1.5f32.to_le_bytes()));
        assert_eq!(digest::<f32>(Tensor::Y, &[f64::NAN]), digest::<f32>(Tensor::Y, &[-f64::NAN]));
        assert_ne!(digest::<f32>(Tensor::Y, &[0.0]), digest::<f32>(Tensor::Y, &[-0.0]));
    }

    #[test]
    fn zeros_differ_in_their_sign_and_nans_do_not() {
        assert!(same_bits(&[1.0, f64::NAN], &[1.0, -f64::NAN]));
        assert!(!same_bits(&[0.0], &[-0.0]));
        assert!(!same_bits(&[0.0], &[0.0, 0.0]));
    }
}

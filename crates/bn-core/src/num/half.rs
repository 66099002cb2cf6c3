//! f16 and bf16: storage alone. Their arithmetic is that of f32.

use super::element::{Element, PerElement};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

macro_rules! half_type {
    ($t:ident) => {
        impl Element for $t {
            type Compute = f32;
            const NAME: &'static str = stringify!($t);

            fn to_compute(self) -> f32 {
                self.to_f32()
            }
            fn from_compute(v: f32) -> Self {
                Self::from_f32(v)
            }
            fn widen_all(from: &[Self], to: &mut [f32]) {
                from.convert_to_f32_slice(to);
            }
            fn narrow_all(from: &[f32], to: &mut [Self]) {
                to.convert_from_f32_slice(from);
            }
            fn pick<P: PerElement>(of: P) -> P::Of<Self> {
                of.$t()
            }
        }
    };
}

half_type!(f16);
half_type!(bf16);

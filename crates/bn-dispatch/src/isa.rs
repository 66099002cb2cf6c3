//! What the kernels' source is compiled for: each level's functions are the same source with other constants,
//! under another `#[target_feature]`.

/// An instruction set's constants.
pub(crate) trait Isa {
    /// Whether it has a fused multiply-add.
    const FMA: bool;
    /// Whether sums down the strips ask for memory in the order in which it lies, see [`bn_core::group::Stack::along`]. Measured.
    const ALONG: bool;
}

/// The target's own: SSE2's sixteen registers of two f64, or NEON's.
pub(crate) struct Baseline;
/// AVX2 with FMA: sixteen registers of four f64.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;
/// AVX-512: thirty-two registers of eight f64.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512;

impl Isa for Baseline {
    const FMA: bool = false;
    const ALONG: bool = true;
}

#[cfg(target_arch = "x86_64")]
impl Isa for Avx2 {
    const FMA: bool = true;
    const ALONG: bool = true;
}

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512 {
    const FMA: bool = true;
    const ALONG: bool = false;
}

//! How large and small a coefficient may be.

/// The magnitudes that coefficients may have for the kernels' arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// What is smaller, but not 0, could lose digits in a product.
    pub low: f64,
    /// What is larger could overflow before it cancels.
    pub high: f64,
}

impl Range {
    /// Zero, or neither too large nor too small to be multiplied. False for NaN.
    #[inline(always)]
    #[must_use]
    pub fn holds(self, v: f64) -> bool {
        let size = v.abs();
        (v == 0.0) | ((size >= self.low) & (size <= self.high))
    }

    /// Not too large. False for NaN.
    #[inline(always)]
    #[must_use]
    pub fn above(self, v: f64) -> bool {
        v.abs() <= self.high
    }
}

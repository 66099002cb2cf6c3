//! How large the values of a hard feature are, and whether all are finite.

/// How far the values of a feature reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The smallest and the largest finite one.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether there are no others.
    pub(super) finite: bool,
}

impl Default for Extent {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY, finite: true }
    }
}

impl Extent {
    #[inline(always)]
    pub(super) fn take(&mut self, v: f64) {
        let finite = v.is_finite();
        self.finite &= finite;
        self.low = if finite & (v < self.low) { v } else { self.low };
        self.high = if finite & (v > self.high) { v } else { self.high };
    }

    pub(super) fn join(&mut self, other: Self) {
        self.finite &= other.finite;
        (self.low, self.high) = (self.low.min(other.low), self.high.max(other.high));
    }

    /// The largest size of a finite value; 0 where there is none.
    pub(super) fn largest(&self) -> f64 {
        self.farthest(|v| v)
    }

    /// The largest size of what `of`, which is monotonic, makes of a finite value.
    pub(super) fn farthest(&self, of: impl Fn(f64) -> f64) -> f64 {
        if self.low <= self.high { of(self.low).abs().max(of(self.high).abs()) } else { 0.0 }
    }
}

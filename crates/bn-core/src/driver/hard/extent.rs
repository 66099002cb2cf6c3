//! How large the values of a hard feature are, and what those come to that are not finite.

/// How far the values of a feature reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The smallest and the largest finite one.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Σ of the others: 0 where there are none.
    pub(super) others: f64,
}

impl Default for Extent {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY, others: 0.0 }
    }
}

impl Extent {
    #[inline(always)]
    pub(super) fn take(&mut self, v: f64) {
        let finite = v.is_finite();
        self.others += if finite { 0.0 } else { v };
        self.low = if finite & (v < self.low) { v } else { self.low };
        self.high = if finite & (v > self.high) { v } else { self.high };
    }

    pub(super) fn join(&mut self, other: Self) {
        self.others += other.others;
        (self.low, self.high) = (self.low.min(other.low), self.high.max(other.high));
    }

    /// Whether all values are finite.
    pub(super) fn is_finite(&self) -> bool {
        self.others == 0.0
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

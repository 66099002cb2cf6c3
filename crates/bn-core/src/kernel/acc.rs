//! Accumulators: the running sums that kernels add to.

/// A sum per virtual lane: `hi`, and for f64 data `lo`, what `hi` has lost to rounding (empty for f32).
#[derive(Debug)]
pub struct Plane<'a> {
    /// The running sums.
    pub hi: &'a mut [f64],
    /// The running sums of their rounding errors.
    pub lo: &'a mut [f64],
}

/// The two sums that a kernel makes, over the lanes of a tile's features: feature f owns the lanes
/// `f·LANES..(f+1)·LANES` in [`Walk::Runs`](super::Walk::Runs), lane f in [`Walk::Columns`](super::Walk::Columns).
#[derive(Debug)]
pub struct Acc<'a> {
    /// Σ(x−k) or Σdy.
    pub first: Plane<'a>,
    /// Σ(x−k)² or Σdy·(x−k).
    pub second: Plane<'a>,
}

impl Plane<'_> {
    /// The same lanes for a shorter time, from lane `start` on.
    pub fn from_lane(&mut self, start: usize) -> Plane<'_> {
        let lo = start.min(self.lo.len());
        Plane { hi: &mut self.hi[start..], lo: &mut self.lo[lo..] }
    }
}

impl<'a> Acc<'a> {
    /// `lanes` as two planes of `width` sums each, with remainders where there is room for them.
    ///
    /// # Panics
    /// Where half of `lanes` is fewer than `width`.
    #[must_use]
    pub fn new(lanes: &'a mut [f64], width: usize) -> Self {
        let (first, second) = lanes.split_at_mut(lanes.len() / 2);
        let plane = |s| {
            let (hi, lo) = <[f64]>::split_at_mut(s, width);
            Plane { hi, lo }
        };
        Self { first: plane(first), second: plane(second) }
    }

    /// The same lanes for a shorter time, from lane `start` on.
    pub fn from_lane(&mut self, start: usize) -> Acc<'_> {
        Acc { first: self.first.from_lane(start), second: self.second.from_lane(start) }
    }

    /// Makes all lanes zero.
    #[inline]
    pub fn clear(&mut self) {
        for plane in [&mut self.first, &mut self.second] {
            plane.hi.fill(0.0);
            plane.lo.fill(0.0);
        }
    }
}

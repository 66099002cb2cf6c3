//! An axis of a plot: linear or logarithmic, with ticks at round numbers.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// The axis.
#[derive(Clone)]
pub struct Scale {
    range: Range<f64>,
    log: bool,
    ticks: Vec<f64>,
}

impl Scale {
    /// From `start` to `end`, with about six ticks at 1, 2 or 5 times a power of ten.
    pub fn linear(start: f64, end: f64) -> Self {
        let rough = (end - start) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|s| s * power).into_iter().find(|&s| s >= rough).unwrap_or(rough);
        let (first, last) = ((start / step).ceil() as i64, (end / step).floor() as i64);
        Self { range: start..end, log: false, ticks: (first..=last).map(|i| i as f64 * step).collect() }
    }

    /// Shares in percent from `start` up, with room for a line at 100.
    pub fn percent(start: f64) -> Self {
        let top = 100.0 + 0.03 * (100.0 - start);
        Self { range: start..top, ..Self::linear(start, 100.0) }
    }

    /// Where the axis begins.
    pub(crate) fn start(&self) -> f64 {
        self.range.start
    }

    /// The whole decades that hold every value above zero, with a tick at each.
    pub fn decades(values: impl IntoIterator<Item = f64>) -> Self {
        let exponents = values.into_iter().filter(|&v| v > 0.0).map(f64::log10);
        let (low, high) =
            exponents.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), e| (low.min(e), high.max(e)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
        // A power of ten that came out of f32 arithmetic may be off by a rounding error.
        let low = (low + 1e-6).floor() as i32;
        let high = ((high - 1e-6).ceil() as i32).max(low + 1);
        Self::log(10f64.powi(low), 10f64.powi(high))
    }

    /// From `start` to `end`, both above zero, with ticks at powers of ten; also at 2 and 5 times them where
    /// the axis is short.
    pub fn log(start: f64, end: f64) -> Self {
        let steps: &[f64] = if end / start < 500.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = start.log10().floor() as i32..=end.log10().ceil() as i32;
        let ticks = powers.flat_map(|e| steps.iter().map(move |step| step * 10f64.powi(e)));
        // The ends may have been computed another way than the ticks.
        let inside = start * (1.0 - 1e-9)..=end * (1.0 + 1e-9);
        Self { range: start..end, log: true, ticks: ticks.filter(|tick| inside.contains(tick)).collect() }
    }

    /// The place of a value, 0 at the start of the axis and 1 at its end; what lies beyond is put on the edge.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.range.start, self.range.end);
        let [value, start, end] =
            [value, self.range.start, self.range.end].map(|v| if self.log { v.log10() } else { v });
        (value - start) / (end - start)
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        start + (f64::from(end - start) * self.place(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(value: &f64) -> String {
        let value = *value;
        if value == 0.0 || (1e-2..1e5).contains(&value.abs()) {
            format!("{value}")
        } else {
            format!("{value:e}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::linear(0.0, 100.0).ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(Scale::log(5.0, 120.0).ticks, [5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(Scale::decades([1e-4, 0.9]).ticks, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]);
        assert_eq!(Scale::decades([f64::from(1e-3f32), 0.0, 0.4]).range, 1e-3..1.0);
        assert_eq!(Scale::decades([]).range, 1.0..10.0);
    }

    #[test]
    fn values_map_to_their_place() {
        let scale = Scale::decades([1e-4, 1.0]);
        assert_eq!([1e-4, 1e-2, 1.0, 0.0].map(|v| scale.map(&v, (400, 0))), [400, 200, 0, 400]);
    }
}

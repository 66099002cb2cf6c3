//! An axis: linear or logarithmic, with ticks at round numbers.

#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) ticks: Vec<(f64, String)>,
    range: (f64, f64),
    log: bool,
}

impl Axis {
    /// From 0 to `end` or more.
    pub(super) fn linear(title: &str, end: f64, label: impl Fn(f64) -> String) -> Self {
        let rough = end / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * power).into_iter().find(|&s| s >= rough * 0.999);
        let step = step.unwrap_or(rough);
        let last = (end / step * 0.999).ceil() as u32;
        let ticks = (0..=last).map(|i| f64::from(i) * step).map(|v| (v, label(v))).collect();
        Self { title: title.into(), ticks, range: (0.0, f64::from(last) * step), log: false }
    }

    /// All `values`, with ticks at powers of ten; at 2 and 5 times them as well where the axis is short.
    pub(super) fn log(
        title: &str,
        values: impl IntoIterator<Item = f64>,
        label: impl Fn(f64) -> String,
    ) -> Self {
        let found = values.into_iter().filter(|&v| v > 0.0 && v.is_finite());
        let (low, high) = found.fold((f64::INFINITY, 0.0), |(low, high), v: f64| (v.min(low), v.max(high)));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let steps: &[f64] = match high / low {
            span if span < 100.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let powers = low.log10().floor() as i32 - 1..=high.log10().ceil() as i32 + 1;
        let all: Vec<f64> = powers.flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e))).collect();
        let near = 1.0 + 1e-9;
        let start = all.iter().copied().rfind(|&v| v <= low * near).unwrap_or(low);
        let end = all.iter().copied().find(|&v| v >= high / near && v > start).unwrap_or(high);
        let mut inside: Vec<f64> = all.into_iter().filter(|&v| v >= start && v <= end).collect();
        // No more labels than there is room for.
        while inside.len() > 9 {
            inside = inside.into_iter().step_by(2).collect();
        }
        let ticks = inside.into_iter().map(|v| (v, label(v))).collect();
        Self { title: title.into(), ticks, range: (start, end), log: true }
    }

    /// The values themselves as ticks, a doubling being one length.
    pub(super) fn doublings(title: &str, values: impl IntoIterator<Item = usize>) -> Self {
        let mut ticks: Vec<usize> = values.into_iter().collect();
        ticks.sort_unstable();
        ticks.dedup();
        let (start, end) = (ticks.first().copied().unwrap_or(1), ticks.last().copied().unwrap_or(2));
        let range = (start as f64, end.max(start + 1) as f64);
        let ticks = ticks.into_iter().map(|v| (v as f64, v.to_string())).collect();
        Self { title: title.into(), ticks, range, log: true }
    }

    /// The place of a value, 0 at the start of the axis and 1 at its end; what lies beyond is put on the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.range.0, self.range.1);
        let [value, start, end] =
            [value, self.range.0, self.range.1].map(|v| if self.log { v.ln() } else { v });
        (value - start) / (end - start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|tick| tick.0).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_every_value() {
        let label = |v: f64| v.to_string();
        assert_eq!(ticks(&Axis::linear("", 100.0, label)), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(&Axis::linear("", 112.0, label)), [0.0, 50.0, 100.0, 150.0]);
        assert_eq!(ticks(&Axis::log("", [0.3, 7.0], label)), [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(ticks(&Axis::log("", [3.0, 2e6], label)).len(), 8);
        assert!(ticks(&Axis::log("", [1e-9, 1e30], label)).len() <= 9);
        assert_eq!(ticks(&Axis::log("", [], label)), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(ticks(&Axis::doublings("", [4, 1, 2, 1])), [1.0, 2.0, 4.0]);
    }

    #[test]
    fn values_have_their_place() {
        let axis = Axis::log("", [1e-4, 1.0], |v| v.to_string());
        assert_eq!([1e-4, 1e-2, 1.0, 0.0, 9.0].map(|v| axis.place(v)), [0.0, 0.5, 1.0, 0.0, 1.0]);
        assert!((Axis::doublings("", [1, 2, 4]).place(2.0) - 0.5).abs() < 1e-12);
    }
}

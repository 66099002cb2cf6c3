//! An earlier run beside this one: what moved beyond the noise.

use super::record::Record;

/// Changes below this are noise whatever the spreads say: a run's own conditions (pages, placement) move more.
const LEAST: f64 = 0.05;

/// So many spreads of both runs are noise.
const SPREADS: f64 = 3.0;

/// A measurement of both runs.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Which of this run's records.
    pub(crate) index: usize,
    /// This run's median as a multiple of the earlier one.
    ratio: f64,
    /// How far the ratio may be from 1 by noise.
    pub(crate) noise: f64,
    moved: bool,
}

impl Change {
    /// `1.12x slower`, where it moved.
    pub(crate) fn mark(&self) -> Option<String> {
        self.moved.then(|| match self.ratio > 1.0 {
            true => format!("{:.2}x slower", self.ratio),
            false => format!("{:.2}x faster", 1.0 / self.ratio),
        })
    }
}

/// What tells measurements apart.
fn key(r: &Record) -> impl PartialEq + '_ {
    (r.problem(), &r.pass, &r.variant, &r.implementation, r.threads)
}

/// Compares what both runs have. A change counts where median and least time moved the same way by more than the noise:
/// a neighbour on the machine moves the one, seldom both.
pub(crate) fn compare(earlier: &[Record], records: &[Record]) -> Vec<Change> {
    let change = |(index, record): (usize, &Record)| {
        let earlier = earlier.iter().find(|earlier| key(earlier) == key(record))?;
        let (ratio, least) = (record.median_ns / earlier.median_ns, record.min_ns / earlier.min_ns);
        let noise = LEAST.max(SPREADS * record.spread.hypot(earlier.spread));
        let (low, high) = (1.0 / (1.0 + noise), 1.0 + noise);
        let moved = (ratio > high && least > high) || (ratio < low && least < low);
        Some(Change { index, ratio, noise, moved })
    };
    records.iter().enumerate().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn what_moved_beyond_the_noise_is_marked() {
        let earlier = [record("dispatch", 1, "step", 100.0), record("graph", 1, "step", 100.0)];
        let marks = |median: f64, change: &dyn Fn(&mut Record)| {
            let mut now = record("dispatch", 1, "step", median);
            change(&mut now);
            let changes = compare(&earlier, &[record("other", 1, "step", 1.0), now]);
            changes.iter().map(|change| (change.index, change.mark())).collect::<Vec<_>>()
        };
        assert_eq!(marks(104.0, &|_| ()), [(1, None)]);
        assert_eq!(marks(112.0, &|_| ()), [(1, Some("1.12x slower".into()))]);
        assert_eq!(marks(50.0, &|_| ()), [(1, Some("2.00x faster".into()))]);
        assert_eq!(marks(112.0, &|r| r.spread = 0.1), [(1, None)], "within three spreads");
        assert_eq!(marks(112.0, &|r| r.min_ns = 98.0), [(1, None)], "the least time stayed");
        assert_eq!(marks(112.0, &|r| r.threads = 2), [], "another number of threads is another measurement");
        assert_eq!(marks(112.0, &|r| r.variant = "hard:dy_nan".into()), [], "so is other data");
    }
}

//! An earlier run beside this one: what moved beyond the noise.

use super::record::{PLAIN, Record};
use serde::Deserialize;
use std::path::Path;

/// What of an earlier file is compared; it may hold more.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Earlier {
    shape: String,
    layout: String,
    dtype: String,
    pass: String,
    /// Files of old have none but this.
    #[serde(default = "plain")]
    variant: String,
    #[serde(rename = "impl")]
    implementation: String,
    threads: usize,
    median_ns: f64,
    min_ns: f64,
    #[serde(default)]
    spread: f64,
}

fn plain() -> String {
    PLAIN.into()
}

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
    pub(crate) ratio: f64,
    /// How far the ratio may be from 1 by noise.
    pub(crate) noise: f64,
    /// Whether it moved.
    pub(crate) moved: bool,
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

/// Reads an earlier run's JSON.
pub(crate) fn load(path: &Path) -> Result<Vec<Earlier>, String> {
    let told = |what: String| format!("--baseline {}: {what}", path.display());
    let expected = "expected a JSON list of measurements as --json writes it";
    let text = std::fs::read(path).map_err(|error| told(format!("{expected}, got: {error}")))?;
    let list: Vec<Earlier> =
        serde_json::from_slice(&text).map_err(|error| told(format!("{expected}, got: {error}")))?;
    if list.is_empty() {
        return Err(told(format!("{expected}, got an empty list")));
    }
    match list.iter().find(|e| !(e.median_ns > 0.0 && e.min_ns > 0.0)) {
        Some(e) => Err(told(format!("expected times above 0, got {} and {}", e.median_ns, e.min_ns))),
        None => Ok(list),
    }
}

/// Compares what both runs have. A change counts where median and least time moved the same way by more than the noise:
/// a neighbour on the machine moves the one, seldom both.
pub(crate) fn compare(earlier: &[Earlier], records: &[Record]) -> Vec<Change> {
    let same = |e: &Earlier, r: &Record| {
        (e.shape.as_str(), e.layout.as_str(), e.dtype.as_str()) == r.problem()
            && e.pass == r.pass
            && e.variant == r.variant
            && e.implementation == r.implementation
            && e.threads == r.threads
    };
    let pairs = records
        .iter()
        .enumerate()
        .filter_map(|(index, r)| Some((index, r, earlier.iter().find(|e| same(e, r))?)));
    pairs
        .map(|(index, record, earlier)| {
            let (ratio, least) = (record.median_ns / earlier.median_ns, record.min_ns / earlier.min_ns);
            let noise = LEAST.max(SPREADS * record.spread.hypot(earlier.spread));
            let moved = (ratio > 1.0 + noise && least > 1.0 + noise)
                || (ratio < 1.0 / (1.0 + noise) && least < 1.0 / (1.0 + noise));
            Change { index, ratio, noise, moved }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::{json, tests::record};
    use super::*;

    #[test]
    fn what_moved_beyond_the_noise_is_marked() {
        let before = [record("dispatch", 1, "step", 100.0), record("graph", 1, "step", 100.0)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("before.json");
        std::fs::write(&path, json(&before)).unwrap();
        let earlier = load(&path).unwrap();
        let marks = |median: f64, change: &dyn Fn(&mut Record)| {
            let mut now = record("dispatch", 1, "step", median);
            change(&mut now);
            compare(&earlier, &[record("other", 1, "step", 1.0), now])
                .iter()
                .map(Change::mark)
                .collect::<Vec<_>>()
        };
        assert_eq!(marks(104.0, &|_| ()), [None]);
        assert_eq!(marks(112.0, &|_| ()), [Some("1.12x slower".into())]);
        assert_eq!(marks(50.0, &|_| ()), [Some("2.00x faster".into())]);
        assert_eq!(marks(112.0, &|r| r.spread = 0.1), [None], "within three spreads");
        assert_eq!(marks(112.0, &|r| r.min_ns = 98.0), [None], "the least time stayed");
        assert_eq!(marks(112.0, &|r| r.threads = 2), [], "another number of threads is another measurement");
        assert_eq!(marks(112.0, &|r| r.variant = "hard:dy_nan".into()), [], "so is other data");
        assert_eq!(compare(&earlier, &[record("dispatch", 1, "step", 112.0)])[0].index, 0);
        // A file from before there were variants.
        let old = std::fs::read_to_string(&path).unwrap().replace("\"variant\":\"plain\",", "");
        assert!(!old.contains("variant"));
        std::fs::write(&path, old).unwrap();
        assert_eq!(compare(&load(&path).unwrap(), &[record("dispatch", 1, "step", 112.0)]).len(), 1);
    }

    #[test]
    fn what_is_no_earlier_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = folder.path().join("x.json");
            std::fs::write(&path, text).unwrap();
            load(&path).unwrap_err()
        };
        let gone = load(&folder.path().join("gone.json")).unwrap_err();
        assert!(gone.contains("gone.json: expected a JSON list") && gone.contains("No such file"), "{gone}");
        for (text, says) in [
            ("{}", "invalid type: map"),
            ("[{\"shape\": \"2x3\"}]", "missing field"),
            ("[]", "got an empty list"),
            ("no", "expected ident"),
        ] {
            let error = file(text);
            assert!(error.contains("expected a JSON list") && error.contains(says), "{text}: {error}");
        }
        let mut zero = record("dispatch", 1, "step", 100.0);
        zero.median_ns = 0.0;
        assert!(file(std::str::from_utf8(&json(&[zero])).unwrap()).contains("expected times above 0"));
    }
}

//! What was measured, and the file it goes to.

use benches::implementation::Pass;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The variant of ordinary data without activation or mask.
pub(crate) const PLAIN: &str = "plain";

/// One implementation's pass on one shape: an object of the JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub(crate) struct Record {
    /// What the list of shapes calls it.
    pub(crate) name: String,
    /// The dimensions in N,C,… order whatever the layout: `32x256x56x56`.
    pub(crate) shape: String,
    /// `nchw`, `nhwc` and so on.
    pub(crate) layout: String,
    pub(crate) dtype: String,
    pub(crate) pass: String,
    /// `plain`; `relu`, `add_relu`, `mask`; or `hard:NAME` for data of that kind.
    pub(crate) variant: String,
    #[serde(rename = "impl")]
    pub(crate) implementation: String,
    pub(crate) threads: usize,
    pub(crate) median_ns: f64,
    pub(crate) min_ns: f64,
    /// Half the distance between the quartiles, as a share of the median.
    pub(crate) spread: f64,
    pub(crate) samples: usize,
    /// The least traffic.
    pub(crate) bytes: u64,
    /// That traffic by the median.
    pub(crate) gbps: f64,
    /// The floor's on at most as many threads, in the same run.
    pub(crate) roofline_gbps: f64,
    /// Another's median as a multiple of ours: the dispatched kernels' on as many threads.
    pub(crate) over_ours: Option<f64>,
    /// The share of x, dy, y and dx that lies on huge pages. None where the system does not tell, and for those that
    /// allocate: other libraries and the textbook.
    pub(crate) huge_pages: Option<f64>,
    /// error(y) and error(dx) on centred data, and on data a thousand σ from zero; with steps of a few shapes.
    pub(crate) error_y: Option<f64>,
    pub(crate) error_dx: Option<f64>,
    pub(crate) error_y_far: Option<f64>,
    pub(crate) error_dx_far: Option<f64>,
    /// What took turns with it, in a row of hard data: `plain`, ordinary data; another type; another shape.
    pub(crate) against: Option<String>,
    /// That one's times, for as many elements.
    pub(crate) against_median_ns: Option<f64>,
    pub(crate) against_min_ns: Option<f64>,
    /// The most that the least time may be, as a multiple of that one's.
    pub(crate) bar: Option<f64>,
    /// The floor's kind of stores, a peer's version.
    pub(crate) detail: String,
    pub(crate) cpu: String,
    pub(crate) rustc: String,
    pub(crate) date: String,
}

impl Record {
    /// The share of the floor's speed, in hundredths.
    pub(crate) fn share(&self) -> f64 {
        100.0 * self.gbps / self.roofline_gbps
    }

    /// The least and the median time as multiples of those that they are measured against.
    pub(crate) fn ratios(&self) -> Option<[f64; 2]> {
        Some([self.min_ns / self.against_min_ns?, self.median_ns / self.against_median_ns?])
    }

    /// Whether the least time is over the bar.
    pub(crate) fn is_over(&self) -> bool {
        matches!((self.ratios(), self.bar), (Some([least, _]), Some(bar)) if least > bar)
    }

    /// The number of elements.
    pub(crate) fn elements(&self) -> f64 {
        self.shape.split('x').filter_map(|d| d.parse::<f64>().ok()).product()
    }

    /// The name with its threads where there are several: `rayon+dispatch ×2`.
    pub(crate) fn who(&self) -> String {
        match self.threads {
            1 => self.implementation.clone(),
            n => format!("{} ×{n}", self.implementation),
        }
    }

    /// What tells shapes and variants apart.
    pub(crate) fn problem(&self) -> (&str, &str, &str, &str) {
        (&self.shape, &self.layout, &self.dtype, &self.variant)
    }

    /// The shape for readers.
    pub(crate) fn title(&self) -> String {
        let dtype = if self.dtype == "f32" { String::new() } else { format!(" {}", self.dtype) };
        let variant = if self.variant == PLAIN { String::new() } else { format!(" {}", self.variant) };
        format!("{} {} {}{dtype}{variant}", self.name, self.layout, self.shape)
    }
}

/// Each value of `of` once, in order of appearance.
pub(crate) fn distinct<'a, K: PartialEq>(
    records: impl IntoIterator<Item = &'a Record>,
    of: impl Fn(&'a Record) -> K,
) -> Vec<K> {
    let mut found: Vec<K> = Vec::new();
    for key in records.into_iter().map(of) {
        if !found.contains(&key) {
            found.push(key);
        }
    }
    found
}

/// The record of one of [`Record::who`] on a pass.
pub(crate) fn of<'a>(records: &'a [Record], who: &'a str, pass: Pass) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |r| r.pass == pass.name() && r.who() == who)
}

/// Median, least and spread of samples; `None` where there are none.
pub(crate) fn summary(samples: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        let at = q * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        low + (high - low) * at.fract()
    };
    let least = *sorted.first()?;
    let median = quantile(0.5);
    Some((median, least, 0.5 * (quantile(0.75) - quantile(0.25)) / median))
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map_or_else(PathBuf::new, PathBuf::from)
}

/// Puts a file in the place of another in one move: a reader sees the old one or the new one, whole.
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<(), String> {
    let part = path.with_extension("part");
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written =
        folder.and_then(|()| std::fs::write(&part, text)).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&part);
        format!("cannot write {}: {error}", path.display())
    })
}

/// The list of objects, one a line: a difference of two files is one of measurements.
pub(crate) fn json(records: &[Record]) -> Vec<u8> {
    let lines: Vec<String> = records.iter().filter_map(|record| serde_json::to_string(record).ok()).collect();
    format!("[\n{}\n]\n", lines.join(",\n")).into_bytes()
}

/// The list of objects in a file.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, String> {
    let told = |got: String| {
        format!("{}: expected a JSON list of measurements as --json writes it, got: {got}", path.display())
    };
    let text = std::fs::read(path).map_err(|error| told(error.to_string()))?;
    let mut list: Vec<Record> = serde_json::from_slice(&text).map_err(|error| told(error.to_string()))?;
    if list.is_empty() {
        return Err(told("an empty list".into()));
    }
    if list.iter().any(|r| !(r.median_ns > 0.0 && r.min_ns > 0.0)) {
        return Err(told("a time that is not above 0".into()));
    }
    // Files of old have no variants.
    list.iter_mut().filter(|r| r.variant.is_empty()).for_each(|r| r.variant = PLAIN.into());
    Ok(list)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record with a median and plausible other values.
    pub(crate) fn record(implementation: &str, threads: usize, pass: &str, median_ns: f64) -> Record {
        let bytes = 2 * 4 * 64 * 256;
        let [name, shape, layout, dtype, variant] =
            ["mlp_64x256", "64x256", "nc", "f32", PLAIN].map(String::from);
        Record {
            pass: pass.into(),
            implementation: implementation.into(),
            threads,
            median_ns,
            min_ns: 0.98 * median_ns,
            spread: 0.01,
            samples: 9,
            bytes,
            gbps: bytes as f64 / median_ns,
            roofline_gbps: 50.0,
            ..Record { name, shape, layout, dtype, variant, ..Record::default() }
        }
    }

    /// A pass on hard data that takes so many times as long as on ordinary data.
    pub(crate) fn hard(kind: &str, pass: &str, ratio: f64, bar: Option<f64>) -> Record {
        let plain = record("dispatch", 1, pass, 1e5);
        Record {
            variant: format!("hard:{kind}"),
            against: Some(PLAIN.into()),
            against_median_ns: Some(plain.median_ns),
            against_min_ns: Some(plain.min_ns),
            bar,
            ..record("dispatch", 1, pass, ratio * 1e5)
        }
    }

    #[test]
    fn multiples_are_those_of_the_same_statistic() {
        let mut slow = hard("dy_nan", "step", 5.0, Some(4.0));
        assert!(slow.ratios().unwrap().iter().all(|ratio| (ratio - 5.0).abs() < 1e-9) && slow.is_over());
        slow.min_ns = 2.0 * slow.against_min_ns.unwrap();
        assert!(!slow.is_over(), "the least time counts");
        assert_eq!(slow.title(), "mlp_64x256 nc 64x256 hard:dy_nan");
        let plain = record("dispatch", 1, "step", 1.0);
        assert_eq!((plain.ratios(), plain.is_over()), (None, false));
    }

    #[test]
    fn samples_are_summed_up() {
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[3.0]), Some((3.0, 3.0, 0.0)));
        assert_eq!(summary(&[5.0, 1.0, 2.0, 4.0, 3.0]), Some((3.0, 1.0, 1.0 / 3.0)));
        assert_eq!(summary(&[1.0, 2.0]).unwrap().0, 1.5);
    }

    #[test]
    fn records_survive_their_file_and_what_is_none_is_refused() {
        let records = [record("dispatch", 1, "forward", 12.5), hard("dy_nan", "step", 5.0, Some(4.0))];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        replace(&path, b"[]").unwrap();
        assert!(read(&path).unwrap_err().contains("got: an empty list"));
        replace(&path, &json(&records)).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing else is left there"
        );
        let old = std::fs::read_to_string(&path).unwrap().replace("\"variant\":\"plain\",", "");
        replace(&path, old.as_bytes()).unwrap();
        assert_eq!(read(&path).unwrap(), records, "a file from before there were variants");
        for (text, says) in [("{}", "invalid type: map"), ("[{}]", "not above 0"), ("no", "expected ident")] {
            replace(&path, text.as_bytes()).unwrap();
            let error = read(&path).unwrap_err();
            assert!(
                error.contains("b.json: expected a JSON list") && error.contains(says),
                "{text}: {error}"
            );
        }
        assert!(replace(folder.path(), b"").unwrap_err().starts_with("cannot write "));
    }
}

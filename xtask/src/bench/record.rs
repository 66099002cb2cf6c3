//! What was measured, and the files it goes to.

use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The variant of ordinary data without activation or mask.
pub(crate) const PLAIN: &str = "plain";

/// One implementation's pass on one shape: an object of the JSON, a line of the CSV.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct Record {
    /// What the list of shapes calls it.
    pub(crate) name: String,
    /// The dimensions in N,C,… order whatever the layout: `32x256x56x56`.
    pub(crate) shape: String,
    /// `nchw`, `nhwc` and so on.
    pub(crate) layout: String,
    pub(crate) dtype: String,
    pub(crate) pass: String,
    /// `plain`, or `hard:NAME` for data of that kind.
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
    /// The share of the floor's speed.
    pub(crate) fn fraction(&self) -> f64 {
        self.gbps / self.roofline_gbps
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

    /// What tells shapes apart.
    pub(crate) fn problem(&self) -> (&str, &str, &str) {
        (&self.shape, &self.layout, &self.dtype)
    }

    /// The shape for readers.
    pub(crate) fn title(&self) -> String {
        let dtype = if self.dtype == "f32" { String::new() } else { format!(" {}", self.dtype) };
        let variant = if self.variant == PLAIN { String::new() } else { format!(" {}", self.variant) };
        format!("{} {} {}{dtype}{variant}", self.name, self.layout, self.shape)
    }
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

/// Whether a file can be written there, without writing it.
pub(crate) fn probe(path: &Path) -> Result<(), String> {
    let part = part(path)?;
    std::fs::File::create(&part)
        .and_then(|_| std::fs::remove_file(&part))
        .map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// A file of this program's own beside another, whose folder is made where there is none.
fn part(path: &Path) -> Result<PathBuf, String> {
    if path.is_dir() {
        return Err(format!("expected a file's name, got the folder {}", path.display()));
    }
    let name = path.file_name().ok_or_else(|| format!("expected a file's name, got {}", path.display()))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot(path, &error))?;
    }
    Ok(path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id())))
}

/// Puts a file in the place of another in one move: a reader sees the old one or the new one, whole.
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<(), String> {
    let part = part(path)?;
    let written = std::fs::File::create(&part)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&part);
        cannot(path, &error)
    })
}

/// The list of objects.
pub(crate) fn json(records: &[Record]) -> Vec<u8> {
    let mut text = b"[".to_vec();
    for (i, record) in records.iter().enumerate() {
        // One a line: a difference of two files is one of measurements.
        text.extend_from_slice(if i == 0 { b"\n" } else { b",\n" });
        text.extend(serde_json::to_vec(record).unwrap_or_default());
    }
    text.extend_from_slice(b"\n]\n");
    text
}

/// The same as lines.
pub(crate) fn csv(records: &[Record]) -> Result<Vec<u8>, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.serialize(record).map_err(|error| error.to_string())?;
    }
    writer.into_inner().map_err(|error| error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record with a median and plausible other values.
    pub(crate) fn record(implementation: &str, threads: usize, pass: &str, median_ns: f64) -> Record {
        let bytes = 2 * 4 * 64 * 256;
        Record {
            name: "mlp_64x256".into(),
            shape: "64x256".into(),
            layout: "nc".into(),
            dtype: "f32".into(),
            pass: pass.into(),
            variant: PLAIN.into(),
            implementation: implementation.into(),
            threads,
            median_ns,
            min_ns: 0.98 * median_ns,
            spread: 0.01,
            samples: 9,
            bytes,
            gbps: bytes as f64 / median_ns,
            roofline_gbps: 50.0,
            cpu: "a cpu".into(),
            rustc: "rustc 1".into(),
            date: "2026-01-01".into(),
            ..Record::default()
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
        let near = |record: &Record| record.ratios().unwrap().map(|ratio| (1e9 * ratio).round() / 1e9);
        assert_eq!((near(&slow), slow.is_over()), ([5.0, 5.0], true));
        slow.min_ns = 2.0 * slow.against_min_ns.unwrap();
        assert_eq!((near(&slow), slow.is_over()), ([2.0, 5.0], false), "the least time counts");
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
    fn records_survive_their_files() {
        let records = [record("dispatch", 1, "forward", 12.5), hard("dy_nan", "step", 5.0, Some(4.0))];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        replace(&path, b"[]").unwrap();
        replace(&path, &json(&records)).unwrap();
        let read: Vec<Record> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, records);
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing else is left in the folder");
        let text = String::from_utf8(csv(&records).unwrap()).unwrap();
        assert!(
            text.starts_with("name,shape,layout,dtype,pass,variant,impl,threads,median_ns,min_ns,"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3);
        assert!(replace(folder.path(), b"").unwrap_err().starts_with("expected a file's name"));
        assert!(probe(&path.join("below/a/file")).unwrap_err().starts_with("cannot write "));
    }
}

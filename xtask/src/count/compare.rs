//! Counts of instructions, committed and measured.

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Instructions of a step, by case, pass and level.
pub(super) type Counts = BTreeMap<String, u64>;

/// What the committed file holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) counts: Counts,
    /// The compiler whose code was counted, as `rustc -V` names it.
    pub(super) rustc: String,
}

/// How far a count may be from the committed one, in hundredths of it.
const APART: u128 = 5;

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string());
        let file = text.and_then(|text| serde_json::from_str::<Self>(&text).map_err(|e| e.to_string()));
        let file = file.and_then(|file| match file.counts.values().any(|&count| count == 0) {
            true => Err("expected counts from 1".into()),
            false => Ok(file),
        });
        file.map_err(|what| format!("{}: {what}; --write writes it anew", path.display()))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string());
        text.and_then(|text| std::fs::write(path, text + "\n").map_err(|e| e.to_string()))
            .map_err(|what| format!("{}: {what}", path.display()))
    }

    /// Only the counts of these levels.
    pub(super) fn only(mut self, levels: impl Iterator<Item = &'static str>) -> Counts {
        let levels: Vec<&str> = levels.collect();
        self.counts.retain(|key, _| key.rsplit(' ').next().is_some_and(|level| levels.contains(&level)));
        self.counts
    }
}

/// What there is to say, and how much of it is wrong.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) text: String,
    pub(super) faults: usize,
}

/// Every count beside the committed one.
pub(super) fn compare(committed: &Counts, measured: &Counts) -> Compared {
    let keys: BTreeSet<&String> = committed.keys().chain(measured.keys()).collect();
    let (mut table, mut faults, mut shrunk) = (Table::new(), 0, 0);
    table.load_style(ASCII_MARKDOWN).set_header(["step", "instructions before", "now", "change, %", ""]);
    for key in &keys {
        let shown = |count: Option<&u64>| count.map_or("–".into(), ToString::to_string);
        let (was, is) = (committed.get(*key), measured.get(*key));
        let (change, state) = match was.zip(is) {
            None => (String::new(), "FAIL: expected a count here and in the file"),
            Some((&was, &is)) => {
                let (before, now) = (u128::from(was), 100 * u128::from(is));
                let state = match now {
                    _ if now > (100 + APART) * before => "FAIL: more than 5 % more",
                    _ if now < (100 - APART) * before => "fewer",
                    _ => "",
                };
                (format!("{:+.1}", 100.0 * (is as f64 / was as f64 - 1.0)), state)
            }
        };
        faults += usize::from(state.starts_with("FAIL"));
        shrunk += usize::from(state == "fewer");
        table.add_row([(*key).clone(), shown(was), shown(is), change, state.into()]);
    }
    let mut text = format!("{table}\n");
    let _ = writeln!(text, "\ncount: {} steps, {faults} faults", keys.len());
    if shrunk > 0 {
        let _ =
            writeln!(text, "{shrunk} steps take over 5 % fewer instructions: hold them to it with --write");
    }
    Compared { text, faults }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Counts {
        list.iter().map(|(key, count)| (key.to_string(), *count)).collect()
    }

    #[test]
    fn growth_fails_and_shrinking_is_told() {
        let committed = counts(&[("a", 1000), ("b", 1000), ("c", 1000)]);
        let same = compare(&committed, &counts(&[("a", 1050), ("b", 950), ("c", 1000)]));
        assert_eq!(same.faults, 0, "{}", same.text);
        assert!(!same.text.contains("--write"), "{}", same.text);
        let other = compare(&committed, &counts(&[("a", 1051), ("b", 949), ("c", 1000)]));
        assert_eq!(other.faults, 1, "{}", other.text);
        let row = other.text.lines().find(|line| line.starts_with("| a ")).unwrap();
        assert!(row.contains("| 1051 | +5.1      | FAIL: more than 5 % more"), "{row}");
        assert!(other.text.contains("1 steps take over 5 % fewer"), "{}", other.text);
    }

    #[test]
    fn counts_without_their_like_fail() {
        let compared = compare(&counts(&[("a", 7), ("gone", 7)]), &counts(&[("a", 7), ("new", 7)]));
        assert_eq!(compared.faults, 2, "{}", compared.text);
        assert!(
            compared.text.contains("| gone | 7                   | –   |           | FAIL"),
            "{}",
            compared.text
        );
    }

    #[test]
    fn files_come_back_and_bad_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.json");
        let file = File { rustc: "rustc 1".into(), counts: counts(&[("x f avx2", 3), ("x f baseline", 4)]) };
        file.write(&path).unwrap();
        assert_eq!(File::read(&path).unwrap(), file);
        assert_eq!(file.only(["avx2"].into_iter()), counts(&[("x f avx2", 3)]));
        for text in ["", "{\"rustc\": \"1\"}", "{\"rustc\": \"1\", \"counts\": {\"a\": 0}}"] {
            std::fs::write(&path, text).unwrap();
            assert!(File::read(&path).unwrap_err().contains("--write writes it anew"), "{text:?}");
        }
    }
}

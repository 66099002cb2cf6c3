//! Counts of instructions, committed and measured.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Instructions of a step, by case, pass and level.
pub(super) type Counts = BTreeMap<String, u64>;

/// What the committed file holds.
#[derive(Debug, PartialEq)]
pub(super) struct File {
    /// The compiler whose code was counted, as `rustc -V` names it.
    pub(super) rustc: String,
    pub(super) counts: Counts,
}

/// How far a count may be from the committed one, in hundredths of it.
const APART: u128 = 5;

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&text).map_err(|what| format!("{}: {what}; --write writes it anew", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| format!("expected JSON, got: {e}"))?;
        let rustc = value["rustc"].as_str().ok_or("expected a string \"rustc\"")?.to_string();
        let object = value["counts"].as_object().ok_or("expected an object \"counts\"")?;
        let number = |(key, value): (&String, &Value)| match value.as_u64() {
            Some(count) if count > 0 => Ok((key.clone(), count)),
            _ => Err(format!("{key}: expected a whole number from 1, got {value}")),
        };
        Ok(Self { rustc, counts: object.iter().map(number).collect::<Result<_, _>>()? })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let counts: Map<String, Value> = self.counts.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let text = format!("{:#}\n", json!({ "rustc": self.rustc, "counts": counts }));
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Only the counts of these levels.
    pub(super) fn only(mut self, levels: impl Iterator<Item = &'static str>) -> Self {
        let levels: Vec<&str> = levels.collect();
        self.counts.retain(|key, _| key.rsplit(' ').next().is_some_and(|level| levels.contains(&level)));
        self
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
    let width = keys.iter().map(|key| key.len()).max().unwrap_or(0);
    let (mut text, mut faults, mut shrunk) = (String::new(), 0, 0);
    for key in &keys {
        let (was, is) = (committed.get(*key), measured.get(*key));
        let shown = |count: Option<&u64>| count.map_or("–".into(), ToString::to_string);
        let _ = write!(text, "{key:width$}  {:>10}  {:>10}", shown(was), shown(is));
        let (Some(&was), Some(&is)) = (was, is) else {
            faults += 1;
            text += "  FAIL: expected a count here and in the file\n";
            continue;
        };
        let _ = write!(text, "  {:+6.1} %", 100.0 * (is as f64 / was as f64 - 1.0));
        let (was, is) = (u128::from(was), 100 * u128::from(is));
        if is > (100 + APART) * was {
            faults += 1;
            text += "  FAIL: more than 5 % more";
        } else if is < (100 - APART) * was {
            shrunk += 1;
            text += "  fewer";
        }
        text.push('\n');
    }
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
        assert!(
            other.text.contains("a        1000        1051    +5.1 %  FAIL: more than 5 % more\n"),
            "{}",
            other.text
        );
        assert!(other.text.contains("1 steps take over 5 % fewer"), "{}", other.text);
    }

    #[test]
    fn counts_without_their_like_fail() {
        let compared = compare(&counts(&[("a", 7), ("gone", 7)]), &counts(&[("a", 7), ("new", 7)]));
        assert_eq!(compared.faults, 2, "{}", compared.text);
        assert!(compared.text.contains("gone           7           –  FAIL"), "{}", compared.text);
    }

    #[test]
    fn files_come_back_and_bad_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.json");
        let file = File { rustc: "rustc 1".into(), counts: counts(&[("x f avx2", 3), ("x f baseline", 4)]) };
        file.write(&path).unwrap();
        assert_eq!(File::read(&path).unwrap(), file);
        assert_eq!(file.only(["avx2"].into_iter()).counts, counts(&[("x f avx2", 3)]));
        for (text, says) in [
            ("", "expected JSON"),
            ("{}", "expected a string \"rustc\""),
            ("{\"rustc\": \"1\"}", "expected an object \"counts\""),
            ("{\"rustc\": \"1\", \"counts\": {\"a\": 0}}", "a: expected a whole number from 1, got 0"),
            ("{\"rustc\": \"1\", \"counts\": {\"a\": -1.5}}", "got -1.5"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = File::read(&path).unwrap_err();
            assert!(error.contains(says) && error.contains("--write"), "{text:?}: {error}");
        }
        assert!(File::read(&folder.path().join("none")).unwrap_err().contains("none"));
    }
}

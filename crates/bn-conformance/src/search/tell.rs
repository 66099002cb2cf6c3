//! What a search has found, as lines and as case files.

use super::{Find, Found};
use crate::files;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// A line on how far it is after a time.
#[must_use]
pub fn news(found: &Found, elapsed: Duration) -> String {
    let worst = found.finds.iter().max_by(|a, b| a.share().total_cmp(&b.share()));
    let worst = worst.map_or("nothing yet".into(), |f| {
        format!("{} {} {:.3} of {}", f.case.dtype(), f.row.tensor, f.row.error, f.row.limit)
    });
    let seconds = elapsed.as_secs();
    format!("{seconds} s: {} climbs, {} steps, worst {worst}", found.climbs, found.steps)
}

/// A line per type and tensor, and the inputs of what is broken.
///
/// # Errors
/// Where `out` cannot be written.
pub fn report(found: &Found, seed: u64, out: &mut impl Write) -> io::Result<()> {
    for find in &found.finds {
        let Find { row, case, .. } = find;
        let state = if row.ok() { "ok" } else { "FAIL" };
        let (dtype, tensor) = (case.dtype(), row.tensor);
        writeln!(
            out,
            "{dtype:4} {tensor:12} error={:<8.5} limit={} {state:4} {}",
            row.error,
            row.limit,
            case.name()
        )?;
    }
    for find in found.broken() {
        writeln!(out, "\n{}", find.case.listing())?;
    }
    let broken = found.broken().count();
    let Found { climbs, steps, .. } = found;
    writeln!(out, "\nsearch: seed {seed}, {climbs} climbs, {steps} steps, {broken} limits broken")
}

/// Writes the worst case of each tensor and type to a folder, as case files.
///
/// # Errors
/// The file that cannot be written, and why.
pub fn dump(found: &Found, seed: u64, folder: &Path) -> Result<(), String> {
    let wrong = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    std::fs::create_dir_all(folder).map_err(|e| wrong(folder, &e))?;
    for Find { row, case, number } in &found.finds {
        let path = folder.join(format!("{}.safetensors", case.name()));
        let source =
            format!("cargo xtask search --seed {seed}: climb {number}, {} {:.4}", row.tensor, row.error);
        let bytes = files::to_bytes(case, &source).map_err(|e| wrong(&path, &e))?;
        std::fs::write(&path, bytes).map_err(|e| wrong(&path, &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::load;
    use crate::search::{Layer, Settings, TYPES, search};
    use bn_scalar::Scalar;

    fn a_short_one() -> Found {
        let settings = Settings { seed: 3, types: TYPES.to_vec(), tensors: Vec::new(), threads: 2 };
        search(&Layer(Scalar), &settings, &|number| number >= 8, &|_| ())
    }

    #[test]
    fn finds_are_reported_and_come_back_from_their_files() {
        let found = a_short_one();
        let mut text = Vec::new();
        report(&found, 3, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("seed 3, 8 climbs,"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        dump(&found, 3, folder.path()).unwrap();
        for Find { case, .. } in &found.finds {
            let path = folder.path().join(format!("{}.safetensors", case.name()));
            let loaded = load(&path).unwrap();
            assert!(loaded.unsupported.is_empty());
            assert_eq!(loaded.case.listing(), case.listing(), "{text}");
        }
    }
}

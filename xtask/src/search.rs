//! `cargo xtask search`: tries to break the limits.

use crate::out::{self, Done};
use bn_conformance::files;
use bn_conformance::search::{Find, Found, Layer, Settings, TYPES, search};
use bn_scalar::Scalar;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Hill climbing over data, parameters and settings for the largest error of each tensor and type, as a share of its limit.
///
/// It runs the plain kernels, whose bits all backends give. A climb is the same at every run with the same seed and types; the
/// time says how many there are. Exit code 1: a limit is broken.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to search.
    #[arg(long, value_name = "M", default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// Where the random numbers begin.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Search this element type alone.
    #[arg(long = "type", value_name = "T", value_parser = clap::builder::PossibleValuesParser::new(TYPES))]
    dtype: Option<String>,
    /// Write the worst case of each tensor and type to this folder, as case files.
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let wanted = "expected a number of minutes above 0 and up to 10000";
    text.parse().ok().filter(|m| *m > 0.0 && *m <= 1e4).ok_or_else(|| wanted.into())
}

/// How often the search says how far it is.
const NEWS: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args) -> Done {
    let wanted = |t: &&str| args.dtype.as_ref().is_none_or(|only| only == t);
    let settings = Settings {
        seed: args.seed,
        types: TYPES.into_iter().filter(wanted).collect(),
        tensors: Vec::new(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (start, length) = (Instant::now(), Duration::from_secs_f64(60.0 * args.minutes));
    let told = std::sync::Mutex::new(start);
    let progress = |found: &Found| {
        if let Ok(mut told) = told.try_lock()
            && told.elapsed() >= NEWS
        {
            *told = Instant::now();
            out::complain(&news(found, start.elapsed()));
        }
    };
    let found = search(&Layer(Scalar), &settings, &|_| start.elapsed() >= length, &progress);
    let mut stdout = io::stdout().lock();
    report(&found, args.seed, &mut stdout)?;
    if let Some(folder) = &args.dump
        && let Err(error) = dump(&found, args.seed, folder)
    {
        return out::failure(&error);
    }
    Ok(if found.broken().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn news(found: &Found, elapsed: Duration) -> String {
    let worst = found.finds.iter().max_by(|a, b| a.share().total_cmp(&b.share()));
    let worst = worst.map_or("nothing yet".into(), |f| {
        format!("{} {} {:.3} of {}", f.case.dtype(), f.row.tensor, f.row.error, f.row.limit)
    });
    let seconds = elapsed.as_secs();
    format!("{seconds} s: {} climbs, {} steps, worst {worst}", found.climbs, found.steps)
}

/// A line per type and tensor, and the inputs of what is broken.
fn report(found: &Found, seed: u64, out: &mut impl Write) -> io::Result<()> {
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

fn dump(found: &Found, seed: u64, folder: &Path) -> Result<(), String> {
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
    use bn_conformance::files::load;

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

    #[test]
    fn minutes_are_a_sound_number() {
        assert_eq!(minutes("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "1e9", "x"] {
            assert!(minutes(text).is_err(), "{text}");
        }
    }
}

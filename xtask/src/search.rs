//! `cargo xtask search`: tries to break the limits.

use crate::out::{self, Done};
use bn_conformance::search::{Found, Layer, Settings, TYPES, dump, news, report, search};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
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
    let settings = Settings {
        seed: args.seed,
        types: TYPES.into_iter().filter(|t| args.dtype.as_ref().is_none_or(|only| only == t)).collect(),
        tensors: Vec::new(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (start, length) = (Instant::now(), Duration::from_secs_f64(60.0 * args.minutes));
    let told = Mutex::new(start);
    let progress = |found: &Found| {
        if let Ok(mut told) = told.try_lock()
            && told.elapsed() >= NEWS
        {
            *told = Instant::now();
            out::complain(&news(found, start.elapsed()));
        }
    };
    let found = search(&Layer(xtask::plain()), &settings, &|_| start.elapsed() >= length, &progress);
    report(&found, args.seed, &mut io::stdout().lock())?;
    match args.dump.as_ref().map(|folder| dump(&found, args.seed, folder)) {
        Some(Err(error)) => out::failure(&error),
        _ => Ok(out::code(found.broken().next().is_none())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_a_sound_number() {
        assert_eq!(minutes("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "1e9", "x"] {
            assert!(minutes(text).is_err(), "{text}");
        }
    }
}

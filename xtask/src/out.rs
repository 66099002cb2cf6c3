//! How a verb ends, how far it is, and the workspace it works on.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How a verb ended; an error is one of writing its output.
pub(crate) type Done = io::Result<ExitCode>;

/// What a program killed by SIGPIPE reports: its reader has left, and nobody knows the result.
const READER_LEFT: u8 = 141;

/// What a verb's output begins with that could not do its work here and says why: no failure, but no success either.
pub(crate) const SKIPPED: &str = "skipped: ";

/// Turns an error of writing into an exit code.
pub(crate) fn exit(done: Done) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(READER_LEFT),
        Err(error) => {
            complain(&format!("cannot write the output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a verb that found nothing wrong, or something.
pub(crate) fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line on stderr; where even that cannot be written, nothing.
pub(crate) fn complain(line: &str) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{line}\n"));
}

/// Ends a verb that could not do its work, and says why.
pub(crate) fn failure(error: &str) -> Done {
    complain(error);
    Ok(ExitCode::FAILURE)
}

/// How often a log that is no terminal hears how far the work is.
const NEWS: Duration = Duration::from_secs(10);

/// Runs `work`, and tells how many cases of how many are done: in a bar, or now and then in a line.
pub(crate) fn with_bar<R>(work: impl FnOnce(&(dyn Fn(usize, usize) + Sync)) -> R) -> R {
    if !io::stderr().is_terminal() {
        let told = Mutex::new(Instant::now());
        return work(&|done, total| {
            if let Ok(mut told) = told.try_lock()
                && told.elapsed() >= NEWS
            {
                *told = Instant::now();
                complain(&format!("{done} of {total} cases"));
            }
        });
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} cases, {eta} left") {
        bar.set_style(style);
    }
    let result = work(&|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    result
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

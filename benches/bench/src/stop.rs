//! Ctrl-C: the measurement under way is finished, then what there is is reported. A second one ends at once.

use std::sync::atomic::{AtomicUsize, Ordering};

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

/// What a program that Ctrl-C ended reports.
pub(crate) const CODE: u8 = 130;

/// Listens from now on.
pub(crate) fn listen() -> Result<(), String> {
    let heard = || {
        if REQUESTS.fetch_add(1, Ordering::Relaxed) > 0 {
            std::process::exit(i32::from(CODE));
        }
    };
    ctrlc::set_handler(heard).map_err(|error| format!("cannot listen to Ctrl-C: {error}"))
}

/// Whether it was asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTS.load(Ordering::Relaxed) > 0
}

//! The progress bar. It draws on stderr, and only where that is a terminal.

use super::Result;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) fn bar(len: usize, unit: &str) -> Result<ProgressBar> {
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {unit}, {{elapsed}}, {{eta}} left");
    Ok(ProgressBar::new(len as u64).with_style(ProgressStyle::with_template(&template)?))
}

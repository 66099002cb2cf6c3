//! The progress bar. It draws on stderr, and only where that is a terminal.

use crate::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `len` units.
///
/// # Errors
/// Where the unit is no text for a template.
pub fn bar(len: usize, unit: &str) -> Result<ProgressBar> {
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {unit}, {{elapsed}}, {{eta}} left");
    Ok(ProgressBar::new(len as u64).with_style(ProgressStyle::with_template(&template)?))
}

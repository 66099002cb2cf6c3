//! The report: a page that needs no other file.

mod axis;
mod figure;
mod page;
mod plots;
mod style;

use super::baseline::Change;
use super::machine::Machine;
use super::record::Record;

/// Everything that a run has to say.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) records: Vec<Record>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
    /// Against an earlier run, where one was named.
    pub(crate) changes: Option<Vec<Change>>,
    pub(crate) interrupted: bool,
    pub(crate) quick: bool,
}

impl Report {
    /// The records shape by shape.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[Record]> {
        self.records.chunk_by(|a, b| a.problem() == b.problem())
    }

    /// The notes as lines.
    pub(crate) fn notes_text(&self) -> String {
        if self.notes.is_empty() {
            String::new()
        } else {
            format!("\nnotes\n  {}\n", self.notes.join("\n  "))
        }
    }

    /// The page.
    pub(crate) fn html(&self) -> String {
        page::html(self)
    }

    /// The picture that is kept beside a record.
    pub(crate) fn overview(&self) -> String {
        plots::overview(&self.records).unwrap_or_default()
    }
}

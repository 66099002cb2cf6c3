//! The report: a page that needs no other file.

mod axis;
mod figure;
mod hard;
mod page;
mod plots;
mod style;
pub(crate) mod tuned;

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
    /// The records of everyone on ordinary data.
    pub(crate) fn plain(&self) -> &[Record] {
        self.halves().0
    }

    /// The records of hard data's rows, which come last.
    pub(crate) fn hard(&self) -> &[Record] {
        self.halves().1
    }

    fn halves(&self) -> (&[Record], &[Record]) {
        self.records.split_at(self.records.partition_point(|record| record.against.is_none()))
    }

    /// The ordinary records shape by shape.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[Record]> {
        self.plain().chunk_by(|a, b| a.problem() == b.problem())
    }

    /// The records of hard data row by row.
    pub(crate) fn hard_rows(&self) -> impl Iterator<Item = &[Record]> {
        self.hard().chunk_by(|a, b| (a.problem(), &a.variant) == (b.problem(), &b.variant))
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
        plots::overview(self.plain()).unwrap_or_default()
    }
}

/// Text as HTML has it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

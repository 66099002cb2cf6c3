//! How much of its sums a backward takes.

/// Which sums a backward needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    None,
    /// Σdy alone.
    Dy,
    Both,
}

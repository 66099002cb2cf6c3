//! Training or evaluation.

use std::fmt;

/// Which forward was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Mode {
    /// With the batch's statistics, which depend on x: the gradient goes through them. With the running ones where these are
    /// [frozen](crate::Frozen).
    #[default]
    Train,
    /// Evaluation: with the running statistics, or with the batch's where none are tracked.
    Eval,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Train => "training",
            Mode::Eval => "evaluation",
        })
    }
}

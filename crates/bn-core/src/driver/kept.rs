//! What a double backward keeps in a workspace.

use crate::maths::Totals;
use crate::num::Real;

/// The sums of a double backward, kept from step to step.
#[derive(Clone, Debug)]
pub(super) struct Kept<R: Real> {
    pub(super) dy: Vec<Totals<R>>,
    pub(super) v: Vec<Totals<R>>,
    pub(super) both: Vec<Totals<R>>,
    /// The means of dy, or zeros.
    pub(super) values: Vec<R>,
}

impl<R: Real> Default for Kept<R> {
    fn default() -> Self {
        Self { dy: Vec::new(), v: Vec::new(), both: Vec::new(), values: Vec::new() }
    }
}

//! What a step's blocks have in common.

use super::cut::Cut;
use super::plan::Plan;
use crate::kernel::Kernels;
use crate::num::Element;
use std::sync::atomic::AtomicBool;

/// What is the same for all blocks of a step.
pub(super) struct Pass<'p, T: Element, B> {
    pub(super) backend: &'p B,
    pub(super) kernels: &'p dyn Kernels<T>,
    pub(super) plan: &'p Plan,
    pub(super) cut: &'p Cut,
    /// Whether there were features that take longer than others: hard ones, and those far from zero.
    pub(super) odd: &'p AtomicBool,
}

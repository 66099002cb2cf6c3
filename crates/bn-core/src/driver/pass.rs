//! What a step's blocks have in common.

use super::cut::Cut;
use super::plan::Plan;
use crate::kernel::{Executor, Kernels};
use crate::num::Element;
use std::sync::atomic::AtomicBool;

/// What is the same for all blocks of a step. The executor is no type of it: the driver is compiled once for each set of kernels,
/// whoever runs them.
pub(super) struct Pass<'p, T: Element, K> {
    pub(super) set: &'p K,
    pub(super) exec: &'p dyn Executor,
    pub(super) kernels: &'p dyn Kernels<T>,
    pub(super) plan: &'p Plan,
    pub(super) cut: &'p Cut,
    /// Whether there were features that take longer than others: hard ones, and those far from zero.
    pub(super) odd: &'p AtomicBool,
}

/// Runs both closures, perhaps at once.
pub(super) fn join(exec: &dyn Executor, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    let (mut a, mut b) = (Some(a), Some(b));
    exec.join(&mut || a.take().into_iter().for_each(|a| a()), &mut || b.take().into_iter().for_each(|b| b()));
}

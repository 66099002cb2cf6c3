//! Who runs the work: kernels and an executor make a backend.

use crate::kernels::Kernels;
use std::borrow::Cow;

/// Runs two closures, perhaps at once. Nothing else: the driver decides what the closures do.
pub trait Executor: Sync {
    /// Both results. No lock or thread-local borrow may be held across it: stolen work can re-enter the layer.
    fn join<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B);

    /// How many closures can run at once; the driver prepares a scratch for a few jobs each. It changes the
    /// schedule, never a result.
    fn width(&self) -> usize;

    /// Whether work on a tensor of `len` elements is worth waking other threads for. Likewise only schedule.
    fn is_worth(&self, len: usize) -> bool;
}

/// One after the other, on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Executor for Serial {
    fn join<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        (a(), b())
    }

    fn width(&self) -> usize {
        1
    }

    fn is_worth(&self, _: usize) -> bool {
        false
    }
}

/// Kernels and the executor to run them with.
pub trait Backend: Sync {
    /// How jobs are run.
    type Exec: Executor;

    /// The name of the combination in reports, such as `scalar` or `rayon+dispatch`.
    fn name(&self) -> Cow<'static, str>;
    /// The executor.
    fn exec(&self) -> &Self::Exec;
    /// Kernels for f32 data.
    fn f32(&self) -> &dyn Kernels<f32>;
    /// Kernels for f64 data.
    fn f64(&self) -> &dyn Kernels<f64>;

    /// Runs `work`, compiled for the instructions of the kernels where it is inlined: the loops over features, which
    /// are the driver's. They are elementwise, so no bit depends on it. A backend around another hands it on.
    #[inline(always)]
    fn vectorize<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

//! Runs any kernels in parallel, on the rayon pool of the caller: the global one, or the one whose
//! `ThreadPool::install` the call is made in.
//!
//! It only runs what the driver cuts: blocks of features, or segments and rows where features are few. The cuts
//! that matter for the numbers follow from the shape, so the bits are those of a serial run.

use bn_core::{Backend, Executor, Kernels};
use std::borrow::Cow;

/// Fewer elements than this stay on the caller's thread. On two cores of a virtual machine waking the second costs
/// about 0.1 ms: the forward of (1024,512) was 0.92 times as fast on two threads, of (32,256,14,14) 1.6 times.
const WORTH_LEN: usize = 1 << 20;

/// `K`'s kernels, run by rayon.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rayon<K>(pub K);

/// The executor: [`rayon::join`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Pool;

impl Executor for Pool {
    fn join<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        rayon::join(a, b)
    }

    fn width(&self) -> usize {
        rayon::current_num_threads()
    }

    fn is_worth(&self, len: usize) -> bool {
        len >= WORTH_LEN
    }
}

impl<K: Backend> Backend for Rayon<K> {
    type Exec = Pool;

    fn name(&self) -> Cow<'static, str> {
        format!("rayon+{}", self.0.name()).into()
    }
    fn exec(&self) -> &Pool {
        &Pool
    }
    fn f32(&self) -> &dyn Kernels<f32> {
        self.0.f32()
    }
    fn f64(&self) -> &dyn Kernels<f64> {
        self.0.f64()
    }
    #[inline(always)]
    fn vectorize<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.vectorize(work)
    }
}

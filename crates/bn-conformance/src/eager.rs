//! An executor that shares out whatever there is, so that small tensors are cut as large ones are.

use bn_core::{Backend, Executor, Kernels};
use std::borrow::Cow;

/// `B`, for whose executor every tensor is worth other threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Eager<B>(pub B);

impl<B: Backend> Executor for Eager<B> {
    fn join<X: Send, Y: Send>(&self, a: impl FnOnce() -> X + Send, b: impl FnOnce() -> Y + Send) -> (X, Y) {
        self.0.exec().join(a, b)
    }
    fn width(&self) -> usize {
        self.0.exec().width()
    }
    fn is_worth(&self, _: usize) -> bool {
        true
    }
}

impl<B: Backend> Backend for Eager<B> {
    type Exec = Self;

    fn name(&self) -> Cow<'static, str> {
        self.0.name()
    }
    fn exec(&self) -> &Self {
        self
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

//! An executor that shares out whatever there is, so that small tensors are cut as large ones are.

use bn_core::kernel::Share;
use bn_core::{Backend, Executor};
use std::borrow::Cow;

/// `B`, for whose executor every tensor is worth other threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Eager<B>(pub B);

impl<B: Backend> Executor for Eager<B> {
    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
        self.0.exec().join(a, b);
    }
    fn width(&self) -> usize {
        self.0.exec().width()
    }
    fn is_inside(&self) -> bool {
        self.0.exec().is_inside()
    }
    fn share(&self, wanted: Share) -> Share {
        Share { awake: 0, asleep: 0, ..wanted }
    }
}

impl<B: Backend> Backend for Eager<B> {
    type Kernels = B::Kernels;
    type Exec = Self;

    fn name(&self) -> Cow<'static, str> {
        self.0.name()
    }
    fn kernels(&self) -> &B::Kernels {
        self.0.kernels()
    }
    fn exec(&self) -> &Self {
        self
    }
}

//! The dispatched kernels held to one instruction set, so that every level a machine has is checked on it.

use bn_conformance::eager::Eager;
use bn_core::{Backend, Kernels, Serial};
use bn_dispatch::{Dispatch, Level};
use bn_rayon::Rayon;
use std::borrow::Cow;

/// A backend whose kernels are of one level.
pub(super) trait Fixed {
    /// The level.
    const LEVEL: Level;
}

impl<K: Fixed> Fixed for Rayon<K> {
    const LEVEL: Level = K::LEVEL;
}

impl<B: Fixed> Fixed for Eager<B> {
    const LEVEL: Level = B::LEVEL;
}

macro_rules! fixed {
    ($($name:ident)*) => {$(
        /// The kernels of the level of this name.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name(Dispatch);

        impl Fixed for $name {
            const LEVEL: Level = Level::$name;
        }

        impl Default for $name {
            /// Where the machine has not this level, another: callers ask first.
            fn default() -> Self {
                Self(Dispatch::at(Self::LEVEL).unwrap_or_default())
            }
        }

        impl Backend for $name {
            type Exec = Serial;

            fn name(&self) -> Cow<'static, str> {
                format!("dispatch@{}", Self::LEVEL).into()
            }
            fn exec(&self) -> &Serial {
                self.0.exec()
            }
            fn f32(&self) -> &dyn Kernels<f32> {
                self.0.f32()
            }
            fn f64(&self) -> &dyn Kernels<f64> {
                self.0.f64()
            }
            fn vectorize<R>(&self, work: impl FnOnce() -> R) -> R {
                self.0.vectorize(work)
            }
        }
    )*};
}

fixed! { Baseline Avx2 Avx512 }

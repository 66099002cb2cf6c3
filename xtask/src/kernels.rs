//! Kernels of every crate as values of one type. Of one executor all backends are then one type as well, for which the layer and
//! the suite are compiled once, not once for each kernels.

use bn_core::{KernelSet, kernel};
use bn_dispatch::{Dispatch, Level};
use bn_scalar::Scalar;
use bn_wide::Wide;
use half::{bf16, f16};
use std::borrow::Cow;

/// Some crate's kernels.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernels {
    Scalar(Scalar),
    Wide(Wide),
    /// The best level of the machine.
    Dispatch(Dispatch),
    /// One level, so that every one a machine has is checked on it.
    At(Dispatch),
}

impl Kernels {
    /// All of them, the reference first; a level in place of those that this machine has not.
    pub(super) fn all() -> impl Iterator<Item = Result<Self, Level>> {
        let levels = Level::ALL.map(|level| Dispatch::at(level).map(Self::At).ok_or(level));
        let best = [Self::Scalar(Scalar), Self::Wide(Wide), Self::Dispatch(Dispatch::default())];
        best.map(Ok).into_iter().chain(levels)
    }

    /// What reports call the kernels of one level.
    pub(super) fn name_at(level: Level) -> String {
        format!("dispatch@{level}")
    }
}

/// The same expression for kernels of whichever type.
macro_rules! on {
    ($any:expr, $kernels:ident => $value:expr) => {
        match $any {
            Kernels::Scalar($kernels) => $value,
            Kernels::Wide($kernels) => $value,
            Kernels::Dispatch($kernels) | Kernels::At($kernels) => $value,
        }
    };
}

impl KernelSet for Kernels {
    fn name(&self) -> Cow<'static, str> {
        match self {
            Self::At(kernels) => Self::name_at(kernels.level()).into(),
            _ => on!(self, kernels => kernels.name()),
        }
    }
    fn f32(&self) -> &dyn kernel::Kernels<f32> {
        on!(self, kernels => kernels.f32())
    }
    fn f64(&self) -> &dyn kernel::Kernels<f64> {
        on!(self, kernels => kernels.f64())
    }
    fn f16(&self) -> Option<&dyn kernel::Kernels<f16>> {
        on!(self, kernels => kernels.f16())
    }
    fn bf16(&self) -> Option<&dyn kernel::Kernels<bf16>> {
        on!(self, kernels => kernels.bf16())
    }
    fn vectorize<R>(&self, work: impl FnOnce() -> R) -> R {
        on!(self, kernels => kernels.vectorize(work))
    }
}

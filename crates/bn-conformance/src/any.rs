//! Cases and backends as values: whatever the element type, whatever the type of the backend.

use crate::buffers::other_bits;
use crate::case::{Case, Cotangents, Results, Tensor};
use crate::digest::digest;
use crate::identities;
use crate::measure::{Row, Scales, check_by, limit_of};
use crate::parts::run_in_parts;
use crate::ranks::{run_by_moments, run_in_ranks, run_rank};
use crate::run::{Answer, run};
use bn_core::ranks::Communicator;
use bn_core::{Backend, Element, Error, Mode, Real};
use half::{bf16, f16};
use std::borrow::Cow;
use std::sync::Arc;

/// A case of one of the element types.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after the types")]
pub enum AnyCase {
    F32(Case<f32>),
    F64(Case<f64>),
    F16(Case<f16>),
    Bf16(Case<bf16>),
}

macro_rules! from_case {
    ($t:ident, $variant:ident) => {
        impl From<Case<$t>> for AnyCase {
            fn from(case: Case<$t>) -> Self {
                Self::$variant(case)
            }
        }
    };
}

from_case!(f32, F32);
from_case!(f64, F64);
from_case!(f16, F16);
from_case!(bf16, Bf16);

/// The same expression for a case of whichever type.
macro_rules! on {
    ($any:expr, $case:ident => $value:expr) => {
        match $any {
            AnyCase::F32($case) => $value,
            AnyCase::F64($case) => $value,
            AnyCase::F16($case) => $value,
            AnyCase::Bf16($case) => $value,
        }
    };
}

fn dtype<T: Element>(_: &Case<T>) -> &'static str {
    T::NAME
}

fn digest_of<T: Element>(_: &Case<T>, tensor: Tensor, values: &[f64]) -> u64 {
    digest::<T>(tensor, values)
}

fn listing<T: Element>(case: &Case<T>) -> String {
    fn line<V: Element>(name: &str, values: &[V]) -> String {
        // The shortest digits of f64 that come back to a value come back to one of a narrower type as well.
        let digits = values.iter().map(|v| format!("{:e}", v.to_compute().to_f64()));
        format!("\n  {name} [{}]", digits.collect::<Vec<_>>().join(", "))
    }
    let Case { name, mode, config, num_batches_tracked, .. } = case;
    let momentum = config.momentum.map_or("none".into(), |m| format!("{m:e}"));
    let mut text = format!(
        "{name}: {mode}, eps {:e}, momentum {momentum}, {num_batches_tracked} batches before, running_var {:?}",
        config.eps, config.running_var
    );
    text += &case.renorm.map_or_else(String::new, |limits| format!(", renorm {limits:?}"));
    text += &line("x", &case.x);
    text += &case.dy.as_ref().map_or_else(String::new, |dy| line("dy", dy));
    for (name, values) in case.per_feature() {
        text += &line(name, values);
    }
    if let Some(Cotangents { dx, dweight, dbias }) = &case.cotangents {
        text += &dx.as_ref().map_or_else(String::new, |v| line("v.dx", v));
        for (name, v) in [("v.dweight", dweight), ("v.dbias", dbias)] {
            text += &v.as_ref().map_or_else(String::new, |v| line(name, v));
        }
    }
    text
}

impl AnyCase {
    /// What reports call the case.
    #[must_use]
    pub fn name(&self) -> &str {
        on!(self, case => &case.name)
    }

    /// The name of the element type.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        on!(self, case => dtype(case))
    }

    /// What the step must give.
    #[must_use]
    pub fn expect(&self) -> &Results {
        on!(self, case => &case.expect)
    }

    /// C.
    #[must_use]
    pub fn features(&self) -> usize {
        on!(self, case => case.features())
    }

    /// Whether batch statistics of a single value per feature are asked for, which the layer refuses.
    #[must_use]
    pub fn single(&self) -> bool {
        on!(self, case => case.from_batch() && case.shape().is_ok_and(|s| s.count() == 1))
    }

    /// The limit of error(t), where the source's own values are not rounded.
    #[must_use]
    pub fn limit(&self, tensor: Tensor) -> f64 {
        on!(self, case => limit_of(case, tensor))
    }

    /// As [`Self::limit`], by the name that files use.
    #[must_use]
    pub fn limit_named(&self, name: &str) -> f64 {
        self.limit(Tensor::ALL.into_iter().find(|t| t.name() == name).unwrap_or(Tensor::Dweight))
    }

    /// As [`Scales::of`].
    #[must_use]
    pub fn scales(&self) -> Scales {
        on!(self, case => Scales::of(case))
    }

    /// As [`crate::measure::check`].
    #[must_use]
    pub fn check(&self, got: &Results) -> Vec<Row> {
        self.check_by(&self.scales(), got)
    }

    /// As [`Self::check`], with the case's scales.
    #[must_use]
    pub fn check_by(&self, scales: &Scales, got: &Results) -> Vec<Row> {
        on!(self, case => check_by(case, scales, got, |tensor| limit_of(case, tensor)))
    }

    /// Every input in digits that come back to the same bits, a line per tensor and one for the settings.
    #[must_use]
    pub fn listing(&self) -> String {
        on!(self, case => listing(case))
    }

    /// As [`digest`].
    #[must_use]
    pub fn digest(&self, tensor: Tensor, values: &[f64]) -> u64 {
        on!(self, case => digest_of(case, tensor, values))
    }

    /// As [`run`].
    ///
    /// # Errors
    /// What the layer says to the case's input.
    pub fn run<B: Backend + Clone>(&self, backend: &B) -> Answer {
        on!(self, case => run(case, backend))
    }

    /// As [`run_in_parts`].
    ///
    /// # Errors
    /// What the layer says to the case's input.
    pub fn run_in_parts<B: Backend + Clone>(&self, backend: &B, n: usize) -> Answer {
        on!(self, case => run_in_parts(case, backend, n))
    }

    /// As [`run_in_ranks`].
    ///
    /// # Errors
    /// What the layer says to the case's input.
    pub fn run_in_ranks<B: Backend + Clone>(&self, backend: &B, n: usize) -> Answer {
        on!(self, case => run_in_ranks(case, backend, n))
    }

    /// As [`run_rank`].
    ///
    /// # Errors
    /// What the layer says to the case's input, and where ranks do not come to the same.
    pub fn run_rank<B: Backend + Clone, C: Communicator>(&self, backend: &B, comm: &C) -> Answer {
        on!(self, case => run_rank(case, backend, comm))
    }

    /// As [`run_by_moments`].
    ///
    /// # Errors
    /// What the layer says to the case's input.
    pub fn run_by_moments<B: Backend + Clone>(&self, backend: &B, n: usize) -> Answer {
        on!(self, case => run_by_moments(case, backend, n))
    }

    /// The outputs of the case whose bits are others where they go over an input, or onto what is there.
    ///
    /// # Errors
    /// What the layer says to the case's input.
    pub fn other_bits<B: Backend + Clone>(&self, backend: &B) -> Result<Vec<&'static str>, Error> {
        on!(self, case => other_bits(case, backend))
    }

    /// Whether the step is training's.
    #[must_use]
    pub fn trains(&self) -> bool {
        on!(self, case => case.mode == Mode::Train)
    }
}

/// What of a case has other bits where it goes over an input or onto a gradient.
pub type OtherBits = dyn Fn(&AnyCase) -> Result<Vec<&'static str>, Error> + Send + Sync;

/// Runs a case in so many ranks.
pub type InRanks = dyn Fn(&AnyCase, usize) -> Answer + Send + Sync;

/// A backend as a value, so that backends of different types stand in one list.
#[derive(Clone)]
pub struct Candidate {
    /// The name of the combination of kernels, level and executor.
    pub name: Cow<'static, str>,
    /// Runs a case.
    pub run: Arc<dyn Fn(&AnyCase) -> Answer + Send + Sync>,
    /// Runs a case in so many ranks.
    pub in_ranks: Arc<InRanks>,
    /// The same, by merged moments.
    pub by_moments: Arc<InRanks>,
    /// Runs a case in buffers that hold something before.
    pub other_bits: Arc<OtherBits>,
    /// Checks the identities; a line per failure.
    pub identities: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl<B: Backend + Clone + Send + 'static> From<B> for Candidate {
    fn from(backend: B) -> Self {
        let name = backend.name();
        let [own, ranks, moments, buffers] = [(); 4].map(|()| backend.clone());
        let run = Arc::new(move |case: &AnyCase| case.run(&own));
        let in_ranks = Arc::new(move |case: &AnyCase, n| case.run_in_ranks(&ranks, n));
        let by_moments = Arc::new(move |case: &AnyCase, n| case.run_by_moments(&moments, n));
        let other_bits = Arc::new(move |case: &AnyCase| case.other_bits(&buffers));
        let identities = Arc::new(move || identities::all(&backend));
        Self { name, run, in_ranks, by_moments, other_bits, identities }
    }
}

impl Candidate {
    /// `backend`, by which every case is run in `n` parts.
    pub fn in_parts<B: Backend + Clone + Send + 'static>(backend: B, n: usize) -> Self {
        let name = format!("{} in {n} parts", backend.name()).into();
        let own = backend.clone();
        let run = Arc::new(move |case: &AnyCase| case.run_in_parts(&own, n));
        Self { name, run, ..backend.into() }
    }
}

//! What ranks tell each other before they send anything.

use super::communicator::Communicator;
use super::wrong;
use crate::layer::error::Error;
use crate::num::Element;
use crate::tensor::Shape;
use std::fmt;

/// What a call is, which must be the same on every rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    Forward,
    Backward,
    DoubleBackward,
    /// To know the samples of each rank.
    Samples,
    /// Of sums that the caller took.
    Merge,
}

/// What must be the same on every rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Header {
    pub(super) pass: Pass,
    /// As the caller numbers them.
    pub(super) layer: u64,
    pub(super) features: usize,
    /// The values of a feature in a sample.
    pub(super) inner: usize,
    pub(super) element: &'static str,
    /// The bits of eps; 0 where it does not matter.
    pub(super) eps: u64,
}

/// The words of a header: what must agree, whether the rank can go on, and how much it has.
pub(super) const WORDS: usize = 8;

const PASSES: [Pass; 5] = [Pass::Forward, Pass::Backward, Pass::DoubleBackward, Pass::Samples, Pass::Merge];
const ELEMENTS: [&str; 4] = ["f32", "f64", "f16", "bf16"];

impl Header {
    pub(super) fn of<T: Element>(pass: Pass, layer: u64, shape: Shape, eps: f64) -> Self {
        let (features, inner) = (shape.features(), shape.inner());
        Self { pass, layer, features, inner, element: T::NAME, eps: eps.to_bits() }
    }

    fn words(&self, ready: bool, own: usize) -> [u64; WORDS] {
        let place = |of: Option<usize>| of.map_or(u64::MAX, |i| i as u64);
        let pass = place(PASSES.iter().position(|pass| *pass == self.pass));
        let element = place(ELEMENTS.iter().position(|name| *name == self.element));
        let [features, inner, own] = [self.features, self.inner, own].map(|v| v as u64);
        [pass, self.layer, features, inner, element, self.eps, u64::from(ready), own]
    }

    /// Tells all ranks this one's header, whether it can go on, and a number of its own, and returns those of all.
    ///
    /// # Errors
    /// The same on every rank: one cannot go on, or calls are not the same.
    pub(super) fn agreed(
        &self,
        comm: &impl Communicator,
        ready: bool,
        own: usize,
    ) -> Result<Vec<usize>, Error> {
        let mut all = vec![0; WORDS * comm.size()];
        comm.all_gather(&self.words(ready, own), &vec![WORDS; comm.size()], &mut all)?;
        let headers = all.as_chunks::<WORDS>().0;
        if let Some(rank) = headers.iter().position(|words| words[6] == 0) {
            return Err(wrong("a step without errors on every rank", format!("an error on rank {rank}")));
        }
        let own = &headers[0][..6];
        match headers.iter().position(|words| words[..6] != *own) {
            None => Ok(headers.iter().map(|words| usize::try_from(words[7]).unwrap_or(usize::MAX)).collect()),
            Some(rank) => {
                let expected = format!("{} on every rank, as on rank 0", Shown(&headers[0]));
                Err(wrong(&expected, format!("{} on rank {rank}", Shown(&headers[rank]))))
            }
        }
    }
}

/// A header as messages have it.
struct Shown<'a>(&'a [u64; WORDS]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &[pass, layer, features, inner, element, eps, ..] = self.0;
        let at = |v: u64| usize::try_from(v).unwrap_or(usize::MAX);
        let pass = match PASSES.get(at(pass)) {
            Some(Pass::Forward) => "the forward",
            Some(Pass::Backward) => "the backward",
            Some(Pass::DoubleBackward) => "the double backward",
            Some(Pass::Samples) => "the samples",
            Some(Pass::Merge) => "merging",
            None => "another program's call",
        };
        let element = ELEMENTS.get(at(element)).copied().unwrap_or("another type");
        write!(
            f,
            "{pass} of layer {layer} with {features} features of {inner} values in a sample, {element}"
        )?;
        match f64::from_bits(eps) {
            0.0 => Ok(()),
            eps => write!(f, ", eps {eps}"),
        }
    }
}

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
    DoubleBackward(Asked),
    /// To know the samples of each rank.
    Samples,
    /// Of sums that the caller took.
    Merge,
}

/// What decides which sums a double backward takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    /// Whether it goes through the batch's statistics.
    pub(super) from_batch: bool,
    /// Whether there is a cotangent of dx.
    pub(super) v: bool,
    /// Whether there is one of dγ.
    pub(super) w: bool,
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

/// The words of double backwards have this bit.
const SECOND: u64 = 1 << 3;
const ELEMENTS: [&str; 4] = ["f32", "f64", "f16", "bf16"];

impl Pass {
    /// Its word. Those of a double backward begin at `SECOND`.
    fn word(self) -> u64 {
        match self {
            Self::Forward => 0,
            Self::Backward => 1,
            Self::Samples => 2,
            Self::Merge => 3,
            Self::DoubleBackward(Asked { from_batch, v, w }) => {
                SECOND | u64::from(from_batch) | u64::from(v) << 1 | u64::from(w) << 2
            }
        }
    }

    /// The other way.
    fn of_word(word: u64) -> Option<Self> {
        let bit = |at: u32| word >> at & 1 == 1;
        match word {
            0 => Some(Self::Forward),
            1 => Some(Self::Backward),
            2 => Some(Self::Samples),
            3 => Some(Self::Merge),
            _ if word & !7 == SECOND => {
                Some(Self::DoubleBackward(Asked { from_batch: bit(0), v: bit(1), w: bit(2) }))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward => f.write_str("the forward"),
            Self::Backward => f.write_str("the backward"),
            Self::Samples => f.write_str("the samples"),
            Self::Merge => f.write_str("merging"),
            Self::DoubleBackward(Asked { from_batch, v, w }) => {
                let through = if *from_batch { "through the batch" } else { "by constants" };
                let of = match (v, w) {
                    (true, true) => "cotangents of dx and dweight",
                    (true, false) => "a cotangent of dx",
                    (false, true) => "a cotangent of dweight",
                    (false, false) => "no cotangent of dx or dweight",
                };
                write!(f, "the double backward {through} with {of}")
            }
        }
    }
}

impl Header {
    pub(super) fn of<T: Element>(pass: Pass, layer: u64, shape: Shape, eps: f64) -> Self {
        let (features, inner) = (shape.features(), shape.inner());
        Self { pass, layer, features, inner, element: T::NAME, eps: eps.to_bits() }
    }

    fn words(&self, ready: bool, own: usize) -> [u64; WORDS] {
        let place = |of: Option<usize>| of.map_or(u64::MAX, |i| i as u64);
        let pass = self.pass.word();
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
        let pass = Pass::of_word(pass).map_or("another program's call".into(), |pass| pass.to_string());
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

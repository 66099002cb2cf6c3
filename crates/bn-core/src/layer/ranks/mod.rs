//! A batch over several ranks, processes or threads, with the statistics of the whole.
//!
//! Each rank has some samples of the batch, as many as it likes, or none; rank 0 has the first ones. It normalizes them with the
//! statistics of all, and its dx goes through all. What is sent are [sums](super::parts::PartialSums), a few numbers per feature. Where
//! the ranks' shares begin at [leaves](super::parts::split_every) y, dx, dγ, dβ, the running statistics and the double backward have the bits of the whole
//! batch on one machine. Elsewhere they stay within the same limits, and have the same bits from run to run.
//!
//! ```text
//! forward    headers · sums of x → gather → statistics, perhaps once more around the means → map
//! backward   headers · sums of dy and dy·x → gather → map, dγ and dβ
//! double     headers · sums of dy and of v with x → gather → sums of v with dy, around the mean of dy → gather → maps and d_weight
//! ```
//!
//! ```
//! use batchnorm::functions::{Backward, Forward};
//! use batchnorm::ranks::{Ranks, Threads};
//! use batchnorm::{BatchNorm, Saved, Shape, Workspace};
//!
//! let shares = [vec![1.0_f32, 3.0], vec![5.0, 7.0, 9.0], vec![]]; // of three ranks
//! std::thread::scope(|scope| {
//!     for (comm, x) in Threads::ranks(3).into_iter().zip(&shares) {
//!         scope.spawn(move || {
//!             let (mut ranks, mut bn) = (Ranks::new(comm), BatchNorm::<f32>::new(1)?);
//!             let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
//!             let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
//!             let step = Forward::new(Shape::nc(x.len(), 1)?, x, &mut y);
//!             bn.forward_ranks(step, ranks.layer(0), &mut saved, &mut workspace)?;
//!             assert_eq!(saved.mean(), [5.0]); // of all five values, on every rank
//!
//!             let dy = &y; // the gradient of your loss
//!             let step = Backward { dx: Some((&mut dx).into()), ..Backward::new(x, dy) };
//!             bn.backward_ranks(step, ranks.layer(0), &saved, &mut workspace)
//!         });
//!     }
//! });
//! # Ok::<(), batchnorm::Error>(())
//! ```

mod bring;
mod communicator;
mod header;
mod layers;
mod synchronized;
mod threads;

pub use communicator::Communicator;
pub use synchronized::Synchronized;
pub use threads::Threads;

use super::error::Error;
use super::parts::PartialSums;
use crate::num::{Element, Real};
use header::{Header, Pass};
use std::collections::HashMap;

/// When ranks compare what they are about to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// In every step: a header of 64 bytes goes to every rank first. A rank whose input is wrong, or that is at another layer, is an
    /// error on every rank.
    #[default]
    EveryStep,
    /// The first time that a layer has a shape on this rank. All ranks must then change shapes in the same steps: otherwise a later one
    /// waits for ever, or has sums of other lengths.
    OncePerShape,
}

/// Which samples dγ and dβ of a backward are of, and d_weight of a double backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parameters {
    /// Of the whole batch, the same on every rank.
    #[default]
    Whole,
    /// Of this rank's samples: for a program that adds up the gradients of all of its parameters itself. dx goes through the whole batch
    /// all the same.
    Local,
}

/// From more ranks than these on, sums are merged along the tree instead of being gathered, unless [`Ranks::gather_up_to`] says
/// otherwise: docs/scaling.md has the model.
const GATHER: usize = 8;

/// A rank of several, which steps of layers go over.
#[derive(Debug)]
pub struct Ranks<C> {
    comm: C,
    check: Check,
    parameters: Parameters,
    gather: usize,
    /// What headers have told: the samples of each rank, by what this one does and has.
    agreed: HashMap<(Header, usize), Vec<usize>>,
}

impl<C: Communicator> Ranks<C> {
    /// Over this communicator, with a [check](Check) in every step and [parameters' gradients](Parameters) of the whole batch.
    #[must_use]
    pub fn new(comm: C) -> Self {
        let (check, parameters) = (Check::default(), Parameters::default());
        Self { comm, check, parameters, gather: GATHER, agreed: HashMap::new() }
    }

    /// With this check.
    #[must_use]
    pub fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// With these gradients of parameters.
    #[must_use]
    pub fn parameters(self, parameters: Parameters) -> Self {
        Self { parameters, ..self }
    }

    /// Gathers sums among so many ranks and fewer, and merges them along the tree among more. No bit depends on it.
    #[must_use]
    pub fn gather_up_to(self, ranks: usize) -> Self {
        Self { gather: ranks, ..self }
    }

    /// What it goes over.
    pub fn communicator(&self) -> &C {
        &self.comm
    }

    /// The steps of a layer. `number` is the layer's, the same on every rank and another one for each layer: headers compare it.
    pub fn layer(&mut self, number: u64) -> Synchronized<'_, C> {
        Synchronized { ranks: self, number }
    }

    /// Merges the sums of several layers in one collective. `sums` are those of this rank's samples, of each layer, in the same order on
    /// every rank, and become those of the whole batch: [`sum_gradients`](super::parts::sum_gradients) takes them and
    /// [`backward`](super::parts::backward) gets them. [`Synchronized::samples`] says which sample is this rank's first one.
    ///
    /// # Errors
    /// [`Error::Ranks`] where the ranks do not come with the same; [`Error::Parts`] where the sums do not fit together. `sums` are
    /// then of no use.
    ///
    /// ```
    /// use batchnorm::parts::{Part, Pooled};
    /// use batchnorm::ranks::{Ranks, Threads};
    /// use batchnorm::{DefaultBackend, Error, Shape, Workspace};
    ///
    /// let mut ranks = Ranks::new(Threads::ranks(1).remove(0)); // a rank alone
    /// let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
    /// let (shape, x) = (Shape::nc(2, 1)?, [1.0_f32, 3.0]);
    /// let first = ranks.layer(0).samples::<f32>(shape)?.start;
    /// let mut pooled = [Pooled::<f32>::new(1, 1e-5)?, Pooled::new(1, 1e-5)?];
    /// let mut sum = |pooled: &Pooled<f32>| pooled.sum(&backend, Part::new(shape, &x), first, &mut workspace);
    /// let (mut a, mut b) = (sum(&pooled[0])?, sum(&pooled[1])?);
    /// ranks.merge(&mut [&mut a, &mut b])?;
    /// assert!(pooled[0].settle(&a)? && pooled[1].settle(&b)?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn merge<R: Real>(&mut self, sums: &mut [&mut PartialSums<R>]) -> Result<(), Error> {
        let own = sums.iter().map(|sums| sums.own_words()).sum();
        let (element, inner) = (<R as Element>::NAME, sums.len());
        let features = sums.iter().map(|sums| sums.own_features()).sum();
        let header = Header { pass: Pass::Merge, layer: 0, features, inner, element, eps: 0 };
        let is_known = sums.iter().all(|sums| sums.is_known());
        let lengths = header.agreed(&self.comm, is_known, own)?;
        self.bring(sums, &lengths)
    }

    /// Makes the sums of this rank those of all, `lengths` being the words of each.
    fn bring<R: Real>(&self, sums: &mut [&mut PartialSums<R>], lengths: &[usize]) -> Result<(), Error> {
        match self.comm.size() <= self.gather {
            true => bring::gather(&self.comm, sums, lengths),
            false => bring::along_tree(&self.comm, sums),
        }
    }

    /// The samples of each rank, of which this one has `own`; `ready` where its input is right.
    fn agreed(&mut self, header: Header, ready: bool, own: usize) -> Result<Vec<usize>, Error> {
        if let Some(known) = self.agreed.get(&(header, own)).filter(|_| self.check == Check::OncePerShape) {
            return Ok(known.clone());
        }
        let samples = header.agreed(&self.comm, ready, own)?;
        if self.check == Check::OncePerShape {
            self.agreed.insert((header, own), samples.clone());
        }
        Ok(samples)
    }
}

fn wrong(expected: &str, got: String) -> Error {
    Error::Ranks { expected: expected.into(), got }
}

//! Batch statistics synchronized over the processes of MPI.
//!
//! [`Mpi`] is a communicator of MPI as `batchnorm::ranks` takes it. Each process has a share of the batch, normalizes it with the
//! statistics of the whole, and its gradients go through these:
//!
//! ```no_run
//! use batchnorm::functions::{Backward, Forward};
//! use batchnorm::ranks::Ranks;
//! use batchnorm::{BatchNorm, Saved, Shape, Workspace};
//! use bn_mpi::Mpi;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let universe = mpi::initialize().ok_or("MPI has been initialized before")?;
//! let mut ranks = Ranks::new(Mpi::new(&universe.world()));
//! let mut bn = BatchNorm::<f32>::new(64)?;
//! let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
//!
//! let shape = Shape::nchw(8, 64, 56, 56)?; // this process's share
//! let (x, mut y, mut dx) = (vec![0.5; shape.len()], vec![0.0; shape.len()], vec![0.0; shape.len()]);
//! bn.forward_ranks(Forward::new(shape, &x, &mut y), ranks.layer(0), &mut saved, &mut workspace)?;
//! let dy = y; // the gradient of your loss
//! let step = Backward { dx: Some((&mut dx).into()), ..Backward::new(&x, &dy) };
//! bn.backward_ranks(step, ranks.layer(0), &saved, &mut workspace)?;
//! # Ok(())
//! # }
//! ```
//!
//! `mpirun -n 4 PROGRAM` starts it. MPI is called from the thread that makes the step, and from no other: the crate `mpi` may be
//! initialized as above, though the layer's kernels run on rayon's threads.
//!
//! # When a process fails
//!
//! - An input that is wrong on one process is an error on every process, before anything is sent: `batchnorm::ranks::Check`.
//! - A process that dies ends the run with MPI's own message. What is to be kept is a checkpoint, written by rank 0 into a file beside
//!   the old one, which it then replaces.
//! - A process that lives but makes no step leaves the others waiting, for ever: MPI knows no time limit.

pub use mpi;

use bn_core::Error;
use bn_core::ranks::Communicator;
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Destination as _, Source as _};
use mpi::{Count, request};
use std::fmt;

/// The processes of a communicator of MPI. docs/scaling.md says what they send.
pub struct Mpi(SimpleCommunicator);

impl Mpi {
    /// Over the processes of `comm`, all of which call this: a duplicate of it, so that what the layer sends meets nothing else. It must be
    /// dropped before the `mpi::environment::Universe`, as what is declared behind that is.
    pub fn new(comm: &impl mpi::traits::Communicator) -> Self {
        Self(comm.duplicate())
    }

    /// A process's number as MPI has it.
    fn process(&self, rank: usize) -> Result<mpi::topology::Process<'_>, Error> {
        let own = i32::try_from(rank).ok().filter(|_| rank < self.size());
        own.map(|own| self.0.process_at_rank(own))
            .ok_or_else(|| wrong(&format!("a rank below {}", self.size()), &rank.to_string()))
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank()).field("size", &self.size()).finish()
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        usize::try_from(self.0.rank()).unwrap_or_default()
    }

    fn size(&self) -> usize {
        usize::try_from(self.0.size()).unwrap_or(1)
    }

    fn all_gather(&self, own: &[u64], lengths: &[usize], all: &mut [u64]) -> Result<(), Error> {
        let sum = lengths.iter().try_fold(0, |sum: usize, len| sum.checked_add(*len));
        let fits = lengths.len() == self.size() && lengths.get(self.rank()) == Some(&own.len());
        if !fits || sum != Some(all.len()) {
            let expected = format!("{lengths:?} words of {} ranks", self.size());
            return Err(wrong(
                &expected,
                &format!("{} of rank {} and room for {}", own.len(), self.rank(), all.len()),
            ));
        }
        let count = |len: usize| {
            Count::try_from(len)
                .map_err(|_| wrong(&format!("at most {} words", Count::MAX), &len.to_string()))
        };
        count(all.len())?;
        let counts = lengths.iter().map(|len| count(*len)).collect::<Result<Vec<_>, _>>()?;
        let starts: Vec<Count> =
            counts.iter().scan(0, |next, len| Some(std::mem::replace(next, *next + len))).collect();
        self.0.all_gather_varcount_into(own, &mut PartitionMut::new(all, counts, starts));
        Ok(())
    }

    fn exchange(&self, with: usize, own: &[u64]) -> Result<Vec<u64>, Error> {
        let other = self.process(with)?;
        Ok(request::scope(|scope| {
            let sent = other.immediate_send(scope, own);
            let (words, _) = other.receive_vec::<u64>();
            sent.wait();
            words
        }))
    }
}

fn wrong(expected: &str, got: &str) -> Error {
    Error::Ranks { expected: expected.into(), got: got.into() }
}

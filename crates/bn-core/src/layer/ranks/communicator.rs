//! What the layer needs of ranks that work together.

use crate::layer::error::Error;

/// One of several ranks that work on a batch together: processes on many machines, or [threads](super::Threads) of one.
///
/// The layer sends 64-bit words, the bits of its numbers, so that they come through as they are. All ranks call the same methods in the
/// same order. An error on one rank is best one on every rank: what comes after it may wait for ever.
///
/// `bn-mpi` implements it for the communicators of MPI.
pub trait Communicator {
    /// The number of this rank, from 0 on.
    fn rank(&self) -> usize;

    /// How many ranks there are: 1 or more.
    fn size(&self) -> usize;

    /// Gives `own` to every rank. `all` gets what each gives, in the order of ranks: `lengths` words of them, the same on every rank.
    ///
    /// # Errors
    /// [`Error::Ranks`] where a rank cannot be reached any more, or lengths are not those that came.
    fn all_gather(&self, own: &[u64], lengths: &[usize], all: &mut [u64]) -> Result<(), Error>;

    /// Gives `own` to the rank `with`, which calls this at the same time with this one's number, and returns what it gives.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    fn exchange(&self, with: usize, own: &[u64]) -> Result<Vec<u64>, Error>;
}

impl<C: Communicator + ?Sized> Communicator for &C {
    fn rank(&self) -> usize {
        (**self).rank()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn all_gather(&self, own: &[u64], lengths: &[usize], all: &mut [u64]) -> Result<(), Error> {
        (**self).all_gather(own, lengths, all)
    }

    fn exchange(&self, with: usize, own: &[u64]) -> Result<Vec<u64>, Error> {
        (**self).exchange(with, own)
    }
}

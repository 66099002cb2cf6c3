//! Ranks that are threads of one program.

use super::communicator::Communicator;
use super::wrong;
use crate::layer::error::Error;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A [`Communicator`] within one program: for several workers in a process, and for tests.
///
/// Each rank belongs to a thread of its own that may wait for the others, not to one of a pool. A rank that is dropped has left: whoever
/// waits for it gets an error.
///
/// ```
/// use batchnorm::ranks::{Communicator, Threads};
///
/// let sums: Vec<u64> = std::thread::scope(|scope| {
///     let ranks = Threads::ranks(3).into_iter();
///     let threads = ranks.map(|rank| {
///         scope.spawn(move || {
///             let mut all = [0; 3];
///             rank.all_gather(&[rank.rank() as u64 + 1], &[1; 3], &mut all).unwrap();
///             all.iter().sum()
///         })
///     });
///     threads.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
/// });
/// assert_eq!(sums, [6, 6, 6]);
/// ```
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What ranks give to the gathering that is under way.
    given: Vec<Option<Vec<u64>>>,
    /// Which have taken all of it.
    taken: Vec<bool>,
    /// From whom, to whom.
    mail: HashMap<(usize, usize), VecDeque<Vec<u64>>>,
    /// Which have left.
    left: Vec<bool>,
}

impl State {
    /// Ends a gathering of which nobody takes any more.
    fn end(&mut self) {
        let mut each = self.taken.iter().zip(&self.left);
        if self.taken.contains(&true) && each.all(|(taken, left)| *taken || *left) {
            self.taken.fill(false);
            self.given.fill(None);
        }
    }
}

impl Threads {
    /// So many ranks, in their order; at least one.
    #[must_use]
    pub fn ranks(size: usize) -> Vec<Self> {
        let size = size.max(1);
        let (given, taken, left) = (vec![None; size], vec![false; size], vec![false; size]);
        let state = State { given, taken, left, mail: HashMap::new() };
        let shared = Arc::new(Shared { size, state: Mutex::new(state), changed: Condvar::new() });
        (0..size).map(|rank| Self { rank, shared: Arc::clone(&shared) }).collect()
    }

    /// Waits until `of` the state is something, unless one of `whom` has left before.
    fn wait<V>(
        &self,
        whom: impl Fn(&State) -> Option<usize>,
        of: impl Fn(&mut State) -> Option<V>,
    ) -> Result<(V, MutexGuard<'_, State>), Error> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = of(&mut state) {
                return Ok((found, state));
            }
            if let Some(left) = whom(&state) {
                return Err(wrong("every rank at work", format!("rank {left}, which has left")));
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.size
    }

    fn all_gather(&self, own: &[u64], lengths: &[usize], all: &mut [u64]) -> Result<(), Error> {
        let missing = |state: &State| {
            let gone = state.left.iter().zip(&state.given);
            gone.enumerate().find(|(_, (left, given))| **left && given.is_none()).map(|(rank, _)| rank)
        };
        // 1. The gathering before is over for all.
        let free = |state: &mut State| state.given[self.rank].is_none().then_some(());
        let ((), mut state) = self.wait(|_| None, free)?;
        state.given[self.rank] = Some(own.to_vec());
        drop(state);
        self.shared.changed.notify_all();
        // 2. Everybody has given.
        let there = |state: &mut State| state.given.iter().all(Option::is_some).then_some(());
        let ((), mut state) = self.wait(missing, there)?;
        let given = state.given.iter().flatten();
        let fits = given.clone().map(Vec::len).eq(lengths.iter().copied());
        let words = given.flatten().copied().collect::<Vec<_>>();
        state.taken[self.rank] = true;
        state.end();
        drop(state);
        self.shared.changed.notify_all();
        if !fits || words.len() != all.len() {
            return Err(wrong(&format!("{lengths:?} words of the ranks"), format!("{} in all", words.len())));
        }
        all.copy_from_slice(&words);
        Ok(())
    }

    fn exchange(&self, with: usize, own: &[u64]) -> Result<Vec<u64>, Error> {
        if with >= self.shared.size || with == self.rank {
            let expected = format!("another one of {} ranks beside rank {}", self.shared.size, self.rank);
            return Err(wrong(&expected, format!("rank {with}")));
        }
        let ((), mut state) = self.wait(|_| None, |_| Some(()))?;
        state.mail.entry((self.rank, with)).or_default().push_back(own.to_vec());
        drop(state);
        self.shared.changed.notify_all();
        let gone = |state: &State| state.left[with].then_some(with);
        let found = self.wait(gone, |state| state.mail.get_mut(&(with, self.rank))?.pop_front());
        found.map(|(words, state)| {
            drop(state);
            words
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.left[self.rank] = true;
        state.end();
        drop(state);
        self.shared.changed.notify_all();
    }
}

//! What is tried and what comes of it, for one class of steps.
//!
//! ```text
//! trying    each candidate in turn, the first guess first; the least time of each counts, since a neighbour only adds
//!   drop    what takes 1.3 times the best after two tries, 1.1 times from three on
//!   settle  when who is left has been tried five times, or after sixty steps: the best, or what there was if that is within 2 %
//! settled   the choice; from time to time the best three are tried three times each once more
//! pinned    the choice, for good: it was loaded, or steps are too short to be timed
//! ```
//!
//! All of it is numbers of their own that threads read and write without a lock. Two steps at the same time may try the same
//! candidate or settle twice: no harm, a trial more or less.

use super::candidates::MOST;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

/// Tries of a candidate that is not dropped.
const TRIES: u16 = 5;
/// Steps that try something, at most.
const STEPS: u16 = 60;
/// A candidate is given up that was tried so often without being timed: something kept its steps from it.
const UNTIMED: u16 = 8;
/// Steps from one look back to the next, and tries of a candidate then, of so many candidates.
const LOOK_BACK: u32 = 1024;
const LOOKS: u16 = 3;
const FINALISTS: usize = 3;

/// What was not timed.
const NEVER: u32 = u32::MAX;

const TRYING: u8 = 0;
const SETTLED: u8 = 1;
const PINNED: u8 = 2;

/// What a step is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The candidate that it takes.
    pub(super) candidate: usize,
    /// Whether its time is wanted.
    pub(super) tried: bool,
}

/// The trials of a class.
#[derive(Debug)]
pub(super) struct Trials {
    /// What is tried now, one bit to a candidate, and how often each.
    trying: AtomicU16,
    tries: AtomicU16,
    state: AtomicU8,
    choice: AtomicU8,
    /// Steps that were given a candidate, how many of them were timed, and the least of their times.
    given: [AtomicU16; MOST],
    timed: [AtomicU16; MOST],
    least: [AtomicU32; MOST],
    /// Since it was settled.
    steps: AtomicU32,
}

impl Trials {
    /// Of the candidates `offered`, one bit each, beginning with `first`.
    pub(super) fn new(offered: u16, first: usize) -> Self {
        Self {
            trying: AtomicU16::new(offered),
            tries: AtomicU16::new(TRIES),
            state: AtomicU8::new(if offered.count_ones() < 2 { PINNED } else { TRYING }),
            choice: AtomicU8::new(first as u8),
            given: [const { AtomicU16::new(0) }; MOST],
            timed: [const { AtomicU16::new(0) }; MOST],
            least: [const { AtomicU32::new(NEVER) }; MOST],
            steps: AtomicU32::new(0),
        }
    }

    /// What was chosen, or is taken until something is.
    pub(super) fn choice(&self) -> usize {
        usize::from(self.choice.load(Relaxed))
    }

    /// Takes a candidate for good.
    pub(super) fn pin(&self, candidate: usize) {
        self.choice.store(candidate as u8, Relaxed);
        self.state.store(PINNED, Relaxed);
    }

    /// Whether nothing is being tried.
    pub(super) fn is_settled(&self) -> bool {
        self.state.load(Relaxed) != TRYING
    }

    /// How often a candidate was timed, and the least time, if it was.
    pub(super) fn of(&self, candidate: usize) -> (u16, Option<u32>) {
        let least = self.least[candidate].load(Relaxed);
        (self.timed[candidate].load(Relaxed), Some(least).filter(|&least| least != NEVER))
    }

    /// What the next step does.
    pub(super) fn next(&self) -> Turn {
        match self.state.load(Relaxed) {
            TRYING => {}
            SETTLED if self.steps.fetch_add(1, Relaxed) % LOOK_BACK == LOOK_BACK - 1 => self.look_back(),
            _ => return Turn { candidate: self.choice(), tried: false },
        }
        let tries = self.tries.load(Relaxed);
        let given = |i: usize| self.given[i].load(Relaxed);
        let all: u16 = self.tried().map(given).sum();
        let open = |&i: &usize| {
            self.is_in_the_running(i) && self.timed[i].load(Relaxed) < tries && given(i) < tries.max(UNTIMED)
        };
        // The first guess first, then in their order.
        let first = self.choice();
        let next = self.tried().filter(open).min_by_key(|&i| (given(i), i != first, i));
        match next.filter(|_| all < STEPS) {
            Some(candidate) => {
                self.given[candidate].fetch_add(1, Relaxed);
                Turn { candidate, tried: true }
            }
            None => {
                self.settle();
                Turn { candidate: self.choice(), tried: false }
            }
        }
    }

    /// Takes in what a candidate took.
    pub(super) fn record(&self, candidate: usize, time: u32) {
        self.least[candidate].fetch_min(time.min(NEVER - 1), Relaxed);
        self.timed[candidate].fetch_add(1, Relaxed);
    }

    fn tried(&self) -> impl Iterator<Item = usize> + use<> {
        let trying = self.trying.load(Relaxed);
        (0..MOST).filter(move |i| trying >> i & 1 == 1)
    }

    fn time(&self, candidate: usize) -> u64 {
        self.least[candidate].load(Relaxed).into()
    }

    /// Whether a candidate may still turn out to be the best.
    fn is_in_the_running(&self, candidate: usize) -> bool {
        let best = self.tried().map(|i| self.time(i)).min().unwrap_or_default();
        let tenths = match self.timed[candidate].load(Relaxed) {
            0 | 1 => return true,
            2 => 13,
            _ => 11,
        };
        self.time(candidate) * 10 <= best * tenths
    }

    fn settle(&self) {
        let (now, best) = (self.choice(), self.tried().min_by_key(|&i| self.time(i)));
        if let Some(best) = best.filter(|&best| self.time(best) != u64::from(NEVER))
            && self.time(best) * 51 < self.time(now) * 50
        {
            self.choice.store(best as u8, Relaxed);
        }
        self.steps.store(0, Relaxed);
        self.state.store(SETTLED, Relaxed);
    }

    /// Tries the best once more: the machine may have become another one.
    fn look_back(&self) {
        let mut order: [usize; MOST] = std::array::from_fn(|i| i);
        order.sort_unstable_by_key(|&i| (i != self.choice(), self.time(i)));
        let mut finalists = 0;
        for &i in
            order[..FINALISTS].iter().filter(|&&i| i == self.choice() || self.time(i) != u64::from(NEVER))
        {
            finalists |= 1 << i;
            self.given[i].store(0, Relaxed);
            self.timed[i].store(0, Relaxed);
            self.least[i].store(NEVER, Relaxed);
        }
        self.trying.store(finalists, Relaxed);
        self.tries.store(LOOKS, Relaxed);
        self.state.store(TRYING, Relaxed);
    }
}

#[cfg(test)]
mod tests;

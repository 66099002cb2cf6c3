//! What is tried and what comes of it, for one class of steps.
//!
//! ```text
//! trying    each candidate in turn, the first guess first; the least time of each counts, since a neighbour only adds. The
//!           first step after a change between outputs that are kept in the caches and such as go past them is not timed
//!   drop    what takes 1.3 times the best after two tries each, 1.1 times from three on: a try more of one than of another
//!           would tell when a neighbour was there, not which of them is better; never what is taken now
//!   settle  when who is left has been tried five times, eight times where the two least times of it differ by more than 5 %,
//!           or after sixty steps: the best of those whose two least times agree, if that is 2 % better than what there was
//! settled   the choice; after 128 steps, and each time after twice as many, three are tried three times each once more: the
//!           choice, the best other one, and each of the others in turn
//! pinned    a candidate for good: it was loaded, or there is no other
//! short     what is taken takes less than can be timed: nothing is tried until a restart
//! ```
//!
//! All of it is numbers of their own that threads read and write without a lock. Two steps at the same time may try the same
//! candidate or settle twice: no harm, a trial more or less.

use super::candidates::{MOST, ones};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

/// Tries of a candidate that is not dropped; as many more where its times do not agree.
const TRIES: u16 = 5;
const DOUBTFUL: u16 = 3;
/// Steps that try something, at most.
const STEPS: u16 = 60;
/// A candidate is given up that was tried so often without being timed: something kept its steps from it.
const UNTIMED: u16 = 8;
/// Steps from one look back to the next, the first and the most; tries of a candidate then.
const LOOK_BACK: u32 = 128;
const SELDOM: u32 = 4096;
const LOOKS: u16 = 3;

/// What was not timed.
const NEVER: u32 = u32::MAX;

const TRYING: u8 = 0;
const SETTLED: u8 = 1;

/// No candidate.
const NONE: u8 = u8::MAX;

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
    /// What is taken for good, whatever is chosen: no step that ends meanwhile undoes it.
    pinned: AtomicU8,
    /// Whether steps are too short to be timed, and whether something was ever chosen.
    short: AtomicBool,
    chosen: AtomicBool,
    /// Steps that were given a candidate, those that only changed from one kind of outputs to the other, how many were timed,
    /// and the least of their times.
    given: [AtomicU16; MOST],
    changes: AtomicU16,
    timed: [AtomicU16; MOST],
    least: [AtomicU32; MOST],
    /// The least of the other times.
    second: [AtomicU32; MOST],
    /// Since it was settled, and how many there are until the next look back.
    steps: AtomicU32,
    until: AtomicU32,
    /// Looks back until now.
    looks: AtomicU32,
    /// What the last step took.
    last: AtomicU8,
    offered: u16,
    /// Candidates that keep outputs in the caches.
    keeping: u16,
}

impl Trials {
    /// Of the candidates `offered`, one bit each, beginning with `first`; those in `keeping` keep outputs in the caches.
    pub(super) fn new(offered: u16, first: usize, keeping: u16) -> Self {
        Self {
            trying: AtomicU16::new(offered),
            tries: AtomicU16::new(TRIES),
            state: AtomicU8::new(TRYING),
            choice: AtomicU8::new(first as u8),
            pinned: AtomicU8::new(if offered.count_ones() < 2 { first as u8 } else { NONE }),
            short: AtomicBool::new(false),
            chosen: AtomicBool::new(false),
            changes: AtomicU16::new(0),
            given: [const { AtomicU16::new(0) }; MOST],
            timed: [const { AtomicU16::new(0) }; MOST],
            least: [const { AtomicU32::new(NEVER) }; MOST],
            second: [const { AtomicU32::new(NEVER) }; MOST],
            steps: AtomicU32::new(0),
            until: AtomicU32::new(LOOK_BACK),
            looks: AtomicU32::new(0),
            last: AtomicU8::new(first as u8),
            offered,
            keeping,
        }
    }

    /// What was chosen, or is taken until something is.
    pub(super) fn choice(&self) -> usize {
        self.pinned().unwrap_or_else(|| usize::from(self.choice.load(Relaxed)))
    }

    /// Takes a candidate for good.
    pub(super) fn pin(&self, candidate: usize) {
        self.pinned.store(candidate as u8, Relaxed);
    }

    /// Tries nothing more: what is taken now is too short to be timed.
    pub(super) fn give_up(&self) {
        self.short.store(true, Relaxed);
    }

    /// What is taken for good, if something is.
    pub(super) fn pinned(&self) -> Option<usize> {
        Some(self.pinned.load(Relaxed)).filter(|&candidate| candidate != NONE).map(usize::from)
    }

    /// Whether nothing is being tried.
    pub(super) fn is_settled(&self) -> bool {
        self.is_fixed() || self.state.load(Relaxed) == SETTLED
    }

    /// Whether a candidate was chosen or pinned, be it that others are being tried once more.
    pub(super) fn has_chosen(&self) -> bool {
        self.pinned().is_some() || self.chosen.load(Relaxed)
    }

    fn is_fixed(&self) -> bool {
        self.pinned().is_some() || self.short.load(Relaxed)
    }

    /// How often a candidate was timed, and the least time, if it was.
    pub(super) fn of(&self, candidate: usize) -> (u16, Option<u32>) {
        let least = self.least[candidate].load(Relaxed);
        (self.timed[candidate].load(Relaxed), Some(least).filter(|&least| least != NEVER))
    }

    /// What the next step does.
    pub(super) fn next(&self) -> Turn {
        let taken = || Turn { candidate: self.choice(), tried: false };
        if self.is_fixed() {
            return taken();
        }
        if self.state.load(Relaxed) == SETTLED {
            if self.steps.fetch_add(1, Relaxed) + 1 < self.until.load(Relaxed) {
                return taken();
            }
            self.look_back();
        }
        let tries = self.tries.load(Relaxed);
        let given = |i: usize| self.given[i].load(Relaxed);
        self.drop_behind();
        let all = (0..MOST).map(given).sum::<u16>() + self.changes.load(Relaxed);
        let timed = |i: usize| self.timed[i].load(Relaxed);
        let most = self.tried().map(timed).max().unwrap_or_default();
        let open = |&i: &usize| {
            let wanted = tries + if self.agrees(i) { 0 } else { DOUBTFUL };
            // What is taken now is tried as late as any: it loses to nothing that a neighbour has left alone since.
            let wanted = if i == self.choice() { wanted.max(most) } else { wanted };
            timed(i) < wanted && given(i) < UNTIMED
        };
        // What is taken first, then in their order.
        let first = self.choice();
        let next = self.tried().filter(open).min_by_key(|&i| (given(i), i != first, i));
        match next.filter(|_| all < STEPS) {
            Some(candidate) => {
                let last = self.last.swap(candidate as u8, Relaxed);
                // What the last step has left in the caches is what an output past them leaves there, or one that is kept.
                let tried = self.keeps(candidate) == self.keeps(last.into());
                let counted = if tried { &self.given[candidate] } else { &self.changes };
                counted.fetch_add(1, Relaxed);
                Turn { candidate, tried }
            }
            None => {
                self.settle();
                taken()
            }
        }
    }

    /// Takes in what a candidate took.
    pub(super) fn record(&self, candidate: usize, time: u32) {
        let time = time.min(NEVER - 1);
        let least = self.least[candidate].fetch_min(time, Relaxed);
        self.second[candidate].fetch_min(time.max(least), Relaxed);
        self.timed[candidate].fetch_add(1, Relaxed);
    }

    fn keeps(&self, candidate: usize) -> bool {
        self.keeping >> candidate & 1 == 1
    }

    fn tried(&self) -> impl Iterator<Item = usize> + use<> {
        ones(self.trying.load(Relaxed))
    }

    fn time(&self, candidate: usize) -> u64 {
        self.least[candidate].load(Relaxed).into()
    }

    /// Where all have been tried equally often, leaves out who is far behind the best.
    fn drop_behind(&self) {
        let given = |i: usize| self.given[i].load(Relaxed);
        let rounds = self.tried().map(given).max().unwrap_or_default();
        let tenths = if rounds > 2 { 11 } else { 13 };
        if rounds < 2 || self.tried().any(|i| given(i) != rounds) {
            return;
        }
        let best = self.tried().map(|i| self.time(i)).min().unwrap_or_default();
        let stays = |&i: &usize| i == self.choice() || self.time(i) * 10 <= best * tenths;
        let left = self.tried().filter(stays).fold(0, |left, i| left | 1 << i);
        self.trying.store(left, Relaxed);
    }

    /// Whether the two least times of a candidate are alike: then they are its own and no neighbour's.
    fn agrees(&self, candidate: usize) -> bool {
        u64::from(self.second[candidate].load(Relaxed)) * 20 <= self.time(candidate) * 21
    }

    fn settle(&self) {
        if self.state.compare_exchange(TRYING, SETTLED, Relaxed, Relaxed).is_err() {
            return;
        }
        self.steps.store(0, Relaxed);
        self.chosen.store(true, Relaxed);
        let (now, best) =
            (self.choice(), self.tried().filter(|&i| self.agrees(i)).min_by_key(|&i| self.time(i)));
        let timed = self.time(now) != u64::from(NEVER);
        if let Some(best) = best.filter(|&best| timed && self.time(best) * 51 < self.time(now) * 50) {
            self.choice.store(best as u8, Relaxed);
        }
    }

    /// Tries a few once more: the machine may have become another one, or a neighbour may have left.
    fn look_back(&self) {
        let (choice, looks) = (self.choice(), self.looks.fetch_add(1, Relaxed) as usize);
        let others = || ones(self.offered).filter(|&i| i != choice);
        let best = others().min_by_key(|&i| self.time(i));
        let rest = others().filter(|&i| Some(i) != best).count();
        let one = others().filter(|&i| Some(i) != best).nth(looks % rest.max(1));
        let finalists = [Some(choice), best, one].into_iter().flatten().fold(0, |all, i| all | 1 << i);
        self.until.store((2 * self.until.load(Relaxed)).min(SELDOM), Relaxed);
        self.tries.store(LOOKS, Relaxed);
        self.begin(finalists);
    }

    /// Tries all of them as if for the first time, beginning with what is taken now.
    pub(super) fn restart(&self) {
        self.short.store(false, Relaxed);
        self.until.store(LOOK_BACK, Relaxed);
        self.tries.store(TRIES, Relaxed);
        self.begin(self.offered);
    }

    fn begin(&self, candidates: u16) {
        (0..MOST).for_each(|i| self.given[i].store(0, Relaxed));
        self.changes.store(0, Relaxed);
        for i in ones(candidates) {
            self.timed[i].store(0, Relaxed);
            self.least[i].store(NEVER, Relaxed);
            self.second[i].store(NEVER, Relaxed);
        }
        self.trying.store(candidates, Relaxed);
        self.state.store(TRYING, Relaxed);
    }
}

#[cfg(test)]
mod tests;

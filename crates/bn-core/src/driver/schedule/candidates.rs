//! The schedules that are tried: each was the best one somewhere, see docs/schedule.md.

use crate::kernel::{Ahead, Cache, Down, Next, Schedule, Share, Spread, Turns};

/// A schedule with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What reports and files call it; no other one for the same [`Kind`] is called so.
    pub name: &'static str,
    /// The schedule.
    pub schedule: Schedule,
}

/// The most candidates that there are for a kind of tensor.
pub(super) const MOST: usize = 11;

/// The candidates whose bits are set, in their order.
pub(super) fn ones(bits: u16) -> impl Iterator<Item = usize> {
    (0..MOST).filter(move |i| bits >> i & 1 == 1)
}

/// How the values of a feature lie, which decides what a schedule can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Long runs.
    Runs,
    /// Short runs.
    ShortRuns,
    /// One value per feature and strip.
    Rows,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Runs, Self::ShortRuns, Self::Rows];

    /// What reports and files call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::ShortRuns => "short-runs",
            Self::Rows => "rows",
        }
    }

    pub(super) fn of(spread: Spread) -> Self {
        match spread {
            Spread::Run => Self::Runs,
            Spread::Positions(_) => Self::ShortRuns,
            Spread::Phases(_) => Self::Rows,
        }
    }

    /// The candidates that keep outputs in the caches, one bit each.
    pub(super) fn keeping(self) -> u16 {
        let all = self.candidates().iter().enumerate();
        all.filter(|(_, one)| one.schedule.stream_above == NEVER).fold(0, |bits, (i, _)| bits | 1 << i)
    }

    /// What is tried, in this order.
    #[must_use]
    pub fn candidates(self) -> &'static [Candidate] {
        match self {
            Self::Runs => &RUNS,
            Self::ShortRuns => &SHORT_RUNS,
            Self::Rows => &ROWS,
        }
    }
}

const fn into_l1(bytes: usize) -> Ahead {
    Ahead { bytes, into: Cache::L1 }
}

const fn into_l2(bytes: usize) -> Ahead {
    Ahead { bytes, into: Cache::L2 }
}

const fn named(name: &'static str, schedule: Schedule) -> Candidate {
    Candidate { name, schedule }
}

const fn turns(summed: Ahead, mapped: usize, block_bytes: usize, alone: Ahead) -> Schedule {
    Schedule {
        turns: Some(Turns { summed, mapped: into_l1(mapped) }),
        sums: alone,
        next: Next::MapHalf,
        block_bytes,
        ..BASE
    }
}

/// What the others differ from: kernels that ignore hints go by it.
pub(super) const BASE: Schedule = Schedule {
    block_bytes: MIDDLE,
    turns: None,
    stream_above: 1 << 20,
    sums: into_l1(4096),
    down: Down::Across,
    next: Next::Nobody,
    behind: false,
    from_end: 0,
    share: Share { awake: 1 << 18, asleep: 1 << 20, jobs: 4, sums: 64, group: 256, least: 1 << 16 },
};

/// A schedule for tests, see [`Policy::Miniature`](super::Policy::Miniature).
pub(super) fn in_miniature(schedule: Schedule) -> Schedule {
    let stream_above = if schedule.stream_above == NEVER { NEVER } else { 0 };
    let least = 64;
    let share = Share { awake: 0, asleep: 0, least, ..schedule.share };
    Schedule {
        block_bytes: schedule.block_bytes / 64,
        stream_above,
        from_end: schedule.from_end / 64,
        share,
        ..schedule
    }
}

const SMALL: usize = 150 << 10;
const MIDDLE: usize = 300 << 10;
const LARGE: usize = 600 << 10;

/// No output is written past the caches.
const NEVER: usize = usize::MAX;

/// Their places in [`RUNS`].
pub(super) mod runs {
    pub(in super::super) const TURNS_L1: usize = 0;
    pub(in super::super) const TURNS_L2: usize = 1;
    pub(in super::super) const TURNS_CLOSE: usize = 3;
    pub(in super::super) const TURNS_LARGE: usize = 4;
    pub(in super::super) const APART_HALF: usize = 5;
    pub(in super::super) const APART_FAR: usize = 8;
}

const RUNS: [Candidate; 11] = [
    named("turns-l1", turns(into_l1(4096), 1024, MIDDLE, into_l1(4096))),
    named("turns-l2", turns(into_l2(8192), 512, MIDDLE, into_l2(8192))),
    named("turns-l2-small", turns(into_l2(8192), 512, SMALL, into_l2(8192))),
    named("turns-close", turns(into_l2(4096), 0, MIDDLE, into_l2(8192))),
    named("turns-large", turns(into_l2(4096), 0, LARGE, into_l1(4096))),
    named("apart-half", Schedule { next: Next::MapHalf, ..BASE }),
    named("apart-map", Schedule { next: Next::Map, ..BASE }),
    named("apart-map-small", Schedule { next: Next::Map, block_bytes: SMALL, ..BASE }),
    named("apart-far", Schedule { sums: into_l2(16384), ..BASE }),
    named("apart-far-large", Schedule { sums: into_l2(8192), block_bytes: LARGE, ..BASE }),
    named("cached", Schedule { next: Next::MapHalf, stream_above: NEVER, ..BASE }),
];

/// Their places in [`SHORT_RUNS`].
pub(super) mod short_runs {
    pub(in super::super) const SUMS: usize = 1;
    pub(in super::super) const ALONG: usize = 3;
    pub(in super::super) const FAR: usize = 4;
}

const SHORT: Schedule = Schedule { block_bytes: 400 << 10, ..BASE };
const SHORT_SMALL: usize = 200 << 10;
const SHORT_LARGE: usize = 1600 << 10;

const SHORT_RUNS: [Candidate; 8] = [
    named("across", SHORT),
    named("sums", Schedule { next: Next::Sums, ..SHORT }),
    named("sums-small", Schedule { next: Next::Sums, block_bytes: SHORT_SMALL, ..SHORT }),
    named("along", Schedule { down: Down::Along, sums: into_l1(16384), ..SHORT }),
    named("far", Schedule { down: Down::Far, behind: true, block_bytes: SHORT_SMALL, ..SHORT }),
    named("map", Schedule { next: Next::Map, block_bytes: SHORT_SMALL, ..SHORT }),
    named("large", Schedule { block_bytes: SHORT_LARGE, ..SHORT }),
    named("cached", Schedule { next: Next::Sums, stream_above: NEVER, ..SHORT }),
];

/// Their places in [`ROWS`].
pub(super) mod rows {
    pub(in super::super) const ACROSS: usize = 0;
    pub(in super::super) const FAR_BEHIND: usize = 2;
    pub(in super::super) const ALONG: usize = 3;
    pub(in super::super) const ALONG_BEHIND: usize = 4;
    pub(in super::super) const CACHED: usize = 7;
}

const FROM_END: usize = 256 << 10;

const ROWS: [Candidate; 9] = [
    named("across", BASE),
    named("far", Schedule { down: Down::Far, ..BASE }),
    named("far-behind", Schedule { down: Down::Far, behind: true, ..BASE }),
    named("along", Schedule { down: Down::Along, sums: into_l1(16384), ..BASE }),
    named("along-behind", Schedule { down: Down::Along, sums: into_l1(16384), behind: true, ..BASE }),
    named("across-from-end", Schedule { from_end: FROM_END, ..BASE }),
    named("far-from-end", Schedule { down: Down::Far, behind: true, from_end: FROM_END, ..BASE }),
    named("cached", Schedule { stream_above: NEVER, ..BASE }),
    named("cached-far", Schedule { stream_above: NEVER, down: Down::Far, ..BASE }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_schedules_are_told_apart() {
        for kind in Kind::ALL {
            let all = kind.candidates();
            assert!(all.len() <= MOST, "{kind:?}");
            // Threads are counted before a schedule is chosen.
            assert!(all.iter().all(|one| one.schedule.share == BASE.share), "{kind:?}");
            let names: HashSet<_> = all.iter().map(|candidate| candidate.name).collect();
            let schedules: HashSet<_> = all.iter().map(|candidate| candidate.schedule).collect();
            assert_eq!((names.len(), schedules.len()), (all.len(), all.len()), "{kind:?}");
        }
    }

    #[test]
    fn places_are_those_of_the_names() {
        for (candidates, places) in [
            (
                &RUNS[..],
                &[
                    (runs::TURNS_L1, "turns-l1"),
                    (runs::TURNS_L2, "turns-l2"),
                    (runs::TURNS_CLOSE, "turns-close"),
                    (runs::TURNS_LARGE, "turns-large"),
                    (runs::APART_HALF, "apart-half"),
                    (runs::APART_FAR, "apart-far"),
                ][..],
            ),
            (
                &SHORT_RUNS,
                &[(short_runs::SUMS, "sums"), (short_runs::ALONG, "along"), (short_runs::FAR, "far")],
            ),
            (
                &ROWS,
                &[
                    (rows::ACROSS, "across"),
                    (rows::FAR_BEHIND, "far-behind"),
                    (rows::ALONG, "along"),
                    (rows::ALONG_BEHIND, "along-behind"),
                    (rows::CACHED, "cached"),
                ],
            ),
        ] {
            for &(place, name) in places {
                assert_eq!(candidates[place].name, name);
            }
        }
    }
}

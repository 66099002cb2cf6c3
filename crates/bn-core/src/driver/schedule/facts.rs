//! What is known before a step runs, and the first guess that follows: the cost model of docs/schedule.md.

use super::candidates::{BASE, Kind, MOST, rows, runs, short_runs};
use super::class::Task;
use crate::driver::plan::Plan;
use crate::kernel::{Ahead, Down, Form, Next, Schedule};
use crate::mem::Caches;
use crate::num::Element;

/// Of a step: its sizes are in bytes as elements are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) task: Task,
    pub(super) form: Form,
    /// A tensor, and the values of one of its features.
    pub(super) tensor: usize,
    pub(super) feature: usize,
    pub(super) caches: Caches,
}

impl Facts {
    pub(super) fn new<T: Element>(plan: &Plan, task: Task, form: Form) -> Self {
        let size = size_of::<T>();
        let (tensor, feature) = (plan.shape.len() * size, plan.shape.count() * size);
        Self { kind: Kind::of(plan.spread), task, form, tensor, feature, caches: Caches::here() }
    }

    /// What memory moves at least: each tensor once.
    pub(super) fn traffic(&self) -> usize {
        self.tensor * self.task.tensors()
    }

    /// Which candidate to begin with.
    pub(super) fn first(&self) -> usize {
        let Caches { l2, l3, .. } = self.caches;
        let avx512 = self.form.name == "avx512";
        // A last level that is not much larger than L2 belongs to few cores: it is fast, and soon full.
        let near_l3 = l3 <= 64 * l2;
        match self.kind {
            Kind::Runs if !self.form.turns => {
                if self.traffic() > l3 {
                    runs::APART_FAR
                } else {
                    runs::APART_HALF
                }
            }
            Kind::Runs if !avx512 => runs::TURNS_LARGE,
            // Two blocks of one feature do not fit L2.
            Kind::Runs if 2 * self.feature > l2 => runs::TURNS_CLOSE,
            Kind::Runs if !near_l3 => runs::TURNS_L1,
            Kind::Runs if self.task == Task::Forward => runs::TURNS_CLOSE,
            Kind::Runs => runs::TURNS_L2,
            Kind::ShortRuns if !avx512 => short_runs::ALONG,
            Kind::ShortRuns if 4 * self.feature > l2 => short_runs::FAR,
            Kind::ShortRuns => short_runs::SUMS,
            // Rows are read whole, so a block of them stays in no L2.
            Kind::Rows => match (avx512, self.traffic() > 8 * l2) {
                _ if near_l3 && self.tensor <= 2 * l2 => rows::CACHED,
                (true, true) => rows::FAR_BEHIND,
                (true, false) => rows::ACROSS,
                (false, true) => rows::ALONG_BEHIND,
                (false, false) => rows::ALONG,
            },
        }
    }

    /// What a step like this makes of a schedule: choices that it never meets are those of [`BASE`].
    fn effective(&self, schedule: Schedule) -> Schedule {
        let runs = self.kind == Kind::Runs;
        let streams = self.form.follows && self.tensor > schedule.stream_above && self.task.maps();
        let mut seen = Schedule { stream_above: if streams { 0 } else { usize::MAX }, ..schedule };
        if !(runs && self.form.turns && streams && self.task.sums()) {
            seen.turns = None;
        }
        if !self.task.sums() {
            (seen.sums, seen.down) = (Ahead::NONE, Down::Across);
            if seen.next == Next::Sums {
                seen.next = Next::Map;
            }
        }
        if !self.task.maps() {
            (seen.from_end, seen.behind) = (0, false);
            if matches!(seen.next, Next::Map | Next::MapHalf) {
                seen.next = Next::Nobody;
            }
        }
        match (runs, seen.down) {
            (true, _) => seen.down = Down::Across,
            (false, Down::Along) => {}
            (false, _) => seen.sums = BASE.sums,
        }
        // In turns nothing but the first block is summed or mapped alone.
        if seen.turns.is_some() {
            (seen.sums, seen.next) = (BASE.sums, BASE.next);
        }
        seen
    }

    /// Which candidates there are, one bit each: those that this step would tell apart, of outputs kept in the caches only where
    /// these hold a tensor.
    pub(super) fn offered(&self) -> u16 {
        let (all, first) = (self.kind.candidates(), self.first());
        let mut offered = 1 << first;
        if !self.form.follows {
            return offered;
        }
        let mut seen = [const { None }; MOST];
        seen[first] = Some(self.effective(all[first].schedule));
        for (i, candidate) in all.iter().enumerate() {
            let kept = candidate.schedule.stream_above == usize::MAX && self.tensor > self.caches.l3;
            let effective = Some(self.effective(candidate.schedule));
            if !kept && !seen.contains(&effective) {
                (seen[i], offered) = (effective, offered | 1 << i);
            }
        }
        offered
    }

    /// The schedule of a candidate, as the kernels can follow it.
    pub(super) fn schedule(&self, candidate: usize) -> Schedule {
        let wanted = self.kind.candidates()[candidate].schedule;
        let stream_above = if self.form.follows { wanted.stream_above } else { usize::MAX };
        Schedule { turns: wanted.turns.filter(|_| self.form.turns), stream_above, ..wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    const FORM: Form = Form { name: "avx512", follows: true, turns: true };

    fn facts(shape: (usize, usize, usize), task: Task, form: Form) -> Facts {
        let plan = Plan::new(Shape::new(shape.0, shape.1, shape.2).unwrap());
        Facts {
            caches: Caches { l1: 32 << 10, l2: 1 << 20, l3: 32 << 20 },
            ..Facts::new::<f32>(&plan, task, form)
        }
    }

    fn names(facts: Facts) -> Vec<&'static str> {
        let all = facts.kind.candidates().iter().enumerate();
        all.filter(|(i, _)| facts.offered() >> i & 1 == 1).map(|(_, candidate)| candidate.name).collect()
    }

    #[test]
    fn what_a_step_does_not_tell_apart_is_tried_once() {
        let large = facts((32, 256, 3136), Task::Backward, FORM);
        assert_eq!(names(large).len(), 10, "all but those that keep outputs in caches");
        let alone = Form { turns: false, ..FORM };
        assert_eq!(names(facts((32, 256, 3136), Task::Backward, alone)).len(), 8);
        // What is not past the caches takes no turns.
        assert_eq!(names(facts((2, 64, 1024), Task::Forward, FORM)).len(), 8);
        // A map alone has blocks and what it fetches.
        let map = names(facts((32, 256, 3136), Task::Apply, FORM));
        assert_eq!(map[..3], ["turns-l2", "turns-l2-small", "turns-large"]);
        assert_eq!(map[3..], ["apart-map", "apart-map-small", "apart-far", "apart-far-large"]);
    }

    #[test]
    fn kernels_that_ignore_hints_have_one_schedule() {
        let facts = facts((32, 256, 3136), Task::Forward, Form::PLAIN);
        assert_eq!((facts.offered().count_ones(), facts.schedule(0).stream_above), (1, usize::MAX));
    }

    #[test]
    fn the_first_guess_is_always_offered() {
        for shape in
            [(32, 256, 3136), (4, 4, 300_000), (32, 512, 49), (32, 512, 196), (65536, 256, 1), (7, 31, 1)]
        {
            for task in Task::ALL {
                for turns in [false, true] {
                    for name in ["avx512", "avx2", "baseline", "wide"] {
                        let facts = facts(shape, task, Form { name, follows: true, turns });
                        assert!(facts.offered() >> facts.first() & 1 == 1, "{facts:?}");
                    }
                }
            }
        }
    }
}

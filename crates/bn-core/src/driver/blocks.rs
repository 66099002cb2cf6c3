//! The one loop: each block is summed, its sums settled, and then mapped.

use super::convert::Chosen;
use super::cut::{Cut, alignment};
use super::hard::{self, Hard};
use super::onto;
use super::pass::{Pass, join};
use super::plan::Plan;
use super::rooms;
use super::schedule::{self, Policy};
use super::step::{Settled, Step};
use super::target::Target;
use super::workspace::{COEFS, Room, Workspace};
use crate::kernel::{Backend, Executor, KernelSet};
use crate::num::Element;
use crate::tensor::{Strips, StripsMut};
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `step` over its whole tensor.
pub(super) fn run<T: Element, B: Backend>(backend: &B, step: impl Step<T>, workspace: &mut Workspace<T>) {
    run_on((backend.kernels(), backend.exec()), step, workspace);
}

/// As [`run`], with kernels and an executor.
pub(super) fn run_on<T: Element>(
    (set, exec): (&impl KernelSet, &dyn Executor),
    step: impl Step<T>,
    workspace: &mut Workspace<T>,
) {
    let shape = step.shape();
    if shape.is_empty() {
        return step.empty();
    }
    let kernels = Chosen::of(set);
    let plan = Plan::new(shape);
    let step = step.walked(&plan);
    let (task, output) = (step.task(), step.out().map(|out| out.address));
    let threads = schedule::threads_for(exec, shape.len());
    let (policy, form) = (Policy::get(), kernels.get().form());
    let choice = schedule::choose::<T>(policy, &plan, task, form, threads, output);
    let (cut, odd) = (Cut::new::<T>(&plan, choice.schedule), AtomicBool::new(false));
    let pass = Pass { set, exec, kernels: kernels.get(), plan: &plan, cut: &cut, odd: &odd };
    pass.blocks(step, workspace.prepare(&plan, &cut, exec));
    choice.end(odd.into_inner());
}

impl<T: Element, K: KernelSet> Pass<'_, T, K> {
    /// Runs `step` block by block: in parallel as far as there is room and there are blocks, then one by one.
    fn blocks<S: Step<T>>(&self, step: S, mut room: Room<'_, T>) {
        let blocks = step.features().div_ceil(self.cut.block);
        let share_out = blocks > 1 && (self.cut.shares == 1 || blocks >= room.jobs());
        if room.jobs() > 1 && share_out {
            let (head, tail) = self.split(step, blocks / 2 * self.cut.block);
            let (left, right) = room.halves();
            join(self.exec, || self.blocks(head, left), || self.blocks(tail, right));
            return;
        }
        let (mut rest, mut summed) = (step, false);
        while rest.features() > self.cut.block {
            let (head, tail) = self.split(rest, self.cut.block);
            summed = self.block(head, Some(&tail), summed, &mut room);
            rest = tail;
        }
        self.block(rest, None, summed, &mut room);
    }

    /// Puts what passes a gate aside, where the kernels do not go through it themselves.
    fn put_aside<S: Step<T>>(&self, step: &mut S, room: &mut Room<'_, T>) {
        if let Some(forward) = step.again() {
            self.block(forward, None, false, room);
        }
        if let Some((map, out)) = step.before() {
            let cut = &Cut { stream: false, ..*self.cut };
            Pass { cut, ..*self }.map(&map, Target::Fresh(out), [None; 2], 0, room.scratches.len());
        }
    }

    fn split<S: Step<T>>(&self, step: S, feature: usize) -> (S, S) {
        step.split_at(feature, feature * self.plan.shape.inner())
    }

    /// Does a single block, with as many threads as there is room for. `next` is what comes after it, of which it may take
    /// the sums: it says so, and that one is `summed` then, into its scratch.
    fn block<S: Step<T>>(&self, mut step: S, next: Option<&S>, summed: bool, room: &mut Room<'_, T>) -> bool {
        let (plan, set, features) = (self.plan, self.set, step.features());

        // 0. What the sums read and the caller has not.
        step.open(set, &mut room.states[0]);
        self.put_aside(&mut step, room);

        let (scratches, state) = (&mut *room.scratches, &mut room.states[0]);
        let lead = step.out().map_or(0, |out| out.lead);
        let reads_next = next.map_or([None; 2], Step::reads);
        let fetch = self.cut.fetch(reads_next);
        let is_summed = step.sum(None, [&[]; COEFS]).is_some();

        // 1. Sum and settle, perhaps once more around other pilots.
        let (mut summed, mut again) = (summed, false);
        let mut off_centre = !summed && is_summed && step.pilots(set, &mut state.pilots.values[..features]);
        loop {
            let totals = &mut state.totals[..features];
            if std::mem::take(&mut summed) {
                self.sums_beside(&mut scratches[0], totals);
            } else if is_summed {
                let pilots = off_centre.then(|| state.pilots.spread(plan, features, lead));
                let gates = state.gates.spread(step.gates(), plan, features, lead, 0);
                if let Some(sum) = step.sum(pilots, gates) {
                    self.sums((&sum, fetch), scratches, totals);
                }
            }
            if step.settle(set, state, again) == Settled::Yes {
                break;
            }
            (off_centre, again) = (true, true);
        }

        // 2. Coefficients.
        step.coefficients(set, state);

        // 3. Map, where it is for any.
        state.found.clear();
        state.found.extend((0..features).filter(|&f| state.hard[f]));
        state.coefs.silence(&state.found, features);
        let contiguous = step.reads().iter().flatten().all(|strips| strips.as_slice().is_some());
        let fresh = step.target().is_none_or(|to| to.is_fresh());
        let (shift, lead) = match step.out() {
            Some(out) if fresh => alignment::<T>(plan, out, contiguous),
            _ => (0, lead),
        };
        if off_centre || !state.found.is_empty() || !fresh {
            self.odd.store(true, Ordering::Relaxed);
        }
        let coefs = state.coefs.spread(step.used(), plan, features, lead, shift);
        let gates = state.gates.spread(step.gates(), plan, features, lead, shift);
        let mut ready = false;
        let any = state.found.len() < features;
        // Their maps read again what the ordinary one would go over.
        let mut beside = (!fresh && !state.found.is_empty()).then(|| {
            // Room for any block, so that no later step makes more: what is not touched costs nothing.
            let strip = |features| plan.shape.outer() * features * plan.shape.inner();
            let widest = plan.widest::<T::Compute>().min(plan.shape.features());
            &mut rooms::room(&mut room.beside[0], strip(widest))[..strip(features)]
        });
        if let Some((map, out)) = step.map(coefs, gates).filter(|_| any) {
            let opening = (&mut state.beside, &mut state.again[..]);
            let alone = self.cut.stream && is_summed && scratches.len() == 1 && fresh;
            let summing = next.filter(|_| alone).and_then(|next| self.sum_beside(next, features, opening));
            match (out, beside.as_deref_mut(), summing) {
                (Target::Fresh(out), _, Some(sum)) => {
                    self.map_and_sum(&map, out, &sum, &mut scratches[0], features);
                    ready = true;
                }
                (out, Some(beside), _) => {
                    let map = onto::filled(&map, &out);
                    let (cut, to) = (&Cut { stream: false, ..*self.cut }, strips(beside, plan));
                    Pass { cut, ..*self }.map(&map, Target::Fresh(to), [None; 2], 0, scratches.len());
                }
                (out, None, _) => {
                    let ahead = self.cut.ahead(plan, reads_next, is_summed);
                    let cut = &self.cut.beside(plan, state.found.len());
                    Pass { cut, ..*self }.map(&map, out, ahead, shift, scratches.len());
                }
            }
        }

        // 4. Hard features.
        if !state.found.is_empty() {
            if step.is_open() {
                step.close();
                let mut spare = state.spare.take().unwrap_or_default();
                spare.grow(plan, features);
                let states = std::slice::from_mut(&mut *spare);
                self.put_aside(&mut step, &mut Room { scratches: &mut *scratches, states, beside: &mut [] });
                state.spare = Some(spare);
            }
            let desk = state.desk.get_or_insert_default();
            let (inner, long) = (plan.shape.inner(), plan.shape.features() == 1 && plan.phases() > 1);
            for features in state.found.chunks(hard::fitting(inner)) {
                let to = beside.as_deref_mut().map(|beside| strips(beside, plan));
                step.hard(Hard { set, features, inner, long, desk: &mut *desk }, &state.totals, to);
            }
        }
        if let (Some(beside), Some(mut to)) = (beside, step.target()) {
            let values = Strips::from_slice(beside, to.rows(), to.len());
            to.put_all(&values.unwrap_or_else(|| unreachable!("{LONG_ENOUGH}")));
        }
        ready
    }
}

/// A block's strips, beside its output.
fn strips<'s, T: Element>(beside: &'s mut [T], plan: &Plan) -> StripsMut<'s, T> {
    let (rows, len) = (plan.shape.outer(), beside.len() / plan.shape.outer());
    StripsMut::from_output(beside.into(), rows, len).unwrap_or_else(|| unreachable!("{LONG_ENOUGH}"))
}

const LONG_ENOUGH: &str = "room for a block";

//! The driver: blocks of features, each reduced and then mapped while it is in cache, as jobs for an executor.
//!
//! A tensor's way through it: [`forward`] or [`backward`] makes one job of the whole tensor. [`run`] halves
//! it along its features and hands the halves to the executor, until each job has a scratch of its own; such
//! a job goes through its blocks one after the other. A block is summed segment by segment ([`reduce`]), the
//! sums become coefficients ([`crate::coef`]), and the coefficients map the block. Where there are too few
//! blocks to share out, a block's segments are summed, and its rows mapped, at the same time.

mod backward;
mod columns;
mod forward;
mod reduce;

pub(crate) use backward::{Backward, backward};
pub(crate) use forward::{Forward, forward};
pub(crate) use reduce::Sums;

use crate::element::{Element, Real};
use crate::exec::{Backend, Executor};
use crate::kernels::{Fetch, Hints, Kernels};
use crate::plan::{Part, Plan, Spread};
use crate::shape::Shape;
use crate::stream::{L2_BYTES, LINE};
use crate::strips::{Strips, StripsMut};
use crate::workspace::Scratch;
use std::ops::Range;

/// Jobs made ready per closure that can run at once, so that an uneven machine can balance them.
const JOBS_PER_WORKER: usize = 4;
/// What is mapped in one call of a block that does not stay in L2.
const PIECE_BYTES: usize = 256 << 10;
/// How many scratches a workspace needs for an executor.
pub(crate) fn scratches(exec: &impl Executor, plan: &Plan) -> usize {
    if !exec.is_worth(plan.shape.len()) || exec.width() == 1 {
        return 1;
    }
    let blocks = plan.shape.features().div_ceil(plan.block).max(1);
    (exec.width() * JOBS_PER_WORKER).min(blocks.max(plan.segments))
}

/// Work on a range of features that can be cut into work on two.
trait Job<R: Real>: Sized + Send {
    fn features(&self) -> usize;
    fn split_at(self, feature: usize) -> (Self, Self);
    /// Does a single block, with as many threads as there are scratches. `next` is what comes after it. `summed` says that
    /// the lanes hold the block's sums, and so does the answer for the next one's.
    fn run(
        self,
        backend: &impl Backend,
        scratches: &mut [Scratch<R>],
        next: Option<&Self>,
        summed: bool,
    ) -> bool;
}

/// Runs `job` in blocks of `plan.block` features: in parallel as far as there are scratches and blocks, then
/// one by one.
fn run<R: Real, J: Job<R>>(backend: &impl Backend, plan: &Plan, job: J, scratches: &mut [Scratch<R>]) {
    let blocks = job.features().div_ceil(plan.block);
    let share_out = blocks > 1 && (plan.segments == 1 || blocks >= scratches.len());
    if scratches.len() > 1 && share_out {
        let (head, tail) = job.split_at(blocks / 2 * plan.block);
        let (left, right) = scratches.split_at_mut(scratches.len() / 2);
        backend.exec().join(|| run(backend, plan, head, left), || run(backend, plan, tail, right));
        return;
    }
    let (mut rest, mut summed) = (job, false);
    while rest.features() > plan.block {
        let (head, tail) = rest.split_at(plan.block);
        summed = head.run(backend, scratches, Some(&tail), summed);
        rest = tail;
    }
    rest.run(backend, scratches, None, summed);
}

/// The columns of the next block, if it is worth fetching them while this one is in work: two blocks of every input must
/// fit L2 side by side.
fn beside_in_l2<'a, T: Copy>(plan: &Plan, next: Strips<'a, T>, inputs: usize) -> Option<Strips<'a, T>> {
    let cols = (plan.block * plan.shape.inner()).min(next.len());
    (next.rows() * cols * size_of::<T>() * inputs * 2 <= L2_BYTES).then(|| next.columns(0..cols))
}

/// Whether that is fetched by the sums, which compute, and not by the map, which waits for memory anyway: the sums of short
/// runs go down the strips and need nothing fetched along them.
fn sums_fetch_next(plan: &Plan) -> bool {
    matches!(plan.spread, Spread::Positions(_))
}

/// What a block's sums fetch meanwhile.
fn fetch<T: Copy>(plan: &Plan, next: Option<Strips<'_, T>>, inputs: usize) -> Fetch {
    match next.and_then(|next| beside_in_l2(plan, next, inputs)) {
        Some(_) if sums_fetch_next(plan) => Fetch::Behind,
        _ if plan.far => Fetch::Far,
        _ => Fetch::Near,
    }
}

/// What of the next block is fetched while this one is mapped. `summed` says that it was summed before.
fn ahead<'a, T: Copy>(
    plan: &Plan,
    next: Strips<'a, T>,
    inputs: usize,
    summed: bool,
) -> Option<Strips<'a, T>> {
    if summed && sums_fetch_next(plan) { None } else { beside_in_l2(plan, next, inputs) }
}

/// The columns of the block that begins where `next` does, if the kernels sum it while they map one of `cols` columns: runs
/// that are written past the caches by a single thread, in blocks of the same size.
fn beside<'a, T: Element>(
    plan: &Plan,
    kernels: &dyn Kernels<T::Compute>,
    next: Strips<'a, T>,
    cols: usize,
) -> Option<Strips<'a, T>> {
    let along_runs = plan.spread == Spread::Run && plan.segments == 1;
    (kernels.overlaps() && along_runs && next.len() >= cols).then(|| next.columns(0..cols))
}

/// How a part of a block goes about its memory. What is fetched meanwhile is what there is of the `next` block, or, where
/// no cache holds the tensor, what lies behind each strip of the part's `own` inputs.
fn hints<'a, T: Copy>(
    plan: &Plan,
    stream: bool,
    part: &Part,
    next: [Option<Strips<'a, T>>; 2],
    own: [Option<Strips<'a, T>>; 2],
) -> Hints<'a, T> {
    // A beginning has no whole cache line, and a fence costs more than it.
    let stream = stream && part.start == 0;
    let sparse = next[0].is_some() && plan.spread == Spread::Run;
    let behind = |x: Strips<'a, T>| (plan.far && x.rows() > 1).then(|| x.rows_range(1..x.rows()));
    let [[next_x, next_dy], [x, dy]] = [next, own];
    Hints {
        stream,
        next: [next_x.or_else(|| x.and_then(behind)), next_dy.or_else(|| dy.and_then(behind))],
        sparse,
    }
}

/// γ and β per feature; empty slices stand for 1 and 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params<'a, R> {
    pub(crate) weight: &'a [R],
    pub(crate) bias: &'a [R],
}

impl<R: Real> Params<'_, R> {
    fn get(&self, f: usize) -> (R, R) {
        let weight = self.weight.get(f).copied().unwrap_or(R::from_f64(1.0));
        (weight, self.bias.get(f).copied().unwrap_or_default())
    }

    #[inline(always)]
    fn copy_weight(&self, to: &mut [R]) {
        if self.weight.is_empty() { to.fill(R::from_f64(1.0)) } else { to.copy_from_slice(self.weight) }
    }

    #[inline(always)]
    fn copy_bias(&self, to: &mut [R]) {
        if self.bias.is_empty() { to.fill(R::default()) } else { to.copy_from_slice(self.bias) }
    }

    fn split_at(self, f: usize) -> (Self, Self) {
        let (weight, weight1) = self.weight.split_at(f.min(self.weight.len()));
        let (bias, bias1) = self.bias.split_at(f.min(self.bias.len()));
        (Self { weight, bias }, Self { weight: weight1, bias: bias1 })
    }
}

/// `strips` of the tensor `shape` as the plan walks them; they must be contiguous where it walks another shape.
fn walked<'a, T: Copy>(plan: &Plan, shape: Shape, strips: Strips<'a, T>) -> Strips<'a, T> {
    if plan.shape == shape {
        return strips;
    }
    strips.as_slice().and_then(|s| plan.shape.strips(s)).unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"))
}

/// As [`walked`], to write.
fn walked_mut<'a, T>(plan: &Plan, shape: Shape, strips: StripsMut<'a, T>) -> StripsMut<'a, T> {
    if plan.shape == shape {
        return strips;
    }
    let slice = strips.into_slice();
    slice.and_then(|s| plan.shape.strips_mut(s)).unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"))
}

const NEEDS_CONTIGUOUS: &str = "strided strips reach the driver only where Plan::takes_strides";

/// `strips` as the kernels get them, see [`Plan::parts`].
fn parts<'a, T: Copy>(plan: &Plan, strips: Strips<'a, T>, shift: usize) -> [(Part, Strips<'a, T>); 3] {
    let parts = plan.parts(strips.rows(), strips.len(), shift);
    if plan.phases() == 1 && shift == 0 {
        return parts.map(|part| (part, strips.rows_range(0..part.rows)));
    }
    let mut rest = strips.as_slice().unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"));
    parts.map(|part| {
        let (values, behind) = rest.split_at(part.rows * part.len);
        rest = behind;
        let strips = Strips::from_slice(values, part.rows, part.len);
        (part, strips.unwrap_or_else(|| unreachable!("cut to length")))
    })
}

/// As [`parts`], to write.
fn parts_mut<'a, T>(plan: &Plan, strips: StripsMut<'a, T>, shift: usize) -> [StripsMut<'a, T>; 3] {
    let parts = plan.parts(strips.rows(), strips.len(), shift);
    if plan.phases() == 1 && shift == 0 {
        let (first, behind) = strips.split_rows(parts[0].rows);
        let (second, third) = behind.split_rows(parts[1].rows);
        return [first, second, third];
    }
    let mut rest = strips.into_slice().unwrap_or_else(|| unreachable!("{NEEDS_CONTIGUOUS}"));
    parts.map(|part| {
        let (values, behind) = std::mem::take(&mut rest).split_at_mut(part.rows * part.len);
        rest = behind;
        StripsMut::from_slice(values, part.rows, part.len).unwrap_or_else(|| unreachable!("cut to length"))
    })
}

/// How many elements late the rows of a block begin where its maps write them, see [`Plan::parts`], and how many elements
/// of a row of coefficients then come before a cache line. Rows are shifted so that they begin with a line, where all of
/// them then do and nothing lies between them.
fn alignment<T>(plan: &Plan, out: &StripsMut<'_, T>, contiguous: bool) -> (usize, usize) {
    let line = LINE / size_of::<T>();
    let row = out.len() * plan.phases();
    let aligned = matches!(plan.spread, Spread::Phases(_)) && row > line && row.is_multiple_of(line);
    if aligned && contiguous && out.is_contiguous() { (out.lead() % line, 0) } else { (0, out.lead()) }
}

/// Hands `out` and the range of its rows to `map`, cut into `jobs` ranges of whole phases to be run at once.
fn map_rows<T: Send>(
    exec: &impl Executor,
    plan: &Plan,
    jobs: usize,
    rows: Range<usize>,
    out: StripsMut<'_, T>,
    map: &(impl Fn(Range<usize>, StripsMut<'_, T>) + Sync),
) {
    let groups = rows.len() / plan.phases();
    if jobs < 2 || groups < 2 {
        // Of a part there is no saying whose L2 it was summed in.
        let whole = rows.len() == plan.shape.outer();
        return if whole { backwards(plan, rows, out, map) } else { map(rows, out) };
    }
    let cut = groups / 2 * plan.phases();
    let (head, tail) = out.split_rows(cut);
    let (first, second) = (rows.start..rows.start + cut, rows.start + cut..rows.end);
    exec.join(
        || map_rows(exec, plan, jobs / 2, first, head, map),
        || map_rows(exec, plan, jobs - jobs / 2, second, tail, map),
    );
}

/// Hands `out` and the range of its rows to `map`. What does not stay in L2 goes piece by piece, the last rows first:
/// they were read last and are the likeliest to be still there. Of many times L2 too little is there to be worth it.
fn backwards<T: Send>(
    plan: &Plan,
    rows: Range<usize>,
    out: StripsMut<'_, T>,
    map: &(impl Fn(Range<usize>, StripsMut<'_, T>) + Sync),
) {
    let row = (out.len() * size_of::<T>()).max(1);
    if !(L2_BYTES / 2..=4 * L2_BYTES).contains(&(rows.len() * row)) {
        return map(rows, out);
    }
    let piece = (PIECE_BYTES / row).max(1).next_multiple_of(plan.phases());
    let (mut out, mut end) = (out, rows.end);
    while end > rows.start + piece {
        let cut = rows.start + (end - rows.start - 1) / piece * piece;
        let (head, tail) = out.split_rows(cut - rows.start);
        map(cut..end, tail);
        (out, end) = (head, cut);
    }
    map(rows.start..end, out);
}

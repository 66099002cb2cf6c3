//! Sums of a block: kernels fill virtual lanes, unit by unit; the lanes of a unit are folded in one fixed tree, and the
//! units are merged in [another](super::tree), whoever summed them.

use super::pass::Pass;
use super::plan::{Plan, Unit};
use super::tree::{Node, Of};
use super::workspace::Scratch;
use crate::kernel::{Acc, Backend, Executor, Fetch, Plane, Spread, Sum, Tile, Walk};
use crate::maths::Totals;
use crate::num::{Element, Real, Wide};

/// Writes the two sums of each of `totals.len()` features over a node. With several scratches both of its halves are summed
/// at the same time.
pub(super) fn reduce<T: Element, B: Backend>(
    pass: &Pass<'_, T, B>,
    (sum, fetch): (&Sum<'_, T>, Fetch),
    node: Node,
    scratches: &mut [Scratch<T::Compute>],
    totals: &mut [Totals<T::Compute>],
) {
    let last = scratches.len() - 1;
    if let (Of::Both(first, second), 1..) = (pass.plan.tree.of(node), last) {
        let mut others = scratches[last].set(totals.len());
        let (left, right) = scratches.split_at_mut(scratches.len() / 2);
        pass.backend.exec().join(
            || reduce(pass, (sum, fetch), first, left, totals),
            || reduce(pass, (sum, fetch), second, right, &mut others),
        );
        merge::<T::Compute>(totals, &others);
        return scratches[last].partials.push(others);
    }
    let scratch = &mut scratches[0];
    let mut lanes = std::mem::take(&mut scratch.lanes);
    each_unit(pass.plan, node, scratch, totals, &mut |unit, totals, add| {
        let mut acc = empty::<T::Compute>(pass.plan, &unit, &mut lanes, totals.len());
        sum_unit(pass, (sum, fetch), &unit, &mut acc);
        fold::<T::Compute>(pass.plan, &unit, &mut lanes, totals, add);
    });
    scratch.lanes = lanes;
}

/// Goes over the units of `node` in order. `each` puts the sums of one into a slice of totals, or, where it is told so, adds them
/// there.
pub(super) fn each_unit<R: Real>(
    plan: &Plan,
    node: Node,
    scratch: &mut Scratch<R>,
    totals: &mut [Totals<R>],
    each: &mut impl FnMut(Unit, &mut [Totals<R>], bool),
) {
    let (first, second) = match plan.tree.of(node) {
        Of::Unit { leaf, piece } => return each(plan.unit(leaf, piece), totals, false),
        Of::Both(first, second) => (first, second),
    };
    each_unit(plan, first, scratch, totals, each);
    if let Of::Unit { leaf, piece } = plan.tree.of(second) {
        return each(plan.unit(leaf, piece), totals, true);
    }
    // The sums of a half that waits for its other one: as many sets are kept as wait at once.
    let mut others = scratch.set(totals.len());
    each_unit(plan, second, scratch, &mut others, each);
    merge::<R>(totals, &others);
    scratch.partials.push(others);
}

/// Adds what the second half of a node has to what its first one has.
fn merge<R: Real>(totals: &mut [Totals<R>], others: &[Totals<R>]) {
    for (total, other) in totals.iter_mut().zip(others) {
        *total = (total.0 + other.0, total.1 + other.1);
    }
}

/// Adds a unit of a block's strips to its lanes.
fn sum_unit<T: Element, B: Backend>(
    pass: &Pass<'_, T, B>,
    (sum, fetch): (&Sum<'_, T>, Fetch),
    Unit { rows, run }: &Unit,
    acc: &mut Acc<'_>,
) {
    let (plan, inner) = (pass.plan, pass.plan.shape.inner());
    let len = sum.inputs()[0].map_or(0, |strips| strips.len());
    if let Some(run) = run {
        for f in 0..len / inner {
            let cols = f * inner + run.start..f * inner + run.end;
            let sum = sum.over::<T>(|strips| strips.piece(rows.start, cols.clone()), |pilots| &pilots[f..=f]);
            let tile = Tile { features: 1, walk: Walk::Runs { inner: run.len() } };
            pass.kernels.sum(tile, &sum, fetch, acc.from_lane(f * T::Compute::LANES));
        }
        return;
    }
    for part in plan.parts(rows.len(), len, 0).into_iter().filter(|part| part.rows > 0) {
        let sum = sum.over::<T>(
            |strips| part.of(strips.rows_range(rows.clone())),
            |pilots| &pilots[..part.tile.features],
        );
        pass.kernels.sum(part.tile, &sum, fetch, acc.from_lane(0));
    }
}

/// The lanes of a feature that a unit adds to: of joined rows those that it has.
fn used_lanes<R: Real>(plan: &Plan, unit: &Unit) -> usize {
    match plan.spread {
        Spread::Run => R::LANES,
        Spread::Positions(n) => n,
        Spread::Phases(n) => n.min(unit.rows.len()),
    }
}

/// Lanes for the sums of `features` features over a unit, all zero.
pub(super) fn empty<'l, R: Real>(plan: &Plan, unit: &Unit, lanes: &'l mut [f64], features: usize) -> Acc<'l> {
    let width = features * used_lanes::<R>(plan, unit);
    let used = &mut lanes[..2 * R::Wide::PARTS * width];
    used.fill(0.0);
    Acc::new(used, width)
}

/// The sums that `lanes` hold of a unit, or with `add`, what is in `totals` and them.
pub(super) fn fold<R: Real>(
    plan: &Plan,
    unit: &Unit,
    lanes: &mut [f64],
    totals: &mut [Totals<R>],
    add: bool,
) {
    let used = used_lanes::<R>(plan, unit);
    let width = totals.len() * used;
    let mut acc = Acc::new(&mut lanes[..2 * R::Wide::PARTS * width], width);
    let run = if let Spread::Phases(phases) = plan.spread {
        acc.first.fold_rows::<R>(totals.len(), phases, used);
        acc.second.fold_rows::<R>(totals.len(), phases, used);
        1
    } else {
        acc.first.fold_runs::<R>(totals.len(), used);
        acc.second.fold_runs::<R>(totals.len(), used);
        used
    };
    let value = |f| (acc.first.value::<R>(f * run), acc.second.value::<R>(f * run));
    for (f, sum) in totals.iter_mut().enumerate() {
        let (first, second) = value(f);
        *sum = if add { (sum.0 + first, sum.1 + second) } else { (first, second) };
    }
}

/// The tree: with n sums left, sum i takes in sum i + ⌈n/2⌉.
impl Plane<'_> {
    #[inline(always)]
    fn value<R: Real>(&self, lane: usize) -> R::Wide {
        if R::Wide::PARTS == 1 {
            return R::Wide::from_parts(self.hi[lane], 0.0);
        }
        let (hi, lo) = (self.hi[lane], self.lo[lane]);
        // The remainder of a product with a factor above 2⁹⁹⁶ is NaN: then the sum is lost, though its leading part is finite.
        R::Wide::from_parts(if lo.is_nan() & hi.is_finite() { lo } else { hi }, lo)
    }

    /// Σ of each of `runs` runs of `len` lanes, into the first of them. All runs are halved before one is halved again:
    /// what was stored just now, in other pieces, is slow to load.
    fn fold_runs<R: Real>(&mut self, runs: usize, len: usize) {
        let mut n = len;
        while n > 1 {
            let half = n.div_ceil(2);
            let starts = (0..runs * len).step_by(len);
            if R::Wide::PARTS > 1 {
                for start in starts {
                    for i in start..start + n - half {
                        self.take_in::<R>(i, i + half);
                    }
                }
            } else if n > FEW {
                for start in starts {
                    halve(&mut self.hi[start..start + n], half);
                }
            } else {
                return fold_few(self.hi, runs, len, n);
            }
            n = half;
        }
    }

    #[inline(always)]
    fn take_in<R: Real>(&mut self, i: usize, other: usize) {
        let (hi, lo) = (self.value::<R>(i) + self.value::<R>(other)).parts();
        self.hi[i] = hi;
        if R::Wide::PARTS > 1 {
            self.lo[i] = lo;
        }
    }

    /// Σ over `rows` rows of `features` lanes, of which the first `used` are there and the others would be zeros, into the first
    /// of them. No sum is ever −0, so that adding a zero changes nothing.
    fn fold_rows<R: Real>(&mut self, features: usize, rows: usize, used: usize) {
        let (mut n, mut used) = (rows, used);
        while n > 1 {
            let half = n.div_ceil(2);
            if used > half && R::Wide::PARTS == 1 {
                halve(&mut self.hi[..used * features], half * features);
            } else {
                for i in 0..used.saturating_sub(half) * features {
                    self.take_in::<R>(i, i + half * features);
                }
            }
            (n, used) = (half, used.min(half));
        }
    }
}

/// Adds to each of the first numbers of `run` the one `half` behind it, in pieces that become vectors.
#[inline(always)]
fn halve(run: &mut [f64], half: usize) {
    let (sums, others) = run.split_at_mut(half);
    let mut sums = sums[..others.len()].chunks_exact_mut(4);
    let mut others = others.chunks_exact(4);
    for (sums, others) in sums.by_ref().zip(others.by_ref()) {
        add(sums, others);
    }
    add(sums.into_remainder(), others.remainder());
}

#[inline(always)]
fn add(sums: &mut [f64], others: &[f64]) {
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

/// So many lanes are folded in straight code.
const FEW: usize = 16;

/// Folds the first `n` of every `len` lanes, more than one and at most [`FEW`].
fn fold_few(lanes: &mut [f64], runs: usize, len: usize, n: usize) {
    let runs = lanes[..runs * len].chunks_exact_mut(len);
    macro_rules! lengths {
        ($($length:literal)*) => {
            match n {
                $($length => runs.for_each(|run| fold_run::<$length>(run)),)*
                _ => unreachable!("{n} lanes are not 2 to {FEW}"),
            }
        };
    }
    lengths!(2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

#[inline(always)]
fn fold_run<const N: usize>(run: &mut [f64]) {
    let (run, mut n) = (&mut run[..N], N);
    while n > 1 {
        let half = n.div_ceil(2);
        for i in 0..n - half {
            run[i] += run[i + half];
        }
        n = half;
    }
}

//! Sums of a block: kernels fill virtual lanes, segment by segment; the lanes are folded in one fixed tree and
//! the segments in another, whoever summed them.

use super::pass::Pass;
use super::plan::Plan;
use super::workspace::Scratch;
use crate::kernel::{Acc, Backend, Executor, Fetch, Plane, Spread, Sum};
use crate::maths::Totals;
use crate::num::{Element, Real, Wide};
use std::ops::Range;

/// Writes the two sums of each of `totals.len()` features, or with `add` adds a single segment's to them: of the segments
/// `range`, those of its first half and those of its second. With several scratches both are summed at the same time.
pub(super) fn reduce<T: Element, B: Backend>(
    pass: &Pass<'_, T, B>,
    (sum, fetch): (&Sum<'_, T>, Fetch),
    range: Range<usize>,
    scratches: &mut [Scratch<T::Compute>],
    totals: &mut [Totals<T::Compute>],
    add: bool,
) {
    let plan = pass.plan;
    if range.len() == 1 {
        let lanes = &mut scratches[0].lanes;
        let (rows, len) = (plan.segment(range.start), sum.inputs()[0].map_or(0, |strips| strips.len()));
        let mut acc = empty::<T::Compute>(plan, lanes, totals.len());
        for part in plan.parts(rows.len(), len, 0).into_iter().filter(|part| part.rows > 0) {
            let sum = sum.over::<T>(
                |strips| part.of(strips.rows_range(rows.clone())),
                |pilots| &pilots[..part.tile.features],
            );
            pass.kernels.sum(part.tile, &sum, fetch, acc.from_lane(0));
        }
        return fold::<T::Compute>(plan, lanes, totals, add);
    }
    let (first, second) = halves(range);
    let alone = scratches.len() == 1;
    if alone {
        reduce(pass, (sum, fetch), first.clone(), scratches, totals, false);
        if second.len() == 1 {
            return reduce(pass, (sum, fetch), second, scratches, totals, true);
        }
    }
    // The sums of a half that waits for its other one: as many sets are kept as wait at once.
    let last = scratches.len() - 1;
    let mut others = scratches[last].partials.pop().unwrap_or_default();
    others.resize(totals.len(), Default::default());
    if alone {
        reduce(pass, (sum, fetch), second, scratches, &mut others, false);
    } else {
        let (left, right) = scratches.split_at_mut(scratches.len() / 2);
        pass.backend.exec().join(
            || reduce(pass, (sum, fetch), first, left, totals, false),
            || reduce(pass, (sum, fetch), second, right, &mut others, false),
        );
    }
    for (total, other) in totals.iter_mut().zip(&others) {
        *total = (total.0 + other.0, total.1 + other.1);
    }
    scratches[last].partials.push(others);
}

fn halves(range: Range<usize>) -> (Range<usize>, Range<usize>) {
    let cut = range.start + range.len() / 2;
    (range.start..cut, cut..range.end)
}

/// Lanes for the sums of `features` features, all zero.
pub(super) fn empty<'l, R: Real>(plan: &Plan, lanes: &'l mut [f64], features: usize) -> Acc<'l> {
    let width = plan.lanes::<R>(features);
    let used = &mut lanes[..2 * R::Wide::PARTS * width];
    used.fill(0.0);
    Acc::new(used, width)
}

/// The sums that `lanes` hold of a segment, or with `add`, what is in `totals` and them.
pub(super) fn fold<R: Real>(plan: &Plan, lanes: &mut [f64], totals: &mut [Totals<R>], add: bool) {
    let width = plan.lanes::<R>(totals.len());
    let mut acc = Acc::new(&mut lanes[..2 * R::Wide::PARTS * width], width);
    if let Spread::Phases(_) = plan.spread {
        acc.first.fold_rows::<R>(totals.len());
        acc.second.fold_rows::<R>(totals.len());
    }
    let run = match plan.spread {
        Spread::Run => R::LANES,
        Spread::Positions(n) => n,
        Spread::Phases(_) => 1,
    };
    acc.first.fold_runs::<R>(totals.len(), run);
    acc.second.fold_runs::<R>(totals.len(), run);
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

    /// Σ over rows of `features` lanes, into the first of them.
    fn fold_rows<R: Real>(&mut self, features: usize) {
        let mut n = self.hi.len() / features.max(1);
        while n > 1 {
            let half = n.div_ceil(2);
            for i in 0..(n - half) * features {
                self.take_in::<R>(i, i + half * features);
            }
            n = half;
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

//! Sums of a block: kernels fill virtual lanes, unit by unit; the lanes of a unit are folded in one fixed tree, and the
//! units are merged in [another](super::tree), whoever summed them.

use super::pass::{Pass, join};
use super::plan::{Plan, Unit};
use super::tree::{Node, Of, Tree};
use super::workspace::{Scratch, set_of};
use crate::kernel::{Acc, Fetch, KernelSet, Plane, Spread, Sum, sum_piece};
use crate::maths::Totals;
use crate::num::{Element, Real, Wide};

impl<T: Element, K: KernelSet> Pass<'_, T, K> {
    /// Writes the two sums of each of a block's features into `totals`, as `sum` takes them. With several scratches the halves of a node
    /// are summed at the same time.
    pub(super) fn sums(
        &self,
        sum: (&Sum<'_, T>, Fetch),
        scratches: &mut [Scratch],
        totals: &mut [Totals<T::Compute>],
    ) {
        let (root, features) = (self.plan.tree.root(), totals.len());
        if let Of::Unit { leaf, piece } = self.plan.tree.of(root) {
            let (unit, lanes) = (self.plan.unit(leaf, piece), &mut scratches[0].lanes);
            let mut acc = empty::<T::Compute>(self.plan, &unit, lanes, features);
            sum_unit(self, sum, &unit, &mut acc);
            let step = self.folded(&mut acc, features);
            return unpack::<T::Compute>(&acc, step, totals);
        }
        let mut sums = scratches[0].set(set_of::<T::Compute>(features));
        reduce(self, sum, root, scratches, (&mut sums, features));
        unpack::<T::Compute>(&Acc::new(&mut sums, features), 1, totals);
        scratches[0].partials.push(sums);
    }

    /// The sums that were taken while the block before was mapped.
    pub(super) fn sums_beside(&self, scratch: &mut Scratch, totals: &mut [Totals<T::Compute>]) {
        let sums = &mut scratch.beside[..set_of::<T::Compute>(totals.len())];
        unpack::<T::Compute>(&Acc::new(sums, totals.len()), 1, totals);
    }
}

/// Puts the sums of each of `features` features over a node into `sums`, which are planes as an accumulator's.
fn reduce<T: Element, K: KernelSet>(
    pass: &Pass<'_, T, K>,
    (sum, fetch): (&Sum<'_, T>, Fetch),
    node: Node,
    scratches: &mut [Scratch],
    (sums, features): (&mut Vec<f64>, usize),
) {
    let last = scratches.len() - 1;
    if let (Of::Both(first, second), 1..) = (pass.plan.tree.of(node), last) {
        let mut others = scratches[last].set(sums.len());
        let (left, right) = scratches.split_at_mut(scratches.len() / 2);
        join(
            pass.exec,
            || reduce(pass, (sum, fetch), first, left, (sums, features)),
            || reduce(pass, (sum, fetch), second, right, (&mut others, features)),
        );
        pass.merge(sums, &mut others, features);
        return scratches[last].partials.push(others);
    }
    let scratch = &mut scratches[0];
    let mut lanes = std::mem::take(&mut scratch.lanes);
    let mut merging = Merging::new(node);
    while let Some((leaf, piece)) = merging.next(pass.plan.tree) {
        let unit = pass.plan.unit(leaf, piece);
        let mut acc = empty::<T::Compute>(pass.plan, &unit, &mut lanes, features);
        sum_unit(pass, (sum, fetch), &unit, &mut acc);
        merging.take(pass, scratch, &mut acc, features);
    }
    std::mem::swap(sums, &mut scratch.waiting[0]);
    scratch.partials.extend(scratch.waiting.pop());
    scratch.lanes = lanes;
}

/// The merging of a node's units, which come in order: sums wait until their siblings are there, as the bits of a counter do.
pub(super) struct Merging {
    /// What is merged.
    node: Node,
    /// The next unit, if there is one.
    slot: usize,
}

impl Merging {
    pub(super) fn new(node: Node) -> Self {
        Self { node, slot: node.index << node.level }
    }

    /// Which unit comes next.
    pub(super) fn next(&self, tree: Tree) -> Option<(usize, usize)> {
        (self.slot >> self.node.level == self.node.index).then(|| tree.unit(self.slot))
    }

    /// Takes the lanes of the next unit.
    pub(super) fn take<T: Element, K: KernelSet>(
        &mut self,
        pass: &Pass<'_, T, K>,
        scratch: &mut Scratch,
        lanes: &mut Acc<'_>,
        features: usize,
    ) {
        let tree = pass.plan.tree;
        let step = pass.folded(lanes, features);
        let mut node = Node { level: 0, index: self.slot };
        if node.index % 2 == 1 && self.node.level > 0 {
            if let Some(first) = scratch.waiting.last_mut() {
                pass.put(lanes, step, (first, features), true);
            }
            node = node.parent();
        } else {
            let mut set = scratch.set(set_of::<T::Compute>(features));
            pass.put(lanes, step, (&mut set, features), false);
            scratch.waiting.push(set);
        }
        while node.level < self.node.level && (node.index % 2 == 1 || !tree.has(node.sibling())) {
            if node.index % 2 == 1
                && let Some(mut second) = scratch.waiting.pop()
            {
                if let Some(first) = scratch.waiting.last_mut() {
                    pass.merge(first, &mut second, features);
                }
                scratch.partials.push(second);
            }
            node = node.parent();
        }
        // Behind a whole node comes what its sibling begins with.
        self.slot = (node.index + 1) << node.level;
    }
}

impl<T: Element, K: KernelSet> Pass<'_, T, K> {
    /// Adds what the second half of a node has to what its first one has.
    fn merge(&self, sums: &mut [f64], others: &mut [f64], features: usize) {
        self.put(&Acc::new(others, features), 1, (sums, features), true);
    }

    /// Puts the sums of `from`, those of features `step` apart, into `sums`, or with `add`, adds them.
    fn put(&self, from: &Acc<'_>, step: usize, (sums, features): (&mut [f64], usize), add: bool) {
        self.set.vectorize(
            #[inline(always)]
            || {
                let mut to = Acc::new(sums, features);
                to.first.take_all::<T::Compute>(&from.first, step, add);
                to.second.take_all::<T::Compute>(&from.second, step, add);
            },
        );
    }

    /// Folds the lanes of a unit, and says how far apart the sums of features are.
    fn folded(&self, lanes: &mut Acc<'_>, features: usize) -> usize {
        let (spread, used) = (self.plan.spread, lanes.first.hi.len() / features.max(1));
        self.set.vectorize(
            #[inline(always)]
            || {
                lanes.first.fold::<T::Compute>(spread, used, features);
                lanes.second.fold::<T::Compute>(spread, used, features);
            },
        );
        if let Spread::Phases(_) = spread { 1 } else { used }
    }
}

/// The sums that planes hold, of features `step` apart.
fn unpack<R: Real>(sums: &Acc<'_>, step: usize, totals: &mut [Totals<R>]) {
    for (f, total) in totals.iter_mut().enumerate() {
        *total = (sums.first.value::<R>(f * step), sums.second.value::<R>(f * step));
    }
}

/// Adds a unit of a block's strips to its lanes.
fn sum_unit<T: Element, K: KernelSet>(
    pass: &Pass<'_, T, K>,
    (sum, fetch): (&Sum<'_, T>, Fetch),
    Unit { rows, run }: &Unit,
    acc: &mut Acc<'_>,
) {
    let (plan, inner) = (pass.plan, pass.plan.shape.inner());
    let len = sum.inputs()[0].map_or(0, |strips| strips.len());
    if let Some(run) = run {
        return sum_piece(pass.kernels, sum, inner, (rows.start, run.clone()), (fetch, acc));
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
fn empty<'l, R: Real>(plan: &Plan, unit: &Unit, lanes: &'l mut [f64], features: usize) -> Acc<'l> {
    let width = features * used_lanes::<R>(plan, unit);
    let used = &mut lanes[..set_of::<R>(width)];
    used.fill(0.0);
    Acc::new(used, width)
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

    /// Puts every `step`th number of another plane here, or with `add`, adds it.
    #[inline(always)]
    fn take_all<R: Real>(&mut self, from: &Plane<'_>, step: usize, add: bool) {
        if R::Wide::PARTS == 1 {
            let apart = self.hi.iter_mut().zip(from.hi.iter().step_by(step));
            match (step, add) {
                (1, true) => add_all(self.hi, &from.hi[..self.hi.len()]),
                (1, false) => self.hi.copy_from_slice(&from.hi[..self.hi.len()]),
                (_, true) => apart.for_each(|(to, from)| *to += from),
                (_, false) => apart.for_each(|(to, from)| *to = *from),
            }
            return;
        }
        for f in 0..self.hi.len() {
            let value = from.value::<R>(f * step);
            (self.hi[f], self.lo[f]) = if add { self.value::<R>(f) + value } else { value }.parts();
        }
    }

    /// Σ of the `used` lanes of each feature.
    #[inline(always)]
    fn fold<R: Real>(&mut self, spread: Spread, used: usize, features: usize) {
        match spread {
            Spread::Phases(phases) => self.fold_rows::<R>(features, phases, used),
            Spread::Run | Spread::Positions(_) => self.fold_runs::<R>(features, used),
        }
    }

    /// Σ of each of `runs` runs of `len` lanes, into the first of them. All runs are halved before one is halved again:
    /// what was stored just now, in other pieces, is slow to load.
    #[inline(always)]
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
    #[inline(always)]
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

/// Adds to each of the first numbers of `run` the one `half` behind it.
#[inline(always)]
fn halve(run: &mut [f64], half: usize) {
    let (sums, others) = run.split_at_mut(half);
    let n = others.len();
    add_all(&mut sums[..n], others);
}

/// Adds to each of `sums` the other one, in pieces that become vectors.
#[inline(always)]
fn add_all(sums: &mut [f64], others: &[f64]) {
    let (mut sums, mut others) = (sums.chunks_exact_mut(8), others.chunks_exact(8));
    for (sums, others) in sums.by_ref().zip(others.by_ref()) {
        add_each(sums, others);
    }
    add_each(sums.into_remainder(), others.remainder());
}

#[inline(always)]
fn add_each(sums: &mut [f64], others: &[f64]) {
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

/// So many lanes are folded in straight code.
const FEW: usize = 16;

/// Folds the first `n` of every `len` lanes, more than one and at most [`FEW`].
#[inline(always)]
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

//! Memory that a step needs beside its tensors, kept from step to step.

use super::cut::Cut;
use super::gaps::Gaps;
use super::hard::Desk;
use super::kept::Kept;
use super::plan::Plan;
use super::rooms::{GateRoom, SumsRoom};
use super::schedule;
use crate::kernel::Executor;
use crate::maths::Totals;
use crate::mem::LINE;
use crate::num::{Element, Real, Wide};
use crate::tensor::Shape;
use std::ops::Range;

/// Scratch memory for the slice API: sums, pilots and coefficients of a few blocks of features.
///
/// `Workspace::default()` is empty; the first step with a shape makes room (up to about 100 kB for each thread), later steps
/// with the same or smaller shapes allocate nothing. One workspace serves any number of layers in turn.
#[derive(Clone, Debug)]
pub struct Workspace<T: Element> {
    scratches: Vec<Scratch>,
    states: Vec<State<T::Compute>>,
    gate: GateRoom<T>,
    passed: Vec<T>,
    gaps: Gaps,
    masked: Vec<MaskRoom<T>>,
    /// Of blocks that are mapped beside their output.
    beside: Vec<Vec<T>>,
    /// Of the double backward.
    pub(super) second: Kept<T::Compute>,
    sums: SumsRoom<T::Compute>,
}

/// What a job over a masked tensor works with.
#[derive(Clone, Debug)]
pub(crate) struct MaskRoom<T: Element> {
    pub(super) workspace: Workspace<T>,
    pub(super) buffers: [Vec<T>; 6],
}

impl<T: Element> Default for MaskRoom<T> {
    fn default() -> Self {
        Self { workspace: Workspace::default(), buffers: Default::default() }
    }
}

impl<T: Element> Default for Workspace<T> {
    fn default() -> Self {
        Self {
            scratches: Vec::new(),
            states: Vec::new(),
            gate: GateRoom::default(),
            passed: Vec::new(),
            gaps: Gaps::default(),
            masked: Vec::new(),
            beside: Vec::new(),
            second: Kept::default(),
            sums: SumsRoom::default(),
        }
    }
}

impl<T: Element> Workspace<T> {
    /// The room of an activation's backward, to be put back.
    pub(crate) fn take_room(&mut self) -> GateRoom<T> {
        std::mem::take(&mut self.gate)
    }

    /// The gaps of a mask, to be put back.
    pub(crate) fn take_gaps(&mut self, shape: Shape, mask: &[bool]) -> Gaps {
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.set(shape, mask);
        gaps
    }

    pub(crate) fn put_gaps(&mut self, gaps: Gaps) {
        self.gaps = gaps;
    }

    /// Rooms for so many jobs over a masked tensor at least, to be put back.
    pub(super) fn take_rooms(&mut self, jobs: usize) -> Vec<MaskRoom<T>> {
        let mut rooms = std::mem::take(&mut self.masked);
        rooms.resize_with(rooms.len().max(jobs), MaskRoom::default);
        rooms
    }

    pub(super) fn put_rooms(&mut self, rooms: Vec<MaskRoom<T>>) {
        self.masked = rooms;
    }

    pub(crate) fn put_room(&mut self, room: GateRoom<T>) {
        self.gate = room;
    }

    /// Room for what passes the gate of a part of a batch, to be put back.
    pub(crate) fn take_passed(&mut self) -> Vec<T> {
        std::mem::take(&mut self.passed)
    }

    pub(crate) fn put_passed(&mut self, passed: Vec<T>) {
        self.passed = passed;
    }

    /// The room of a step in virtual batches, to be put back.
    pub(crate) fn take_sums(&mut self) -> SumsRoom<T::Compute> {
        std::mem::take(&mut self.sums)
    }

    pub(crate) fn put_sums(&mut self, room: SumsRoom<T::Compute>) {
        self.sums = room;
    }

    /// Room for a step that is cut like `cut`, and for those that are cut otherwise or have fewer samples.
    pub(super) fn prepare(&mut self, plan: &Plan, cut: &Cut, exec: &dyn Executor) -> Room<'_, T> {
        let features = plan.shape.features();
        let n = jobs(exec, plan, cut, features.div_ceil(cut.block));
        let most = jobs(exec, plan, cut, features);
        if self.scratches.len() < most {
            self.scratches.resize_with(most, Scratch::default);
            self.states.resize_with(most, State::default);
            self.beside.resize_with(most, Vec::new);
        }
        let widest = plan.widest::<T::Compute>().min(features);
        self.scratches[..most].iter_mut().for_each(|scratch| scratch.grow::<T::Compute>(plan, widest));
        self.states[..most].iter_mut().for_each(|state| state.grow(plan, widest));
        let (scratches, states) = (&mut self.scratches[..n], &mut self.states[..n]);
        Room { scratches, states, beside: &mut self.beside[..n] }
    }
}

/// How many jobs a step of so many blocks is made ready for.
fn jobs(exec: &dyn Executor, plan: &Plan, cut: &Cut, blocks: usize) -> usize {
    let (threads, share) =
        (schedule::threads(exec, cut.schedule.share, plan.shape.len()), cut.schedule.share);
    if threads == 1 {
        return 1;
    }
    (threads * share.jobs).min(blocks.max(1).max(cut.shares))
}

/// The memory of as many jobs as may run at once.
pub(super) struct Room<'w, T: Element> {
    /// What a job sums with.
    pub(super) scratches: &'w mut [Scratch],
    /// What a block has; a job that sums for another's block needs none.
    pub(super) states: &'w mut [State<T::Compute>],
    /// Where a block with hard features is mapped that goes over or onto other values.
    pub(super) beside: &'w mut [Vec<T>],
}

impl<T: Element> Room<'_, T> {
    /// For how many jobs.
    pub(super) fn jobs(&self) -> usize {
        self.scratches.len()
    }

    /// For one half of the work and the other.
    pub(super) fn halves(self) -> (Self, Self) {
        let (left, right) = self.scratches.split_at_mut(self.scratches.len() / 2);
        let (state, other) = self.states.split_at_mut(left.len());
        let (beside, beside1) = self.beside.split_at_mut(left.len());
        let head = Room { scratches: left, states: state, beside };
        (head, Room { scratches: right, states: other, beside: beside1 })
    }
}

/// The most coefficients that a map has.
pub(super) const COEFS: usize = 7;

/// What one job sums with.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub(super) lanes: Vec<f64>,
    /// Free sets of sums.
    pub(super) partials: Vec<Vec<f64>>,
    /// Sets that wait for others to be added, one to a level of their tree at most.
    pub(super) waiting: Vec<Vec<f64>>,
    /// The sums of a block that are taken while the one before is mapped.
    pub(super) beside: Vec<f64>,
}

/// What a block has between its sums and its map.
#[derive(Clone, Debug)]
pub(super) struct State<R: Real> {
    pub(super) totals: Vec<Totals<R>>,
    /// What its sums are taken around.
    pub(super) pilots: Pilots<R>,
    /// Features to sum again.
    pub(super) again: Vec<bool>,
    pub(super) coefs: Coefs<R>,
    /// Those of a gate, k, a and b.
    pub(super) gates: Coefs<R>,
    /// Those of the next block, which is summed beside this one's map.
    pub(super) beside: Coefs<R>,
    /// Another one, for a forward that a step of the block runs in between.
    pub(super) spare: Option<Box<State<R>>>,
    /// Features that leave the type's arithmetic.
    pub(super) hard: Vec<bool>,
    /// What they need, once there was one, and their numbers.
    pub(super) desk: Option<Box<Desk>>,
    pub(super) found: Vec<usize>,
}

/// What a block's sums are taken around.
#[derive(Clone, Debug)]
pub(super) struct Pilots<R> {
    /// Per feature.
    pub(super) values: Vec<R>,
    /// The same as the kernels get them.
    row: Vec<R>,
}

/// The coefficients of a block's map, per feature and as the kernels get them.
#[derive(Clone, Debug)]
pub(super) struct Coefs<R> {
    /// One behind the other, see [`Coefs::stride`].
    values: Vec<R>,
    /// The same as the kernels get them, see [`spread`].
    rows: [Vec<R>; COEFS],
}

impl<R: Real> Default for State<R> {
    fn default() -> Self {
        let [coefs, gates, beside] = [(); 3].map(|()| Coefs { values: Vec::new(), rows: Default::default() });
        let pilots = Pilots { values: Vec::new(), row: Vec::new() };
        Self {
            totals: Vec::new(),
            pilots,
            again: Vec::new(),
            coefs,
            gates,
            beside,
            spare: None,
            hard: Vec::new(),
            desk: None,
            found: Vec::new(),
        }
    }
}

fn at_least<V: Clone + Default>(v: &mut Vec<V>, len: usize) {
    if v.len() < len {
        v.resize(len, V::default());
    }
}

impl Scratch {
    fn grow<R: Real>(&mut self, plan: &Plan, features: usize) {
        at_least(&mut self.lanes, 2 * R::Wide::PARTS * plan.lanes::<R>(features));
        // A step that did not come to its end may have left some.
        self.partials.append(&mut self.waiting);
        // One to a level, one that is added and one for all.
        let sets = plan.tree.levels() as usize + 2;
        at_least(&mut self.partials, sets);
        self.waiting.reserve(sets);
        for set in self.partials.iter_mut().chain([&mut self.beside]) {
            at_least(set, set_of::<R>(features));
        }
    }

    /// A set of so many numbers.
    pub(super) fn set(&mut self, len: usize) -> Vec<f64> {
        let mut set = self.partials.pop().unwrap_or_default();
        set.resize(len, 0.0);
        set
    }
}

/// The numbers of both sums of `features` features.
pub(super) const fn set_of<R: Real>(features: usize) -> usize {
    2 * R::Wide::PARTS * features
}

impl<R: Real> State<R> {
    pub(super) fn grow(&mut self, plan: &Plan, features: usize) {
        at_least(&mut self.totals, features);
        at_least(&mut self.again, features);
        at_least(&mut self.hard, features);
        at_least(&mut self.coefs.values, COEFS * Coefs::<R>::stride(features));
        at_least(&mut self.gates.values, COEFS * Coefs::<R>::stride(features));
        at_least(&mut self.beside.values, COEFS * Coefs::<R>::stride(features));
        at_least(&mut self.pilots.values, features);
        for row in self
            .coefs
            .rows
            .iter_mut()
            .chain(&mut self.gates.rows)
            .chain(&mut self.beside.rows)
            .chain([&mut self.pilots.row])
        {
            at_least(row, features * plan.copies() + 2 * LINE / size_of::<R>());
        }
    }
}

impl<R: Real> Pilots<R> {
    /// Those of `features` features as the kernels get them.
    pub(super) fn spread(&mut self, plan: &Plan, features: usize, lead: usize) -> &[R] {
        let range = spread(plan, &self.values[..features], &mut self.row, lead, 0);
        &self.row[range]
    }
}

impl<R: Real> Coefs<R> {
    /// Each coefficient of `features` features.
    #[inline(always)]
    pub(super) fn values(&mut self, features: usize) -> [&mut [R]; COEFS] {
        let mut values = self.values.chunks_exact_mut(Self::stride(features));
        [(); COEFS].map(|()| &mut values.next().unwrap_or_default()[..features])
    }

    /// Makes the coefficients of some of `features` features 0: products with them are no subnormal numbers, which are slow.
    pub(super) fn silence(&mut self, some: &[usize], features: usize) {
        for values in self.values.chunks_exact_mut(Self::stride(features)) {
            some.iter().for_each(|&f| values[f] = R::default());
        }
    }

    /// How far a coefficient's values begin behind the one's before: a quarter of a page and 16 bytes more than whole pages.
    /// Some cores tell addresses apart by their place in a page alone: what is loaded of one coefficient then waits for what
    /// was stored of another, where they are whole pages and a few bytes apart. Exact quarters are slower too. Measured.
    fn stride(features: usize) -> usize {
        const PAGE: usize = 4096;
        const REST: usize = PAGE - (PAGE / 4 + 16);
        let bytes = (features * size_of::<R>() + REST).next_multiple_of(PAGE) - REST;
        bytes / size_of::<R>()
    }

    /// The coefficients of `features` features as the kernels get them; those that `used` does not name stay as they are.
    pub(super) fn spread(
        &mut self,
        used: &[usize],
        plan: &Plan,
        features: usize,
        lead: usize,
        shift: usize,
    ) -> [&[R]; COEFS] {
        let mut ranges = [const { 0..0 }; COEFS];
        for &i in used {
            let values = &self.values[i * Self::stride(features)..][..features];
            ranges[i] = spread(plan, values, &mut self.rows[i], lead, shift);
        }
        let mut ranges = ranges.into_iter();
        self.rows.each_ref().map(|row| &row[ranges.next().unwrap_or_default()])
    }
}

/// Spreads `values`, one per feature, over a part of `row` as the plan has it, and says which part. Its element `lead`
/// begins a cache line: it does in the tensor (but for half types, which are converted), and a vector that lies across two
/// lines costs two loads. With a `shift` the part begins with what belongs so many elements behind its beginning, and ends
/// with what is before, see [`Plan::parts`].
fn spread<R: Copy>(plan: &Plan, values: &[R], row: &mut [R], lead: usize, shift: usize) -> Range<usize> {
    let line = LINE / size_of::<R>();
    // At most a line, as any offset to an aligned place is but for code that is run by the compiler.
    let start = row[lead % line..].as_ptr().align_offset(LINE).min(line);
    let range = start..start + values.len() * plan.copies();
    let row = &mut row[range.clone()];
    plan.spread_over(values, row);
    row.rotate_left(shift);
    range
}

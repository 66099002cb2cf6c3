//! Memory that a step needs beside its tensors, kept from step to step.

use crate::driver::{Sums, scratches};
use crate::element::{Element, Real};
use crate::exec::Executor;
use crate::plan::Plan;
use crate::stream::LINE;
use crate::wide::Wide;
use std::ops::Range;

/// Scratch memory for the slice API: sums, pilots and coefficients of a few blocks of features.
///
/// `Workspace::default()` is empty; the first step with a shape makes room (tens of kilobytes), later steps
/// with the same or smaller shapes allocate nothing. One workspace serves any number of layers in turn.
#[derive(Clone, Debug)]
pub struct Workspace<T: Element> {
    scratches: Vec<Scratch<T::Compute>>,
}

impl<T: Element> Default for Workspace<T> {
    fn default() -> Self {
        Self { scratches: Vec::new() }
    }
}

impl<T: Element> Workspace<T> {
    pub(crate) fn prepare(&mut self, plan: &Plan, exec: &impl Executor) -> &mut [Scratch<T::Compute>] {
        let n = scratches(exec, plan);
        if self.scratches.len() < n {
            self.scratches.resize_with(n, Scratch::default);
        }
        for scratch in &mut self.scratches[..n] {
            scratch.grow(plan);
        }
        &mut self.scratches[..n]
    }
}

/// What one job needs, for a block of features.
#[derive(Clone, Debug)]
pub(crate) struct Scratch<R: Real> {
    pub(crate) lanes: Vec<f64>,
    /// The sums of segments that wait for others to be added, one set to a level of their tree.
    pub(crate) partials: Vec<Sums<R>>,
    pub(crate) state: State<R>,
}

/// What a block has between its sums and its map; taken out of the scratch while the lanes are in use.
#[derive(Clone, Debug)]
pub(crate) struct State<R: Real> {
    pub(crate) sums: Vec<Sums<R>>,
    pub(crate) coefs: Coefs<R>,
    /// Features that leave the kernels' arithmetic; while statistics are taken, those to sum again.
    pub(crate) unfit: Vec<bool>,
}

/// What the kernels get per feature, the mean first: it is the pilot of the sums as well.
#[derive(Clone, Debug)]
pub(crate) struct Coefs<R> {
    /// One behind the other, see [`Coefs::stride`].
    values: Vec<R>,
    /// The same as the kernels get them, see [`Coefs::spread`].
    rows: [Vec<R>; 4],
}

impl<R: Real> Default for Scratch<R> {
    fn default() -> Self {
        Self { lanes: Vec::new(), partials: Vec::new(), state: State::default() }
    }
}

impl<R: Real> Default for State<R> {
    fn default() -> Self {
        Self { sums: Vec::new(), coefs: Coefs::default(), unfit: Vec::new() }
    }
}

impl<R> Default for Coefs<R> {
    fn default() -> Self {
        Self { values: Vec::new(), rows: Default::default() }
    }
}

fn at_least<V: Clone + Default>(v: &mut Vec<V>, len: usize) {
    if v.len() < len {
        v.resize(len, V::default());
    }
}

impl<R: Real> Scratch<R> {
    fn grow(&mut self, plan: &Plan) {
        let features = plan.block.min(plan.shape.features());
        at_least(&mut self.lanes, 2 * R::Wide::PARTS * plan.lanes::<R>(features));
        at_least(&mut self.partials, plan.segments.next_power_of_two().ilog2() as usize * features);
        at_least(&mut self.state.sums, features);
        at_least(&mut self.state.unfit, features);
        let Coefs { values, rows } = &mut self.state.coefs;
        at_least(values, 4 * Coefs::<R>::stride(features));
        for row in rows {
            at_least(row, features * plan.copies() + 2 * LINE / size_of::<R>());
        }
    }
}

impl<R: Real> Coefs<R> {
    /// Each coefficient of `features` features.
    #[inline(always)]
    pub(crate) fn values(&mut self, features: usize) -> [&mut [R]; 4] {
        let mut values = self.values.chunks_exact_mut(Self::stride(features));
        [(); 4].map(|()| &mut values.next().unwrap_or_default()[..features])
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

    /// Spreads coefficient `i` of `features` features over a row as the plan has it. Element `lead` begins a cache
    /// line: it does in the tensor (but for half types, which are converted), and a vector that lies across two lines
    /// costs two loads. With a `shift` the row begins with what belongs so many elements behind its beginning, and ends with
    /// what is before, see [`Plan::parts`].
    pub(crate) fn spread(&mut self, i: usize, plan: &Plan, features: usize, lead: usize, shift: usize) {
        let range = Self::range(&self.rows[i], plan, features, lead);
        let row = &mut self.rows[i][range];
        plan.spread_over(&self.values[i * Self::stride(features)..][..features], row);
        row.rotate_left(shift);
    }

    /// What [`Coefs::spread`] has made.
    pub(crate) fn row(&self, i: usize, plan: &Plan, features: usize, lead: usize) -> &[R] {
        let row = &self.rows[i];
        &row[Self::range(row, plan, features, lead)]
    }

    fn range(row: &[R], plan: &Plan, features: usize, lead: usize) -> Range<usize> {
        let line = LINE / size_of::<R>();
        // At most a line, as any offset to an aligned place is but for code that is run by the compiler.
        let start = row[lead % line..].as_ptr().align_offset(LINE).min(line);
        start..start + features * plan.copies()
    }
}

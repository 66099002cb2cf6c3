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
    values: [Vec<R>; 4],
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
        Self { values: Default::default(), rows: Default::default() }
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
        for (values, row) in values.iter_mut().zip(rows) {
            at_least(values, features);
            at_least(row, features * plan.copies() + 2 * LINE / size_of::<R>());
        }
    }
}

impl<R: Real> Coefs<R> {
    /// Each coefficient of `features` features.
    #[inline(always)]
    pub(crate) fn values(&mut self, features: usize) -> [&mut [R]; 4] {
        self.values.each_mut().map(|values| &mut values[..features])
    }

    /// Spreads coefficient `i` of `features` features over a row as the plan has it. Element `lead` begins a cache
    /// line: it does in the tensor (but for half types, which are converted), and a vector that lies across two lines
    /// costs two loads. With a `shift` the row begins with what belongs so many elements behind its beginning, and ends with
    /// what is before, see [`Plan::parts`].
    pub(crate) fn spread(&mut self, i: usize, plan: &Plan, features: usize, lead: usize, shift: usize) {
        let range = Self::range(&self.rows[i], plan, features, lead);
        let row = &mut self.rows[i][range];
        plan.spread_over(&self.values[i][..features], row);
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

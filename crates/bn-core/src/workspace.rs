//! Memory that a step needs beside its tensors, kept from step to step.

use crate::driver::{Sums, scratches};
use crate::element::{Element, Real};
use crate::exec::Executor;
use crate::plan::Plan;
use crate::wide::Wide;

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
    /// The sums of each segment, where they are taken at the same time.
    pub(crate) partials: Vec<Sums<R>>,
    pub(crate) state: State<R>,
}

/// What a block has between its sums and its map; taken out of the scratch while the lanes are in use.
#[derive(Clone, Debug)]
pub(crate) struct State<R: Real> {
    pub(crate) sums: Vec<Sums<R>>,
    pub(crate) pilot: Vec<R>,
    pub(crate) coefs: [Vec<R>; 4],
    /// Features that leave the kernels' arithmetic; while statistics are taken, those to sum again.
    pub(crate) unfit: Vec<bool>,
}

impl<R: Real> Default for Scratch<R> {
    fn default() -> Self {
        Self { lanes: Vec::new(), partials: Vec::new(), state: State::default() }
    }
}

impl<R: Real> Default for State<R> {
    fn default() -> Self {
        Self { sums: Vec::new(), pilot: Vec::new(), coefs: Default::default(), unfit: Vec::new() }
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
        at_least(&mut self.partials, plan.segments * features);
        at_least(&mut self.state.sums, features);
        at_least(&mut self.state.pilot, features * plan.copies());
        at_least(&mut self.state.unfit, features);
        for coef in &mut self.state.coefs {
            at_least(coef, features * plan.copies());
        }
    }
}

impl<R: Real> State<R> {
    pub(crate) fn set_coefs(&mut self, f: usize, values: [R; 4]) {
        for (coef, v) in self.coefs.iter_mut().zip(values) {
            coef[f] = v;
        }
    }

    /// The coefficients of `features` features, spread over a row as the plan has it.
    pub(crate) fn expanded_coefs(&mut self, plan: &Plan, features: usize) -> [&[R]; 4] {
        self.coefs.each_mut().map(|coef| {
            plan.expand(coef, features);
            &coef[..features * plan.copies()]
        })
    }
}

//! Memory that a step needs beside its tensors, kept from step to step.

use crate::driver::scratches;
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
    lanes: Vec<f64>,
    pub(crate) sums: Vec<(R::Wide, R::Wide)>,
    pilot: Vec<R>,
    coefs: [Vec<R>; 4],
    /// Features that leave the kernels' arithmetic; while statistics are taken, those to sum again.
    pub(crate) unfit: Vec<bool>,
}

impl<R: Real> Default for Scratch<R> {
    fn default() -> Self {
        Self {
            lanes: Vec::new(),
            sums: Vec::new(),
            pilot: Vec::new(),
            coefs: Default::default(),
            unfit: Vec::new(),
        }
    }
}

/// The parts of a scratch that statistics are taken with, for a number of features.
pub(crate) struct Sums<'a, R: Real> {
    pub(crate) lanes: &'a mut [f64],
    pub(crate) sums: &'a mut [(R::Wide, R::Wide)],
    pub(crate) pilot: &'a mut [R],
    pub(crate) unfit: &'a mut [bool],
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
        at_least(&mut self.sums, features);
        at_least(&mut self.pilot, features * plan.phases);
        at_least(&mut self.unfit, features);
        for coef in &mut self.coefs {
            at_least(coef, features * plan.phases);
        }
    }

    pub(crate) fn features(&mut self, n: usize) -> Sums<'_, R> {
        Sums {
            lanes: &mut self.lanes,
            sums: &mut self.sums[..n],
            pilot: &mut self.pilot,
            unfit: &mut self.unfit,
        }
    }

    pub(crate) fn set_coefs(&mut self, f: usize, values: [R; 4]) {
        for (coef, v) in self.coefs.iter_mut().zip(values) {
            coef[f] = v;
        }
    }

    /// Repeats the coefficients of `features` features for each phase.
    pub(crate) fn repeat_coefs(&mut self, features: usize, phases: usize) {
        for coef in &mut self.coefs {
            for phase in 1..phases {
                coef.copy_within(..features, phase * features);
            }
        }
    }

    pub(crate) fn coefs(&self, n: usize) -> [&[R]; 4] {
        self.coefs.each_ref().map(|coef| &coef[..n])
    }
}

//! The phases of a step run apart: the sums of all blocks, then whatever somebody does with them, then coefficients and
//! maps.
//!
//! What stands between may add the sums of other parts of the batch, or put a caller's own in their place. A tensor is then
//! read once more than by [`run`], which maps a block while it is in cache. The bits are those of [`run`], where nothing
//! stands between and no feature is hard.

use super::backward::Backward;
use super::blocks::run;
use super::forward::{Forward, Statistics};
use super::hard::Hard;
use super::plan::Plan;
use super::step::{Settled, Step, split_columns, split_some};
use super::workspace::{COEFS, State, Workspace};
use crate::kernel::{Backend, KernelSet, Map, Sum};
use crate::maths::{Totals, features};
use crate::num::{Element, Real};
use crate::tensor::{Place, Shape, Strips, StripsMut};

/// The sums of a step, for who stands between them and the coefficients.
///
/// A forward comes here with Σ(x−k) and Σ(x−k)², k = 0, and where any feature's mean is far from zero once more, with
/// its mean as k: then there are `pilots`. A backward comes once, with Σdy and Σdy·(x−k).
///
/// Whether a forward comes twice follows from the bits of the sums that it is left with. Who runs parts side by side leaves
/// the same sums and the same count to all of them, or some wait for others that do not come.
#[derive(Debug)]
pub struct Between<'a, R: Real> {
    /// Both sums of each feature.
    pub sums: &'a mut [(R::Wide, R::Wide)],
    /// k of each feature, 0 where there is none.
    pub pilots: Option<&'a [R]>,
    /// n, the number of values of a feature: of a forward those that the sums are of, to be changed with them; of a backward
    /// those of the forward, whatever is written here.
    pub count: &'a mut usize,
}

/// Sums and nothing else, into a slice.
struct Summing<'a, T: Element> {
    shape: Shape,
    of: [Option<Strips<'a, T>>; 2],
    pilots: Option<&'a [T::Compute]>,
    totals: &'a mut [Totals<T::Compute>],
}

impl<T: Element> Step<T> for Summing<'_, T> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn empty(self) {
        self.totals.fill(Default::default());
    }

    fn features(&self) -> usize {
        self.totals.len()
    }

    fn walked(self, plan: &Plan) -> Self {
        Self { of: self.of.map(|of| of.map(|strips| plan.walked(self.shape, strips))), ..self }
    }

    fn split_at(self, feature: usize, col: usize) -> (Self, Self) {
        let [(x, x1), (dy, dy1)] = self.of.map(|of| split_some(of, |strips| split_columns(strips, col)));
        let (pilots, pilots1) = split_some(self.pilots, |pilots| pilots.split_at(feature));
        let (totals, totals1) = self.totals.split_at_mut(feature);
        let tail = Self { shape: self.shape, of: [x1, dy1], pilots: pilots1, totals: totals1 };
        (Self { shape: self.shape, of: [x, dy], pilots, totals }, tail)
    }

    fn reads(&self) -> [Option<Strips<'_, T>>; 2] {
        self.of.each_ref().map(|of| of.as_ref().map(Strips::reborrow))
    }

    fn out(&self) -> Option<Place> {
        None
    }

    fn pilots(&self, _: &impl KernelSet, pilots: &mut [T::Compute]) -> bool {
        let Some(own) = self.pilots else {
            return false;
        };
        pilots.copy_from_slice(own);
        true
    }

    fn sum<'s>(&'s self, pilot: Option<&'s [T::Compute]>) -> Option<Sum<'s, T>> {
        match self.reads() {
            [Some(x), Some(dy)] => Some(Sum::Grads { x, dy, pilot }),
            [Some(x), None] => Some(Sum::Moments { x, pilot }),
            _ => None,
        }
    }

    fn sum_beside(&self, _: usize) -> Option<Sum<'_, T>> {
        None
    }

    fn settle(&mut self, _: &impl KernelSet, state: &mut State<T::Compute>, _: bool) -> Settled {
        self.totals.copy_from_slice(&state.totals[..self.totals.len()]);
        Settled::Yes
    }

    fn coefficients(&mut self, _: &impl KernelSet, state: &mut State<T::Compute>) {
        state.hard.fill(false);
    }

    fn used(&self) -> &'static [usize] {
        &[]
    }

    fn map<'s>(&'s mut self, _: [&'s [T::Compute]; COEFS]) -> Option<(Map<'s, T>, StripsMut<'s, T>)> {
        None
    }

    fn hard(&mut self, _: Hard<'_, impl KernelSet>, _: &[Totals<T::Compute>]) {}
}

/// Runs a forward whose sums `between` sees. The count that the statistics are of is returned.
pub(crate) fn forward_apart<T: Element, B: Backend>(
    backend: &B,
    step: Forward<'_, T>,
    workspace: &mut Workspace<T>,
    between: &mut dyn FnMut(Between<'_, T::Compute>),
) -> usize {
    let Forward { shape, x, mut y, params, stats, eps, count: own } = step;
    let mut count = own;
    let stats = match stats {
        Statistics::Given(_) => unreachable!("given statistics need no sums"),
        Statistics::Batch(mut stats) => {
            let (mut totals, mut again) = workspace.take_apart(shape.features());
            let of = [Some(x.reborrow()), None];
            run(backend, Summing { shape, of, pilots: None, totals: &mut totals }, workspace);
            between(Between { sums: &mut totals, pilots: None, count: &mut count });
            if count == 0 {
                // Nothing of the step before is left.
                stats.clear();
            } else if features::statistics(count, eps, &totals, stats.reborrow(), &mut again) {
                let pilots = stats.k.to_vec();
                let of = [Some(x.reborrow()), None];
                let summing = Summing { shape, of, pilots: Some(&pilots), totals: &mut totals };
                run(backend, summing, workspace);
                count = own;
                between(Between { sums: &mut totals, pilots: Some(&pilots), count: &mut count });
                features::recentred(count, eps, &totals, stats.reborrow(), &again);
            }
            workspace.put_apart((totals, again));
            stats
        }
    };
    let (x, y, stats) = (x.reborrow(), y.reborrow(), Statistics::Given(stats.as_ref()));
    run(backend, Forward { shape, x, y, params, stats, eps, count }, workspace);
    count
}

/// Runs a backward whose sums `between` sees.
pub(crate) fn backward_apart<T: Element, B: Backend>(
    backend: &B,
    mut step: Backward<'_, T>,
    workspace: &mut Workspace<T>,
    between: &mut dyn FnMut(Between<'_, T::Compute>),
) {
    let (shape, mut count) = (step.shape, step.count);
    let (mut totals, again) = workspace.take_apart(shape.features());
    let pilots = features::off_centre(step.from_batch, step.stats).then(|| {
        let mut pilots = vec![T::Compute::default(); shape.features()];
        features::grad_pilots(step.from_batch, step.stats, &mut pilots);
        pilots
    });
    let of = [Some(step.x.reborrow()), Some(step.dy.reborrow())];
    run(backend, Summing { shape, of, pilots: pilots.as_deref(), totals: &mut totals }, workspace);
    between(Between { sums: &mut totals, pilots: pilots.as_deref(), count: &mut count });
    run(backend, step.with_sums(&totals), workspace);
    workspace.put_apart((totals, again));
}

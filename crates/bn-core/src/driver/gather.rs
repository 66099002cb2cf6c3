//! The moments of a tensor's features, without a map: what other tensors' moments merge with.

use super::blocks::run;
use super::forward::{Forward, settle_batch};
use super::hard::Hard;
use super::plan::Plan;
use super::schedule::Task;
use super::step::{Doors, Settled, Step, split_columns, split_optional};
use super::target::Target;
use super::workspace::{COEFS, MaskRoom, State, Workspace};
use crate::kernel::{Backend, KernelSet, Map, Sum};
use crate::maths::{Moments, StatsMut, StatsVec, Totals};
use crate::num::{Element, Real, Wide};
use crate::tensor::{Place, Shape, Strips, StripsMut};

/// Statistics and nothing else.
struct Gathering<'a, T: Element> {
    shape: Shape,
    x: Strips<'a, T>,
    stats: StatsMut<'a, T::Compute>,
    /// Of hard features; of no length where the type has none.
    hard: &'a mut [Option<Moments>],
}

/// Statistics are kept without eps: the one beside the variance is not looked at.
const NO_EPS: f64 = 1.0;

impl<T: Element> Step<T> for Gathering<'_, T> {
    type Before<'s>
        = Forward<'s, T>
    where
        Self: 's;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn task(&self) -> Task {
        Task::Sums
    }

    fn empty(self) {}

    fn features(&self) -> usize {
        self.stats.k.len()
    }

    fn walked(self, plan: &Plan) -> Self {
        Self { x: plan.walked(self.shape, self.x), ..self }
    }

    fn split_at(self, feature: usize, col: usize) -> (Self, Self) {
        let Self { shape, x, stats, hard } = self;
        let ((x, x1), (stats, stats1)) = (split_columns(x, col), stats.split_at(feature));
        let (hard, hard1) = split_optional(hard, feature);
        (Self { shape, x, stats, hard }, Self { shape, x: x1, stats: stats1, hard: hard1 })
    }

    fn reads(&self) -> [Option<Strips<'_, T>>; 2] {
        [Some(self.x.reborrow()), None]
    }

    fn out(&self) -> Option<Place> {
        None
    }

    fn sum<'s>(&'s self, pilot: Option<&'s [T::Compute]>, _: Doors<'s, T>) -> Option<Sum<'s, T>> {
        Some(Sum::Moments { x: self.x.reborrow(), pilot })
    }

    fn settle(
        &mut self,
        kernels: &impl KernelSet,
        state: &mut State<T::Compute>,
        summed_again: bool,
    ) -> Settled {
        settle_batch(kernels, self.stats.reborrow(), (self.shape.count(), NO_EPS), state, summed_again)
    }

    fn coefficients(&mut self, _: &impl KernelSet, State { hard, .. }: &mut State<T::Compute>) {
        let stats = self.stats.as_ref();
        for (f, hard) in hard[..stats.k.len()].iter_mut().enumerate() {
            *hard = !Moments::fit::<T::Compute>(stats.k[f].to_f64(), stats.var[f].to_f64());
        }
    }

    fn used(&self) -> &'static [usize] {
        &[]
    }

    fn map<'s>(
        &'s mut self,
        _: [&'s [T::Compute]; COEFS],
        _: Doors<'s, T>,
    ) -> Option<(Map<'s, T>, Target<'s, T>)> {
        None
    }

    fn hard(
        &mut self,
        hard: Hard<'_, impl KernelSet>,
        _: &[Totals<T::Compute>],
        _: Option<StripsMut<'_, T>>,
    ) {
        let own = &mut *self.hard;
        hard.moments(self.x.reborrow(), self.shape.count(), &mut |f, moments| own[f] = Some(moments));
    }
}

/// The moments of each feature of `x`, as the forward takes its statistics, over the positions that exist; those of no value are 0.
/// And how many values of a feature they are of.
pub(crate) fn moments<T: Element, B: Backend>(
    backend: &B,
    (shape, x): (Shape, Strips<'_, T>),
    mask: Option<&[bool]>,
    workspace: &mut Workspace<T>,
) -> (Vec<Moments>, usize) {
    let Some(mask) = mask else {
        return (gathered(backend, (shape, x), workspace), shape.count());
    };
    let (gaps, features) = (workspace.take_gaps(shape, mask), shape.features());
    let moments = if gaps.is_whole() {
        gathered(backend, (shape, x), workspace)
    } else {
        let mut rooms = workspace.take_rooms(1);
        let MaskRoom { workspace: own, buffers: [buf, ..] } = &mut rooms[0];
        let moments = gathered(backend, (gaps.closed(features), gaps.gather(&x, features, buf)), own);
        workspace.put_rooms(rooms);
        moments
    };
    let count = gaps.valid();
    workspace.put_gaps(gaps);
    (moments, count)
}

fn gathered<T: Element, B: Backend>(
    backend: &B,
    (shape, x): (Shape, Strips<'_, T>),
    workspace: &mut Workspace<T>,
) -> Vec<Moments> {
    let features = shape.features();
    let mut stats = StatsVec::<T::Compute>::default();
    stats.resize(features);
    let mut hard = vec![None; if T::Compute::sums_are_safe() { 0 } else { features }];
    let step = Gathering { shape, x: x.reborrow(), stats: stats.as_mut(), hard: &mut hard };
    run(backend, step, workspace);
    let stats = stats.as_ref();
    let own = |f: usize| hard.get(f).copied().flatten();
    (0..features).map(|f| own(f).unwrap_or_else(|| Moments::of(&stats.get(f)))).collect()
}

//! Steps over a tensor of which not every position exists: a few features at a time they are put together without the gaps,
//! stepped through as any batch, and their results put back among zeros.
//!
//! 1. So whatever holds for a batch holds for a masked one: counts, hard features, gates, half types.
//! 2. Which features go together follows from the shape and the number of valid positions, so that bits do not depend on the
//!    backend. They stay in cache from one copy to the next.

use super::blocks::{run, run_on};
use super::gaps::Gaps;
use super::gate::{Again, By, Gate};
use super::pass::join;
use super::rooms::room;
use super::step::Step;
use super::target::Target;
use super::workspace::{MaskRoom, Workspace};
use super::{Backward, Forward};
use crate::kernel::{Backend, Executor, KernelSet, Serial};
use crate::num::Element;
use crate::tensor::{Held, StripsMut};

/// Elements of a tensor that are put together at a time, if a feature has not more.
const TOGETHER: usize = 1 << 16;
/// Features that lie side by side go together at least so many at a time, so that whole lines are copied.
const LINES: usize = 64;

/// A step whose tensors can be put together.
trait Masked<T: Element>: Step<T> {
    /// Does the step over all of its features at once.
    fn closed(self, of: &Gaps, who: (&impl KernelSet, &dyn Executor), room: &mut MaskRoom<T>);
}

/// Runs a step over the positions that exist: all without `gaps`, else the valid ones; tensors that it writes are 0 elsewhere.
#[expect(private_bounds, reason = "steps are the driver's own")]
pub(crate) fn run_among<T: Element, B: Backend>(
    backend: &B,
    step: impl Masked<T>,
    gaps: Option<&Gaps>,
    workspace: &mut Workspace<T>,
) {
    let Some(gaps) = gaps.filter(|gaps| !gaps.is_whole()) else {
        return run(backend, step, workspace);
    };
    let (set, exec) = (backend.kernels(), backend.exec());
    let mut rooms = workspace.take_rooms(exec.width().max(1));
    let fitting = TOGETHER / gaps.valid().max(1);
    let block = if step.shape().inner() > 1 { fitting.max(1) } else { fitting.max(LINES) };
    share(gaps, (set, exec), (step, block), &mut rooms);
    workspace.put_rooms(rooms);
}

/// Shares the blocks of a step out among the rooms.
fn share<T: Element, S: Masked<T>>(
    gaps: &Gaps,
    (set, exec): (&impl KernelSet, &dyn Executor),
    (step, block): (S, usize),
    rooms: &mut [MaskRoom<T>],
) {
    let blocks = step.features().div_ceil(block);
    if rooms.len() > 1 && blocks > 1 {
        let (head, tail) = split(step, blocks / 2 * block);
        let (left, right) = rooms.split_at_mut(rooms.len() / 2);
        // A block of several is done by one thread.
        return join(
            exec,
            || share(gaps, (set, exec), (head, block), left),
            || share(gaps, (set, exec), (tail, block), right),
        );
    }
    let alone: &dyn Executor = if blocks > 1 { &Serial } else { exec };
    let mut rest = step;
    while rest.features() > block {
        let (head, tail) = split(rest, block);
        head.closed(gaps, (set, alone), &mut rooms[0]);
        rest = tail;
    }
    rest.closed(gaps, (set, alone), &mut rooms[0]);
}

fn split<T: Element, S: Step<T>>(step: S, feature: usize) -> (S, S) {
    let inner = step.shape().inner();
    step.split_at(feature, feature * inner)
}

impl<T: Element> Masked<T> for Forward<'_, T> {
    fn closed(mut self, gaps: &Gaps, (set, exec): (&impl KernelSet, &dyn Executor), own: &mut MaskRoom<T>) {
        let features = self.features();
        let shape = gaps.closed(features);
        let MaskRoom { workspace, buffers: [x, plus, y, ..] } = own;
        let step = Forward {
            shape,
            x: gaps.gather(&self.x(), features, x),
            y: fresh(shape.strips_mut(room(y, shape.len()).into())),
            post: self.post.reborrow().with(|from| gaps.gather(&from, features, plus)),
            stats: self.stats.reborrow(),
            renorm: None,
            ..self
        };
        run_on((set, exec), step, workspace);
        gaps.scatter(&y[..shape.len()], features, self.y);
    }
}

impl<T: Element> Masked<T> for Backward<'_, T> {
    fn closed(mut self, gaps: &Gaps, (set, exec): (&impl KernelSet, &dyn Executor), own: &mut MaskRoom<T>) {
        let features = self.features();
        let shape = gaps.closed(features);
        let MaskRoom { workspace, buffers: [x, dy, y, plus, passed, dx] } = own;
        let held = |buf| Held::new(shape, room(buf, shape.len())).unwrap_or_else(|| unreachable!("{MADE}"));
        let dy = gaps.gather(&self.given_dy(), features, dy);
        let gate = self.gate.as_mut().map(|gate| {
            let by = match &mut gate.by {
                By::Output(from) => By::Output(gaps.gather(from, features, y)),
                By::Again(Again { post, bias, stats, .. }) => By::Again(Again {
                    y: held(y),
                    post: post.reborrow().with(|from| gaps.gather(&from, features, plus)),
                    bias,
                    stats: stats.reborrow(),
                }),
            };
            Gate { clamp: gate.clamp, open: false, asked: gate.asked, by, passed: held(&mut *passed) }
        });
        let step = Backward {
            shape,
            x: gaps.gather(&self.x, features, x),
            dy,
            gate,
            dx: self.dx.as_ref().map(|_| fresh(shape.strips_mut(room(dx, shape.len()).into()))),
            ..self
        };
        run_on((set, exec), step, workspace);
        if let Some(to) = self.dx {
            gaps.scatter(&dx[..shape.len()], features, to);
        }
        if let Some(gate) = self.gate.as_mut().filter(|gate| gate.asked) {
            gaps.scatter(&passed[..shape.len()], features, Target::Fresh(gate.passed.write()));
        }
    }
}

const MADE: &str = "made for this shape";

fn fresh<T>(strips: Option<StripsMut<'_, T>>) -> Target<'_, T> {
    Target::Fresh(strips.unwrap_or_else(|| unreachable!("{MADE}")))
}

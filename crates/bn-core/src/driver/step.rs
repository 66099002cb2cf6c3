//! What a step says of itself, so that one loop runs them all.

use super::hard::Hard;
use super::plan::Plan;
use super::schedule::Task;
use super::target::Target;
use super::workspace::{COEFS, Coefs, State};
use crate::kernel::{KernelSet, Map, Sum};
use crate::maths::Totals;
use crate::num::Element;
use crate::tensor::{Place, Shape, Strips, StripsMut};

/// Whether the sums of a block are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// They are.
    Yes,
    /// They are to be taken again, around the pilots that were put into the block's state.
    Again,
}

/// The coefficients of gates, k, a and b, as the kernels get them; empty where there are none.
pub(super) type Doors<'s, T> = [&'s [<T as Element>::Compute]; COEFS];

/// Room for the coefficients of gates, and for whether features are hard.
pub(super) type Opening<'s, R> = (&'s mut Coefs<R>, &'s mut [bool]);

/// A pass over a range of features: what is summed, what the sums become, and what is mapped. Each may be nothing.
///
/// For a block the loop first does what [`again`](Step::again) and [`before`](Step::before) say. Then it calls [`pilots`](Step::pilots), sums what [`sum`](Step::sum) says, lets the step
/// [`settle`](Step::settle), a second time where it wants sums around other pilots, lets it compute
/// [`coefficients`](Step::coefficients), maps what [`map`](Step::map) says, and hands it its hard features.
pub(super) trait Step<T: Element>: Sized + Send {
    /// A step that it may run before.
    type Before<'s>: Step<T>
    where
        Self: 's;

    /// The shape of the whole tensor.
    fn shape(&self) -> Shape;
    /// What it does.
    fn task(&self) -> Task;
    /// All there is to do where that is empty.
    fn empty(self);
    /// How many features.
    fn features(&self) -> usize;
    /// The same step over strips as the plan walks them.
    fn walked(self, plan: &Plan) -> Self;
    /// The features before `feature`, whose columns end at `col`, and those from it on.
    fn split_at(self, feature: usize, col: usize) -> (Self, Self);

    /// What its sums and its map read.
    fn reads(&self) -> [Option<Strips<'_, T>>; 2];
    /// Where its map writes, if it has one.
    fn out(&self) -> Option<Place>;

    /// Looks at its gates: whether the kernels go through them while they sum and map, by coefficients that are put into the
    /// block's state.
    fn open(&mut self, _: &impl KernelSet, _: &mut State<T::Compute>) {}
    /// Whether they do.
    fn is_open(&self) -> bool {
        false
    }
    /// Which coefficients its gates have.
    fn gates(&self) -> &'static [usize] {
        if self.is_open() { &[0, 1, 2] } else { &[] }
    }
    /// What passes is put aside after all: hard features need it.
    fn close(&mut self) {}
    /// What is to be run before: a forward whose output it needs.
    fn again(&mut self) -> Option<Self::Before<'_>> {
        None
    }
    /// What is mapped then, before the sums, and where to: they read it.
    fn before(&mut self) -> Option<(Map<'_, T>, StripsMut<'_, T>)> {
        None
    }
    /// Puts what its sums are taken around into the slice, one per feature; false where all would be 0.
    fn pilots(&self, _: &impl KernelSet, _: &mut [T::Compute]) -> bool {
        false
    }
    /// What is summed around these pilots, through these gates.
    fn sum<'s>(&'s self, pilot: Option<&'s [T::Compute]>, gates: Doors<'s, T>) -> Option<Sum<'s, T>>;
    /// The sum of so many features, the first ones, if it may be taken while another block is mapped: around 0.
    fn sum_beside<'s>(&'s self, _: usize, _: Doors<'s, T>) -> Option<Sum<'s, T>> {
        None
    }
    /// As [`open`](Step::open), of the gates of so many features, the first ones: whether the kernels go through them.
    fn opens(&self, _: &impl KernelSet, _: usize, _: Opening<'_, T::Compute>) -> bool {
        false
    }
    /// Takes the sums in, the first ones or those that it asked for.
    fn settle(&mut self, kernels: &impl KernelSet, state: &mut State<T::Compute>, again: bool) -> Settled;
    /// Fills the coefficients of its map, and says which features are hard.
    fn coefficients(&mut self, kernels: &impl KernelSet, state: &mut State<T::Compute>);
    /// Which of the [`COEFS`] coefficients its map has.
    fn used(&self) -> &'static [usize];
    /// Its map with these coefficients, through these gates, and where it goes. The input that the output goes over is absent.
    fn map<'s>(
        &'s mut self,
        coefs: [&'s [T::Compute]; COEFS],
        gates: Doors<'s, T>,
    ) -> Option<(Map<'s, T>, Target<'s, T>)>;
    /// Where its map goes.
    fn target(&mut self) -> Option<Target<'_, T>> {
        None
    }
    /// Maps hard features anew, not more than go together; `totals` are the block's. `beside` is where they go unless the
    /// [`target`](Step::target) is memory of its own.
    fn hard(
        &mut self,
        hard: Hard<'_, impl KernelSet>,
        totals: &[Totals<T::Compute>],
        beside: Option<StripsMut<'_, T>>,
    );
}

/// The columns of `strips` before `col`, and those from it on.
pub(super) fn split_columns<T>(strips: Strips<'_, T>, col: usize) -> (Strips<'_, T>, Strips<'_, T>) {
    (strips.columns(0..col), strips.columns(col..strips.len()))
}

/// Splits a slice that is empty where nothing is wanted of it.
pub(super) fn split_optional<R>(slice: &mut [R], at: usize) -> (&mut [R], &mut [R]) {
    slice.split_at_mut(at.min(slice.len()))
}

/// Splits what may not be there.
pub(super) fn split_some<S>(some: Option<S>, split: impl FnOnce(S) -> (S, S)) -> (Option<S>, Option<S>) {
    some.map(split).map_or((None, None), |(head, tail)| (Some(head), Some(tail)))
}

//! Where a map's output goes: to memory of its own, over an input, or onto a gradient that is there.
//!
//! Two references to one memory are not to be had. So an output that goes over an input holds it, and the input is absent from the
//! step and from its [`Map`](crate::kernel::Map): whoever reads it asks the output.
//!
//! 1. Kernels write memory of their own alone. What goes over or onto other values is mapped to a piece in L1 first, and put to its
//!    place from there ([`onto`](super::onto)). Memory sees what a kernel for it would read and write.
//! 2. A block with hard features is mapped beside the output and put there whole: their maps read the input again.

use super::plan::{Part, Plan};
use crate::num::Element;
use crate::tensor::{Held, Place, Shape, Strips, StripsMut};

/// Where an output goes.
#[derive(Debug)]
pub(crate) enum Target<'a, T> {
    /// To memory of its own.
    Fresh(StripsMut<'a, T>),
    /// Over the input that is held here.
    Over(Held<'a, T>),
    /// It is added to what is here: rounded to the type first, as without, and their sum once more.
    Added(Held<'a, T>),
}

impl<'a, T: Element> Target<'a, T> {
    /// An input: `given`, or what its output goes over.
    pub(crate) fn input<'s, 'g: 's>(given: &Strips<'g, T>, to: Option<&'s Self>) -> Strips<'s, T> {
        match to {
            Some(Self::Over(held)) => held.read(),
            _ => given.reborrow(),
        }
    }

    /// An input, and memory for what becomes of it: the output's own, or such as is `beside` it.
    pub(super) fn ends<'s, 'g: 's>(
        given: &Strips<'g, T>,
        to: Option<&'s mut Self>,
        beside: &'s mut Option<StripsMut<'_, T>>,
    ) -> (Strips<'s, T>, Option<StripsMut<'s, T>>) {
        match to {
            None => (given.reborrow(), None),
            Some(Self::Fresh(out)) => (given.reborrow(), Some(out.reborrow())),
            Some(Self::Over(held)) => (held.read(), beside.as_mut().map(StripsMut::reborrow)),
            Some(Self::Added(_)) => (given.reborrow(), beside.as_mut().map(StripsMut::reborrow)),
        }
    }

    /// Whether it is memory of its own.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// How its strips lie.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Fresh(out) => out.place(),
            Self::Over(held) | Self::Added(held) => held.place(),
        }
    }

    /// How many strips.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Fresh(out) => out.rows(),
            Self::Over(held) | Self::Added(held) => held.rows(),
        }
    }

    /// The length of a strip.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Fresh(out) => out.len(),
            Self::Over(held) | Self::Added(held) => held.len(),
        }
    }

    /// The same for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Target<'_, T> {
        match self {
            Self::Fresh(out) => Target::Fresh(out.reborrow()),
            Self::Over(held) => Target::Over(held.reborrow()),
            Self::Added(held) => Target::Added(held.reborrow()),
        }
    }

    /// The strips before `row` and those from it on.
    pub(crate) fn split_rows(self, row: usize) -> (Self, Self) {
        let split = |held: Held<'a, T>| held.split_rows(row);
        self.in_two(|out| out.split_rows(row), split)
    }

    /// The columns before `col` and those from it on.
    pub(super) fn split_columns(self, col: usize) -> (Self, Self) {
        let split = |held: Held<'a, T>| held.split_columns(col);
        self.in_two(|out| out.split_columns(col), split)
    }

    fn in_two(
        self,
        fresh: impl FnOnce(StripsMut<'a, T>) -> (StripsMut<'a, T>, StripsMut<'a, T>),
        held: impl FnOnce(Held<'a, T>) -> (Held<'a, T>, Held<'a, T>),
    ) -> (Self, Self) {
        let both =
            |of: fn(Held<'a, T>) -> Self, (head, tail): (Held<'a, T>, Held<'a, T>)| (of(head), of(tail));
        match self {
            Self::Fresh(out) => {
                let (head, tail) = fresh(out);
                (Self::Fresh(head), Self::Fresh(tail))
            }
            Self::Over(own) => both(Self::Over, held(own)),
            Self::Added(own) => both(Self::Added, held(own)),
        }
    }

    /// As the plan walks strips of `shape`.
    pub(super) fn walked(self, plan: &Plan, shape: Shape) -> Self {
        match self {
            Self::Fresh(out) => Self::Fresh(plan.walked_mut(shape, out)),
            Self::Over(held) => Self::Over(plan.walked_held(shape, held)),
            Self::Added(held) => Self::Added(plan.walked_held(shape, held)),
        }
    }

    /// A block's strips as the kernels get them, see [`Plan::parts`].
    pub(super) fn parts(self, plan: &Plan, parts: &[Part; 3]) -> [Self; 3] {
        match self {
            Self::Fresh(out) => plan.parts_mut(parts, out).map(Self::Fresh),
            Self::Over(held) => plan.parts_held(parts, held).map(Self::Over),
            Self::Added(held) => plan.parts_held(parts, held).map(Self::Added),
        }
    }

    /// Puts values to strip `row`, from element `start` on.
    #[inline(always)]
    pub(super) fn put(&mut self, row: usize, start: usize, values: &[T]) {
        match self {
            Self::Fresh(out) => out.strip_mut(row).copy(start, values),
            Self::Over(held) => held.strip_mut(row)[start..][..values.len()].copy_from_slice(values),
            Self::Added(held) => {
                for (to, &own) in held.strip_mut(row)[start..][..values.len()].iter_mut().zip(values) {
                    *to = T::from_compute(to.to_compute() + own.to_compute());
                }
            }
        }
    }

    /// Puts the values of all strips.
    pub(super) fn put_all(&mut self, values: &Strips<'_, T>) {
        (0..self.rows()).for_each(|row| self.put(row, 0, values.strip(row)));
    }
}

//! Views as they lie in memory.
//!
//! A view is taken as it is where its axes join to strips: in standard order, with gaps between the samples,
//! or as an (N,C,H,W) view of (N,H,W,C) memory and the other way round. Everything else is copied first, to
//! the standard order of its own layout. Results lie in memory as the input did.

use crate::driver;
use crate::num::Element;
use crate::tensor::{Layout, Shape, Strips, StripsMut};
use ndarray::{Array, Array2, ArrayView2, ArrayViewD, Axis, CowArray, Dimension, Ix2, IxDyn};

/// Which way the axes of a view have to be turned to stand in the order of memory.
#[derive(Clone, Copy, Debug)]
struct Order {
    view: Layout,
    memory: Layout,
}

impl Order {
    /// Those that a view may have, its own first.
    fn of(view: Layout) -> [Self; 2] {
        let other = match view {
            Layout::ChannelsFirst => Layout::ChannelsLast,
            Layout::ChannelsLast => Layout::ChannelsFirst,
        };
        [view, other].map(|memory| Self { view, memory })
    }

    /// The axes of the view, in the order of memory.
    fn axes(self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        let feature = axes.remove(self.view.axis(rank));
        axes.insert(self.memory.axis(rank), feature);
        axes
    }

    /// The same the other way round.
    fn back(self) -> Self {
        Self { view: self.memory, memory: self.view }
    }
}

/// An input as strips, with what is needed to make results that lie in memory as it does.
pub(super) struct InMemory<'a, T> {
    strips: CowArray<'a, T, Ix2>,
    /// The dimensions in the order of memory.
    dims: IxDyn,
    order: Order,
    shape: Shape,
}

impl<'a, T: Element> InMemory<'a, T> {
    /// `view`, whose dimensions make a valid shape in `layout`.
    pub(super) fn new(view: ArrayViewD<'a, T>, layout: Layout) -> Self {
        for order in Order::of(layout) {
            let (dims, shape) = order.turned(&view);
            if let Some(strips) = joined(view.clone(), order, shape) {
                return Self { strips: strips.into(), dims, order, shape };
            }
        }
        let order = Order { view: layout, memory: layout };
        let (dims, shape) = order.turned(&view);
        Self { strips: copied(view, order, shape).into(), dims, order, shape }
    }

    /// As [`new`](Self::new), in an order of memory that has the shape `expected`, copied if need be; `None` where none has.
    pub(super) fn of_shape(view: ArrayViewD<'a, T>, layout: Layout, expected: Shape) -> Option<Self> {
        let all = Order::of(layout).map(|order| (order, order.turned(&view)));
        let (order, (dims, shape)) = all.into_iter().find(|(_, (_, shape))| *shape == expected)?;
        let strips = match joined(view.clone(), order, shape) {
            Some(strips) => strips.into(),
            None => copied(view, order, shape).into(),
        };
        Some(Self { strips, dims, order, shape })
    }

    /// Another input of the same dimensions, in the same order of memory, copied if need be.
    pub(super) fn like<'b>(&self, view: ArrayViewD<'b, T>) -> InMemory<'b, T> {
        let strips = match joined(view.clone(), self.order, self.shape) {
            Some(strips) => strips.into(),
            None => copied(view, self.order, self.shape).into(),
        };
        InMemory { strips, dims: self.dims.clone(), order: self.order, shape: self.shape }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn strips(&self) -> Strips<'_, T> {
        Strips::from_view(self.strips.view()).unwrap_or_else(|| unreachable!("joined or copied to strips"))
    }

    /// Room for a result.
    pub(super) fn result(&self) -> Fresh<T> {
        let strips = Array2::from_elem(self.strips.dim(), T::default());
        Fresh { strips, dims: self.dims.clone(), order: self.order }
    }
}

/// A result, as strips until it is done.
pub(super) struct Fresh<T> {
    strips: Array2<T>,
    dims: IxDyn,
    order: Order,
}

impl<T: Element> Fresh<T> {
    pub(super) fn strips_mut(&mut self) -> StripsMut<'_, T> {
        let (rows, len) = self.strips.dim();
        let to = self.values().into();
        StripsMut::from_output(to, rows, len).unwrap_or_else(|| unreachable!("made contiguous"))
    }

    /// Its elements in the order of memory.
    pub(super) fn values(&mut self) -> &mut [T] {
        self.strips.as_slice_mut().unwrap_or_default()
    }

    /// The result in the dimensions of the input's view.
    pub(super) fn into_array<D: Dimension>(self) -> Array<T, D> {
        let axes = self.order.back().axes(self.dims.ndim());
        let turned = self.strips.into_shape_with_order(self.dims).map(|a| a.permuted_axes(axes));
        turned
            .and_then(Array::into_dimensionality)
            .unwrap_or_else(|_| unreachable!("as many elements and axes as the input"))
    }
}

impl Order {
    /// The dimensions of `view` in the order of memory, and their shape.
    fn turned<T>(self, view: &ArrayViewD<'_, T>) -> (IxDyn, Shape) {
        let dims: Vec<usize> = self.axes(view.ndim()).into_iter().map(|axis| view.shape()[axis]).collect();
        let shape = Shape::from_dims(&dims, self.memory).unwrap_or_else(|_| unreachable!("the same product"));
        (IxDyn(&dims), shape)
    }
}

/// `view` as strips in the order of memory, where it lies like that and the driver can walk it.
fn joined<T: Element>(view: ArrayViewD<'_, T>, order: Order, shape: Shape) -> Option<ArrayView2<'_, T>> {
    let rank = view.ndim();
    let mut view = view.permuted_axes(order.axes(rank));
    // The axes before the feature axis join to the strips' rows, it and those behind it to the strips.
    let (joined, dropped) = match order.memory {
        Layout::ChannelsFirst => (2..rank, 1),
        Layout::ChannelsLast => (1..rank - 1, 0),
    };
    for axis in joined {
        if !view.merge_axes(Axis(axis - 1), Axis(axis)) {
            return None;
        }
    }
    for _ in 2..rank {
        if view.len_of(Axis(dropped)) != 1 {
            return None;
        }
        view = view.index_axis_move(Axis(dropped), 0);
    }
    let strips = view.into_dimensionality::<Ix2>().ok()?;
    let walkable = strips.is_standard_layout() || driver::takes_strides(shape);
    (walkable && Strips::from_view(strips).is_some()).then_some(strips)
}

/// A copy of `view` as strips in the order of memory.
fn copied<T: Element>(view: ArrayViewD<'_, T>, order: Order, shape: Shape) -> Array2<T> {
    let rank = view.ndim();
    let turned = view.permuted_axes(order.axes(rank));
    let flat = turned.as_standard_layout().into_owned();
    flat.into_shape_with_order((shape.outer(), shape.features() * shape.inner()))
        .unwrap_or_else(|_| unreachable!("as many elements as the view"))
}

//! In what order the memory of a tensor has its axes.

use batchnorm::Layout;

/// How a tensor of shape (N, C, ...) is handed to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it is: channels first.
    Own,
    /// With its feature axis last, where that is how its memory lies.
    Last,
}

impl Order {
    /// That of a tensor, of which `is_contiguous` says whether a view with these axes is contiguous. What is contiguous neither way is
    /// to be copied, in its own order.
    pub fn of(rank: usize, is_contiguous: impl Fn(&[usize]) -> bool) -> Self {
        let own: Vec<usize> = (0..rank).collect();
        if !is_contiguous(&own) && is_contiguous(&Self::Last.axes(rank)) { Self::Last } else { Self::Own }
    }

    /// What a [`Shape`](batchnorm::Shape) of the view is made with.
    #[must_use]
    pub fn layout(self) -> Layout {
        match self {
            Self::Own => Layout::ChannelsFirst,
            Self::Last => Layout::ChannelsLast,
        }
    }

    /// The axes of the view.
    #[must_use]
    pub fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Self::Own => (0..rank).collect(),
            Self::Last => [0].into_iter().chain(2..rank).chain([1]).collect(),
        }
    }

    /// The axes of the view that bring a result back.
    #[must_use]
    pub fn back(self, rank: usize) -> Vec<usize> {
        match self {
            Self::Own => (0..rank).collect(),
            Self::Last => [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_where_it_was() {
        for rank in 2..6 {
            for order in [Order::Own, Order::Last] {
                let (there, back) = (order.axes(rank), order.back(rank));
                assert!(back.iter().enumerate().all(|(axis, &from)| there[from] == axis), "{rank} {order:?}");
            }
        }
        assert_eq!(Order::of(4, |axes| axes == [0, 2, 3, 1]), Order::Last);
        assert_eq!(Order::of(4, |_| true), Order::Own);
        assert_eq!(Order::of(4, |_| false), Order::Own);
    }
}

//! A tensor's sizes as the caller gave them: what messages speak of.

use crate::tensor::{Layout, Shape};
use std::fmt;

/// A tensor's sizes as the caller gave them: an array's dimensions, or the [`Shape`] beside a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Of an array.
    Array {
        /// Its dimensions.
        dims: Vec<usize>,
        /// Where the layer takes the feature axis to be.
        layout: Layout,
    },
    /// Of a slice.
    Slice(Shape),
}

impl Default for Sizes {
    fn default() -> Self {
        Self::Slice(Shape::default())
    }
}

impl Sizes {
    /// The length of the feature axis; 0 where there is none.
    #[must_use]
    pub fn features(&self) -> usize {
        match self {
            Self::Array { dims, layout } => {
                axis(*layout, dims.len()).and_then(|axis| dims.get(axis)).copied()
            }
            Self::Slice(shape) => Some(shape.features()),
        }
        .unwrap_or(0)
    }

    /// Why there may be another number of features than `expected`, as the end of a message.
    pub(super) fn cause(&self, expected: usize) -> String {
        match self {
            Self::Array { dims, layout } => {
                let own = axis(*layout, dims.len());
                let (other, name, place) = match layout {
                    Layout::ChannelsFirst => (Layout::ChannelsLast, "ChannelsLast", "the last axis"),
                    Layout::ChannelsLast => (Layout::ChannelsFirst, "ChannelsFirst", "axis 1"),
                };
                let has = |at: Option<usize>| {
                    at != own && at.and_then(|axis| dims.get(axis)).is_some_and(|&len| len == expected)
                };
                if has(axis(other, dims.len())) {
                    return format!(": {place} has {expected}, which `Layout::{name}` would take");
                }
                let elsewhere = (0..dims.len()).find(|&at| has(Some(at)));
                elsewhere.map_or_else(String::new, |at| {
                    format!(": axis {at} has {expected}, and `permuted_axes` would move it")
                })
            }
            Self::Slice(shape) if shape.inner() > 1 && expected > 1 && shape.inner() % expected == 0 => {
                ": if the features come last in memory, `Shape::nhwc` and its like describe it".into()
            }
            Self::Slice(_) => String::new(),
        }
    }
}

/// The feature axis of a tensor with so many axes.
fn axis(layout: Layout, rank: usize) -> Option<usize> {
    (rank > 0).then(|| layout.axis(rank))
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Array { dims, layout } => write!(f, "the dimensions {dims:?} ({layout})"),
            Self::Slice(shape) => write!(f, "the shape {shape}"),
        }
    }
}

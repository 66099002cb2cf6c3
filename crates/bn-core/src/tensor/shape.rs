//! (outer, features, inner): the one shape that every contiguous tensor with a feature axis has.

use std::fmt;

/// Where the feature axis of a tensor stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Layout {
    /// Axis 1: (N,C), (N,C,L), (N,C,H,W), (N,C,D,H,W), as PyTorch has it.
    #[default]
    ChannelsFirst,
    /// The last axis: (N,C), (N,L,C), (N,H,W,C), (N,D,H,W,C), as TensorFlow and Flax have it.
    ChannelsLast,
}

/// Why dimensions are no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// There is no batch axis beside the feature axis.
    #[error("expected a tensor of rank 2 or more (a batch axis and a feature axis), got rank {got}")]
    Rank {
        /// The tensor's rank.
        got: usize,
    },
    /// The number of elements does not fit in `isize`.
    #[error("expected at most {} elements, got the dimensions {dims:?}", isize::MAX)]
    TooLarge {
        /// The dimensions asked for.
        dims: Vec<usize>,
    },
}

/// A tensor's shape as batch normalization sees it: (outer, features, inner), row-major.
///
/// (N,C) and channels-last tensors have inner = 1; (N,C,H,W) has outer = N and inner = H·W. A feature has
/// outer·inner values, its *count*, the n of the formulae.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    outer: usize,
    features: usize,
    inner: usize,
}

impl Shape {
    /// The shape (outer, features, inner).
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`] where the number of elements exceeds `isize::MAX`.
    pub fn new(outer: usize, features: usize, inner: usize) -> Result<Self, ShapeError> {
        // Zeros must not hide an overflow of the other two, which are multiplied on their own elsewhere.
        let len = [outer, features, inner].iter().try_fold(1usize, |len, &d| len.checked_mul(d.max(1)));
        match len {
            Some(len) if isize::try_from(len).is_ok() => Ok(Self { outer, features, inner }),
            _ => Err(ShapeError::TooLarge { dims: vec![outer, features, inner] }),
        }
    }

    /// The shape of a row-major tensor with the dimensions `dims` and its feature axis where `layout` says.
    ///
    /// # Errors
    /// [`ShapeError::Rank`] where there are fewer than two dimensions, [`ShapeError::TooLarge`].
    pub fn from_dims(dims: &[usize], layout: Layout) -> Result<Self, ShapeError> {
        let product = |d: &[usize]| {
            d.iter()
                .try_fold(1usize, |p, &d| p.checked_mul(d))
                .ok_or_else(|| ShapeError::TooLarge { dims: dims.to_vec() })
        };
        match (dims, layout) {
            ([n, c, rest @ ..], Layout::ChannelsFirst) => Self::new(*n, *c, product(rest)?),
            ([outer @ .., c], Layout::ChannelsLast) if !outer.is_empty() => Self::new(product(outer)?, *c, 1),
            _ => Err(ShapeError::Rank { got: dims.len() }),
        }
    }

    /// (N, C): a batch of N rows with C features.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`], as for every constructor below.
    pub fn nc(n: usize, c: usize) -> Result<Self, ShapeError> {
        Self::new(n, c, 1)
    }
    /// (N, C, L): sequences, features first.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`].
    pub fn ncl(n: usize, c: usize, l: usize) -> Result<Self, ShapeError> {
        Self::new(n, c, l)
    }
    /// (N, C, H, W): images, features first.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`].
    pub fn nchw(n: usize, c: usize, h: usize, w: usize) -> Result<Self, ShapeError> {
        Self::from_dims(&[n, c, h, w], Layout::ChannelsFirst)
    }
    /// (N, C, D, H, W): volumes, features first.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`].
    pub fn ncdhw(n: usize, c: usize, d: usize, h: usize, w: usize) -> Result<Self, ShapeError> {
        Self::from_dims(&[n, c, d, h, w], Layout::ChannelsFirst)
    }
    /// (N, L, C): sequences, features last.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`].
    pub fn nlc(n: usize, l: usize, c: usize) -> Result<Self, ShapeError> {
        Self::from_dims(&[n, l, c], Layout::ChannelsLast)
    }
    /// (N, H, W, C): images, features last.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`].
    pub fn nhwc(n: usize, h: usize, w: usize, c: usize) -> Result<Self, ShapeError> {
        Self::from_dims(&[n, h, w, c], Layout::ChannelsLast)
    }
    /// (N, D, H, W, C): volumes, features last.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`].
    pub fn ndhwc(n: usize, d: usize, h: usize, w: usize, c: usize) -> Result<Self, ShapeError> {
        Self::from_dims(&[n, d, h, w, c], Layout::ChannelsLast)
    }

    /// What varies slower than the feature.
    #[must_use]
    pub fn outer(&self) -> usize {
        self.outer
    }
    /// C, the number of features.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }
    /// What varies faster than the feature.
    #[must_use]
    pub fn inner(&self) -> usize {
        self.inner
    }
    /// n, the number of values of one feature: outer · inner.
    #[must_use]
    pub fn count(&self) -> usize {
        self.outer * self.inner
    }
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outer * self.features * self.inner
    }
    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(outer {}, features {}, inner {})", self.outer, self.features, self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_agree_on_features_and_count() {
        let first = Shape::nchw(2, 3, 4, 5).unwrap();
        let last = Shape::nhwc(2, 4, 5, 3).unwrap();
        assert_eq!((first.outer(), first.features(), first.inner()), (2, 3, 20));
        assert_eq!((last.outer(), last.features(), last.inner()), (40, 3, 1));
        assert_eq!((first.count(), first.len()), (last.count(), last.len()));
        assert_eq!(Shape::nc(7, 5).unwrap(), Shape::from_dims(&[7, 5], Layout::ChannelsLast).unwrap());
    }

    #[test]
    fn wrong_ranks_and_overflow_are_errors() {
        for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
            assert_eq!(Shape::from_dims(&[], layout), Err(ShapeError::Rank { got: 0 }));
            assert_eq!(Shape::from_dims(&[3], layout), Err(ShapeError::Rank { got: 1 }));
        }
        assert!(matches!(Shape::nc(usize::MAX, 2), Err(ShapeError::TooLarge { .. })));
        assert!(matches!(Shape::new(usize::MAX, 0, usize::MAX), Err(ShapeError::TooLarge { .. })));
        assert!(matches!(Shape::nchw(1, 1, usize::MAX, usize::MAX), Err(ShapeError::TooLarge { .. })));
        assert!(Shape::nc(0, 5).unwrap().is_empty());
    }
}

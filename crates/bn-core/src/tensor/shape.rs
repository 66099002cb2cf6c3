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

impl Layout {
    /// The feature axis of so many axes, at least one.
    pub(crate) fn axis(self, rank: usize) -> usize {
        match self {
            Self::ChannelsFirst => 1,
            Self::ChannelsLast => rank - 1,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChannelsFirst => "channels first",
            Self::ChannelsLast => "channels last",
        })
    }
}

/// Why dimensions are no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// There is no batch axis beside the feature axis.
    #[error("expected a tensor of rank 2 or more (a batch axis and a feature axis), got rank {got}{}", batch_of_one(*got))]
    Rank {
        /// The tensor's rank.
        got: usize,
    },
    /// The number of elements does not fit in `isize`.
    #[error("expected at most {} elements, got the dimensions {dims:?}{}", isize::MAX, below_zero(dims))]
    TooLarge {
        /// The dimensions asked for.
        dims: Vec<usize>,
    },
}

/// What to do with a single sample.
fn batch_of_one(rank: usize) -> &'static str {
    if rank == 1 { ": `insert_axis(Axis(0))` makes one sample a batch" } else { "" }
}

/// Says so where a dimension can only come from a subtraction.
fn below_zero(dims: &[usize]) -> &'static str {
    let negative = dims.iter().any(|&dim| isize::try_from(dim).is_err());
    if negative { ": a subtraction below 0 gives such sizes" } else { "" }
}

/// A tensor's shape as batch normalization sees it: (outer, features, inner), row-major.
///
/// (N,C) and channels-last tensors have inner = 1; (N,C,H,W) has outer = N and inner = H·W. A feature has
/// outer·inner values, its *count*, the n of the formulae.
///
/// ```
/// use batchnorm::{Layout, Shape};
///
/// let shape = Shape::nchw(8, 64, 28, 28)?;
/// assert_eq!((shape.outer(), shape.features(), shape.inner()), (8, 64, 784));
/// assert_eq!((shape.count(), shape.len()), (8 * 784, 8 * 64 * 784));
/// assert_eq!(Shape::nhwc(8, 28, 28, 64)?.count(), shape.count());
/// assert_eq!(Shape::from_dims(&[8, 64, 28, 28], Layout::ChannelsFirst)?, shape);
/// # Ok::<(), batchnorm::ShapeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Stored"))]
pub struct Shape {
    outer: usize,
    features: usize,
    inner: usize,
}

/// A shape as it is stored.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename = "Shape", deny_unknown_fields)]
struct Stored {
    outer: usize,
    features: usize,
    inner: usize,
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for Shape {
    type Error = ShapeError;

    fn try_from(Stored { outer, features, inner }: Stored) -> Result<Self, ShapeError> {
        Self::new(outer, features, inner)
    }
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
        let too_large = || ShapeError::TooLarge { dims: dims.to_vec() };
        let product = |d: &[usize]| d.iter().try_fold(1usize, |p, &d| p.checked_mul(d)).ok_or_else(too_large);
        match (dims, layout) {
            ([n, c, rest @ ..], Layout::ChannelsFirst) => Self::new(*n, *c, product(rest)?),
            ([outer @ .., c], Layout::ChannelsLast) if !outer.is_empty() => Self::new(product(outer)?, *c, 1),
            _ => return Err(ShapeError::Rank { got: dims.len() }),
        }
        .map_err(|_| too_large())
    }

    /// (N, C): a batch of N rows with C features.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`], as for every constructor below.
    pub fn nc(n: usize, c: usize) -> Result<Self, ShapeError> {
        Self::from_dims(&[n, c], Layout::ChannelsFirst)
    }
    /// (N, C, L): sequences, features first.
    ///
    /// # Errors
    /// [`ShapeError::TooLarge`].
    pub fn ncl(n: usize, c: usize, l: usize) -> Result<Self, ShapeError> {
        Self::from_dims(&[n, c, l], Layout::ChannelsFirst)
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

    /// Messages have the dimensions that the caller gave, not the three that they come to.
    #[test]
    fn messages_have_the_callers_dimensions() {
        let text = |error: Result<Shape, ShapeError>| error.unwrap_err().to_string();
        let most = "expected at most 9223372036854775807 elements";
        let large = usize::MAX / 4;
        assert_eq!(
            text(Shape::nhwc(8, large, 2, 3)),
            format!("{most}, got the dimensions [8, {large}, 2, 3]")
        );
        assert_eq!(
            text(Shape::nc(usize::MAX, 2)),
            format!("{most}, got the dimensions [{}, 2]: a subtraction below 0 gives such sizes", usize::MAX)
        );
        let rank = "expected a tensor of rank 2 or more (a batch axis and a feature axis)";
        assert_eq!(text(Shape::from_dims(&[], Layout::ChannelsLast)), format!("{rank}, got rank 0"));
        assert_eq!(
            text(Shape::from_dims(&[3], Layout::ChannelsFirst)),
            format!("{rank}, got rank 1: `insert_axis(Axis(0))` makes one sample a batch")
        );
    }
}

//! What can be wrong with the input. Nothing is written where an error is returned.

use super::saved::Mode;
use crate::tensor::{Shape, ShapeError};

/// Why a call was refused: what was expected and what came.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The dimensions are no shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The tensor's feature axis has another length than the layer.
    #[error("expected {expected} features, got {got} in {what}")]
    Features {
        /// What has the wrong number of features.
        what: &'static str,
        /// The layer's number of features.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// A buffer has the wrong length.
    #[error("expected {expected} elements in {what}, got {got}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// The length it should have.
        expected: usize,
        /// Its length.
        got: usize,
    },
    /// An array has other dimensions than the one it belongs to.
    #[error("expected {what} of the dimensions {expected:?}, got {got:?}")]
    Dims {
        /// The array.
        what: &'static str,
        /// The dimensions it should have.
        expected: Vec<usize>,
        /// Its dimensions.
        got: Vec<usize>,
    },
    /// The forward that saved the state saw another shape.
    #[error("expected {what} of the saved forward's shape {expected}, got {got}")]
    SavedShape {
        /// What differs.
        what: &'static str,
        /// The shape of the forward.
        expected: Shape,
        /// What came.
        got: Shape,
    },
    /// The saved state is of a forward in another mode.
    #[error("expected the saved state of a forward in {expected} mode, got one of {got} mode")]
    SavedMode {
        /// The mode that the call needs.
        expected: Mode,
        /// The mode of the forward.
        got: Mode,
    },
    /// Batch statistics of a single value per feature have no spread to divide by.
    #[error("expected more than 1 value per feature to take batch statistics, got 1 in {shape}")]
    OneValue {
        /// The tensor's shape.
        shape: Shape,
    },
    /// A parameter array has been replaced by one whose elements are not side by side.
    #[error("expected {what} in contiguous memory, got an array with a stride")]
    Strided {
        /// The parameter.
        what: &'static str,
    },
    /// The sums of a batch's parts do not fit together, or not the call.
    #[error("expected {expected}, got {got}")]
    Parts {
        /// What the call needs.
        expected: String,
        /// What came.
        got: String,
    },
    /// `eps` would not keep the variance above zero.
    #[error("expected eps finite and greater than 0, got {got}")]
    Eps {
        /// What came.
        got: f64,
    },
    /// `momentum` is no weight.
    #[error("expected momentum finite, or None for the cumulative average, got {got}")]
    Momentum {
        /// What came.
        got: f64,
    },
}

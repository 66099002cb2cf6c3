//! What can be wrong with the input. Nothing is written where an error is returned.

use super::mode::Mode;
use super::one_value::Single;
use super::sizes::Sizes;
use crate::tensor::ShapeError;
use std::borrow::Cow;

/// Why a call was refused: what was expected, what came, and the likely cause where there is one.
///
/// Sizes are those of the caller's own arrays and shapes.
///
/// ```
/// use batchnorm::{BatchNorm, Error};
/// use ndarray::Array4;
///
/// let mut bn = BatchNorm::<f32>::new(64)?; // channels first
/// let error = bn.forward(&Array4::zeros((8, 28, 28, 64))).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "expected 64 features in x, got 28 in the dimensions [8, 28, 28, 64] (channels first): \
///      the last axis has 64, which `Layout::ChannelsLast` would take"
/// );
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The dimensions are no shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The tensor has another number of features than the layer.
    #[error("expected {expected} features in {what}, got {} in {got}{}", got.features(), cause(what, got, *expected))]
    Features {
        /// What has the wrong number of features.
        what: &'static str,
        /// The layer's number of features.
        expected: usize,
        /// The sizes of what came.
        got: Sizes,
    },
    /// Memory does not hold the parameters of as many features.
    #[error("expected as many features as memory holds, got {got}: is it the number of all elements?")]
    TooManyFeatures {
        /// The number asked for.
        got: usize,
    },
    /// A buffer has the wrong length.
    #[error("expected {expected} elements in {what}, got {got}{}", without(what, *expected))]
    Length {
        /// The buffer.
        what: &'static str,
        /// The length it should have.
        expected: usize,
        /// Its length.
        got: usize,
    },
    /// An array has other dimensions than the one it belongs to.
    #[error("expected {what} of the dimensions {expected:?}, got {got:?}{}", turned(expected, got))]
    Dims {
        /// The array.
        what: &'static str,
        /// The dimensions it should have.
        expected: Vec<usize>,
        /// Its dimensions.
        got: Vec<usize>,
    },
    /// The forward that saved the state saw another shape.
    #[error("expected {what} of {expected}, as its forward had it, got {got}")]
    SavedShape {
        /// What differs.
        what: &'static str,
        /// The sizes of the forward.
        expected: Sizes,
        /// What came.
        got: Sizes,
    },
    /// The saved state is of a forward in another mode.
    #[error("expected the saved state of a forward in {expected} mode, got one of {got} mode: {}", takes(*got))]
    SavedMode {
        /// The mode that the call needs.
        expected: Mode,
        /// The mode of the forward.
        got: Mode,
    },
    /// No forward has filled the state.
    #[error(
        "expected the state that a forward saved, got an empty `Saved`: run the forward first, with this `Saved`"
    )]
    EmptySaved,
    /// Batch statistics of a single value per feature have no spread to divide by.
    #[error("expected more than 1 value per feature to take batch statistics, got 1 {} {got}: {}", of.of_what(), of.instead(*mode))]
    OneValue {
        /// What was computed.
        mode: Mode,
        /// Which values were only one.
        of: Single,
        /// The tensor's sizes.
        got: Sizes,
    },
    /// A layer without running statistics was to take them for constants.
    #[error(
        "expected running statistics to freeze, got a layer that tracks none: its forwards take the batch's"
    )]
    NothingToFreeze,
    /// A parameter array has been replaced by one whose elements are not side by side.
    #[error("expected {what} in contiguous memory, got an array with a stride")]
    Strided {
        /// The parameter.
        what: &'static str,
    },
    /// What is to be merged, of a batch's parts say, does not fit together, or not the call.
    #[error("expected {expected}, got {got}")]
    Parts {
        /// What the call needs.
        expected: String,
        /// What came.
        got: String,
    },
    /// The ranks of a communicator do not do the same, or one is gone.
    #[error("expected {expected}, got {got}")]
    Ranks {
        /// What the call needs.
        expected: String,
        /// What came.
        got: String,
    },
    /// The layer cannot be folded, or not into this.
    #[error("expected {expected}, got {got}")]
    Fold {
        /// What the call needs.
        expected: String,
        /// What came.
        got: String,
    },
    /// What was loaded is no state of a layer or of a forward.
    #[error("expected {expected} in {what}, got {got}")]
    State {
        /// The field, or the tensor of a file.
        what: Cow<'static, str>,
        /// What it may hold.
        expected: String,
        /// What came.
        got: String,
    },
    /// What a backward needs of a forward with options was not kept, or options do not go together.
    #[error("expected {expected}, got {got}")]
    Options {
        /// What the call needs.
        expected: String,
        /// What came.
        got: String,
    },
    /// The slope of a leaky activation is none.
    #[error("expected a slope that is finite in the type of arithmetic and 0 or more, got {got}")]
    Slope {
        /// What came.
        got: f64,
    },
    /// `eps` would not keep the variance above zero.
    #[error("expected eps finite and greater than 0, got {got}")]
    Eps {
        /// What came.
        got: f64,
    },
    /// `momentum` is no weight.
    #[error("expected momentum from 0 to 1, or None for the cumulative average, got {got}")]
    Momentum {
        /// What came.
        got: f64,
    },
}

/// Whether a buffer has the length it must have.
pub(super) fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

/// Why the number of features may be another one.
fn cause(what: &str, got: &Sizes, expected: usize) -> String {
    if what == "x" { got.cause(expected) } else { ": is it another layer's?".into() }
}

/// Why a gradient is not there.
fn without(what: &str, expected: usize) -> &'static str {
    match (what, expected) {
        ("dweight" | "dbias", 0) => ": the layer does not have the parameter, or it is frozen",
        _ => "",
    }
}

/// Says so where the axes only come in another order.
fn turned(expected: &[usize], got: &[usize]) -> &'static str {
    let sorted = |dims: &[usize]| {
        let mut dims = dims.to_vec();
        dims.sort_unstable();
        dims
    };
    if sorted(expected) == sorted(got) { ": its axes come in another order" } else { "" }
}

/// What takes the state of a forward in this mode.
fn takes(mode: Mode) -> &'static str {
    match mode {
        Mode::Train => "`backward` takes it",
        Mode::Eval => "`backward_eval` takes it, and nothing is committed",
    }
}

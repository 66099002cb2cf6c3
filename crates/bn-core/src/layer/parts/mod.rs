//! A batch in parts: micro-batches one after the other, or the shares of several machines.
//!
//! A part's sums are a value, [`PartialSums`]. Whoever has those of all parts, in any order, has what the whole batch would
//! give. Where the parts are cut at [leaves](split_every) the bits are the same, whatever the number of parts; elsewhere the errors
//! stay within the same limits. Statistics and gradients follow from all of the sums, outputs from each part and them:
//!
//! ```text
//! forward    Pooled::sum of each part → merge → Pooled::settle, which may ask for all parts once more → Pooled::forward of each
//! backward   sum_gradients of each part → merge → backward of each
//! ```
//!
//! [`Moments`] are statistics without that promise of bits, within the same limits: taken in one go over each part, by this crate or
//! by somebody else, and merged in any order. They take the place of the first two steps, and nobody has to go over the parts twice:
//!
//! ```text
//! forward    Moments::of each part → merge → Pooled::of → Pooled::forward of each
//! ```
//!
//! Not the same to the bit are features of f64 that leave the kernels' [range](crate#range): a whole batch takes their sums anew in
//! other units. Sums of x may overflow there, [`Moments`] and the sums of gradients do not.

mod gradients;
mod moments;
mod pooled;
mod second;
mod sums;
mod wire;

pub use gradients::{backward, sum_gradients};
pub(super) use gradients::{parameters, run, sums};
pub use moments::Moments;
pub use pooled::Pooled;
pub(super) use pooled::checked;
pub(super) use second::Part as SecondPart;
pub use sums::PartialSums;

use super::checked::check_mask;
use super::error::{Error, check_len};
use crate::driver;
use crate::num::Real;
use crate::tensor::{Layout, Shape, ShapeError};
use sums::{Kind, Of, around};

/// The input of a part of a batch, as it is summed: `x` of the shape `shape`, perhaps with a mask over its samples and positions, as
/// [`Options::mask`](crate::Options) has it.
///
/// ```
/// use batchnorm::parts::{Moments, Part};
/// use batchnorm::{DefaultBackend, Shape, Workspace};
///
/// let (x, valid) = ([1.0_f32, 3.0, 99.0], [true, true, false]);
/// let part = Part::new(Shape::nc(3, 1)?, &x).mask(&valid);
/// let moments = Moments::of(&DefaultBackend::default(), part, &mut Workspace::default())?;
/// assert_eq!((moments.count(), moments.mean()), (2, vec![2.0]));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, T> {
    shape: Shape,
    x: &'a [T],
    mask: Option<&'a [bool]>,
}

impl<'a, T> Part<'a, T> {
    /// Of `shape.len()` elements, row-major, all of which exist.
    #[must_use]
    pub fn new(shape: Shape, x: &'a [T]) -> Self {
        Self { shape, x, mask: None }
    }

    /// With a mask: `true` for what exists, N·(positions) values, row-major.
    #[must_use]
    pub fn mask(self, mask: &'a [bool]) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// Whether its buffers have the shape's lengths.
    fn check(&self) -> Result<(), Error> {
        check_len("x", self.shape.len(), self.x.len())?;
        self.mask.map_or(Ok(()), |mask| check_mask(self.shape, mask).map(|_| ()))
    }
}

/// A part of a batch must begin and end at a multiple of so many entries of the first axis, or at the batch's end, for the bits
/// of the whole. `dims` are those of any part or of the whole: their first one does not matter.
///
/// # Errors
/// As [`Shape::from_dims`].
///
/// ```
/// use batchnorm::{Layout, parts};
///
/// let every = parts::split_every(&[256, 64, 28, 28], Layout::ChannelsFirst)?;
/// let cut = 256 / 2 / every * every; // near the middle
/// assert_eq!(cut % every, 0);
/// # Ok::<(), batchnorm::ShapeError>(())
/// ```
pub fn split_every(dims: &[usize], layout: Layout) -> Result<usize, ShapeError> {
    let one: Vec<usize> =
        dims.iter().enumerate().map(|(axis, &len)| if axis == 0 { 1 } else { len }).collect();
    let shape = Shape::from_dims(&one, layout)?;
    let leaf = driver::leaf_samples(shape.features(), shape.inner());
    // In channels last an entry is as many samples as it has positions.
    let (mut a, mut b) = (leaf, shape.outer());
    while b > 0 {
        (a, b) = (b, a % b);
    }
    Ok(leaf / a.max(1))
}

fn of<R: Real>(kind: Kind, shape: Shape, pilots: Option<&[R]>) -> Of {
    Of { kind, features: shape.features(), inner: shape.inner(), around: around(pilots) }
}

/// Whether the samples of a part, and their leaves, can be counted.
fn check_samples(shape: Shape, first: usize) -> Result<(), Error> {
    let leaf = driver::leaf_samples(shape.features(), shape.inner());
    let end = first.checked_add(shape.outer()).and_then(|end| end.checked_next_multiple_of(leaf));
    let expected = "a first sample with room behind it for the part's";
    end.map_or_else(|| Err(wrong(expected, &first.to_string())), |_| Ok(()))
}

fn wrong(expected: &str, got: &str) -> Error {
    Error::Parts { expected: expected.into(), got: got.into() }
}

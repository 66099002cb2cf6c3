//! Where a step over slices puts its output.

use super::error::Error;
use crate::driver::Target;
use crate::mem::Output;
use crate::num::Element;
use crate::tensor::{Held, Shape, Strips};

/// Where a step puts the output that is of its tensor's length: y, or dx.
///
/// An output that goes over an input borrows it for writing, and the step has no other reference to it:
///
/// | | in memory of its own | over the input | added |
/// | --- | --- | --- | --- |
/// | y | `Forward::new(shape, &x, &mut y)` | `Forward::over(shape, &mut x)`, in evaluation | – |
/// | dx | `Backward { dx: Some((&mut dx).into()), ..Backward::new(&x, &dy) }` | `Backward::over(&x, &mut dy)` | `Backward { dx: Some(To::Added(&mut grad)), ..Backward::new(&x, &dy) }` |
///
/// An element has the bits that it has in memory of its own. An added one is rounded to `T` first, and its sum with what is there
/// once more: the bits of a backward with a sweep of additions after it.
///
/// ```
/// use batchnorm::functions::{Backward, Forward, To};
/// use batchnorm::{BatchNorm, Saved, Shape, Workspace};
///
/// let mut bn = BatchNorm::<f32>::new(1)?;
/// let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
/// let (x, mut y, mut dy) = ([1.0, 3.0, 5.0], [0.0; 3], [1.0, 0.0, 0.0]);
/// bn.forward_step(Forward::new(Shape::nc(3, 1)?, &x, &mut y), &mut saved, &mut workspace)?;
///
/// let mut skip = [10.0; 3]; // the gradient of a skip connection
/// let step = Backward { dx: Some(To::Added(&mut skip)), ..Backward::new(&x, &dy) };
/// bn.backward_step(step, &saved, &mut workspace)?;
/// bn.backward_step(Backward::over(&x, &mut dy), &saved, &mut workspace)?; // dy is dx now
/// assert_eq!(skip, dy.map(|dx| 10.0 + dx));
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// What is read cannot be written at the same time:
///
/// ```compile_fail,E0502
/// use batchnorm::functions::{Backward, To};
///
/// let (x, mut dy) = ([1.0_f32, 3.0], [1.0, 0.5]);
/// let _step = Backward { dx: Some(To::Over(&mut dy)), ..Backward::new(&x, &dy) };
/// ```
#[derive(Debug)]
pub enum To<'a, T> {
    /// To memory of its own, which need not hold values yet: made with `into()` of a `&mut [T]` or of a `&mut [MaybeUninit<T>]`.
    Fresh(Output<'a, T>),
    /// Over the input that is here, x of a forward or dy of a backward: [`Forward::over`] and [`Backward::over`] put it here.
    ///
    /// [`Forward::over`]: super::functions::Forward::over
    /// [`Backward::over`]: super::functions::Backward::over
    Over(&'a mut [T]),
    /// It is added to what is here. For a backward's dx.
    Added(&'a mut [T]),
}

impl<'a, T, O: Into<Output<'a, T>>> From<O> for To<'a, T> {
    fn from(output: O) -> Self {
        Self::Fresh(output.into())
    }
}

/// The names of an input and of the output that may go over it.
type Names = [&'static str; 2];

/// The strips of `input` and of what becomes of it, which have the lengths they must have. The input is absent where the output
/// goes over it, and empty as the caller has it.
pub(super) fn strips<'a, T: Element>(
    shape: Shape,
    [of, name]: Names,
    input: &'a [T],
    to: Option<To<'a, T>>,
) -> Result<(Strips<'a, T>, Option<Target<'a, T>>), Error> {
    let length = |what, got| Error::Length { what, expected: shape.len(), got };
    let held = |what, buf: &'a mut [T]| {
        let got = buf.len();
        Held::new(shape, buf).ok_or_else(|| length(what, got))
    };
    let given = match &to {
        Some(To::Over(_)) if !input.is_empty() => {
            return Err(Error::Options {
                expected: format!("no other {of} beside the one that {name} goes over"),
                got: format!("one of {} values", input.len()),
            });
        }
        Some(To::Over(_)) => Strips::absent(shape.outer(), shape.features() * shape.inner()),
        _ => shape.strips(input).ok_or_else(|| length(of, input.len()))?,
    };
    let to = match to {
        None => None,
        Some(To::Fresh(output)) => {
            let got = output.len();
            Some(Target::Fresh(shape.strips_mut(output).ok_or_else(|| length(name, got))?))
        }
        Some(To::Over(buf)) => Some(Target::Over(held(of, buf)?)),
        Some(To::Added(buf)) => Some(Target::Added(held(name, buf)?)),
    };
    Ok((given, to))
}

//! Outputs over inputs, and gradients that are added to others, on every backend: the bits of a case are those that it has in memory
//! of its own.

use crate::case::Case;
use crate::digest::same_bits;
use crate::run::{layer, widened};
use bn_core::functions::{Backward, Forward, To};
use bn_core::{Backend, Element, Error, Mode, Real, Saved, Workspace};

/// The outputs of a case whose bits are others where they go over an input, or are added to what is there.
///
/// # Errors
/// What the layer says to the case's input.
pub(crate) fn other_bits<T: Element, B: Backend + Clone>(
    case: &Case<T>,
    backend: &B,
) -> Result<Vec<&'static str>, Error> {
    let (bn, shape, x) = (layer(case, backend.clone())?, case.shape()?, &case.x);
    let (mut workspace, mut other) = (Workspace::default(), Vec::new());
    let mut forward = |step: Forward<'_, T>| {
        let (mut saved, step) = (Saved::default(), Forward { options: case.options(), ..step });
        match case.mode {
            Mode::Train => bn.forward_uncommitted_step(step, &mut saved, &mut workspace)?,
            Mode::Eval => bn.forward_eval_step(step, &mut saved, &mut workspace)?,
        }
        Ok::<_, Error>(saved)
    };
    let mut same = |name, got: &[T], want: &[T]| {
        if !same_bits(&widened(got), &widened(want)) {
            other.push(name);
        }
    };
    let mut y = vec![T::default(); x.len()];
    let saved = forward(Forward::new(shape, x, &mut y))?;
    if case.mode == Mode::Eval {
        let mut over = x.clone();
        forward(Forward::over(shape, &mut over))?;
        same("y over x", &over, &y);
    }
    let Some(dy) = &case.dy else { return Ok(other) };
    let mut backward = |step: Backward<'_, T>| {
        bn.backward_step(Backward { kept: case.kept(), ..step }, &saved, &mut workspace)
    };
    let (mut dx, mut over) = (y, dy.clone());
    backward(Backward { dx: Some((&mut dx).into()), ..Backward::new(x, dy) })?;
    backward(Backward::over(x, &mut over))?;
    same("dx over dy", &over, &dx);
    // To something of dx's size, of either sign.
    let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
    let there: Vec<T> = dx.iter().enumerate().map(|(i, &dx)| dx * number([0.7, -1.0, 3.0][i % 3])).collect();
    let mut added = there.clone();
    backward(Backward { dx: Some(To::Added(&mut added)), ..Backward::new(x, dy) })?;
    let sum = |(there, dx): (&T, &T)| T::from_compute(there.to_compute() + dx.to_compute());
    let sums: Vec<T> = there.iter().zip(&dx).map(sum).collect();
    same("dx added", &added, &sums);
    Ok(other)
}

/// What of a case is wrong, a line for each output; `single` where it has one value per feature.
pub(crate) fn failures(single: bool, got: Result<Vec<&'static str>, Error>) -> Vec<String> {
    match got {
        Ok(other) => other.into_iter().map(|what| format!("other bits of {what}")).collect(),
        Err(Error::OneValue { .. }) if single => Vec::new(),
        Err(error) => vec![format!("buffers: {error}")],
    }
}

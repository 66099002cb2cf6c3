//! Vectors that a step fills: their memory is not written before.

#![allow(unsafe_code, reason = "what a step has written is taken for values")]

use batchnorm::functions::{self, Backward, Forward, Running};
use batchnorm::{DefaultBackend, Element, Error, Output, Saved, Workspace};
use std::mem::MaybeUninit;

/// The output of a forward, in the memory of `y`.
pub(crate) fn forward<T: Element>(
    mut y: Vec<T>,
    step: Forward<'_, T>,
    running: Option<Running<'_, T::Compute>>,
    (saved, workspace): (&mut Saved<T>, &mut Workspace<T>),
) -> Result<Vec<T>, Error> {
    let backend = DefaultBackend::default();
    let len = step.shape.len();
    let step = Forward { y: room(&mut y, len).into(), ..step };
    match running {
        Some(running) => functions::eval(&backend, step, Some(running), saved, workspace)?,
        None => functions::train(&backend, step, saved, workspace)?,
    }
    // SAFETY: the forward was Ok, so that every element of its output has been written; there were `len` of them.
    unsafe { y.set_len(len) };
    Ok(y)
}

/// The gradient of a backward's input, where it is wanted: in the memory of `dx`.
pub(crate) fn backward<T: Element>(
    dx: Option<Vec<T>>,
    step: Backward<'_, T>,
    (saved, workspace): (&Saved<T>, &mut Workspace<T>),
) -> Result<Option<Vec<T>>, Error> {
    let (mut dx, len) = (dx, step.x.len());
    let output = dx.as_mut().map(|dx| room(dx, len).into());
    functions::backward(&DefaultBackend::default(), Backward { dx: output, ..step }, saved, workspace)?;
    if let Some(dx) = &mut dx {
        // SAFETY: the backward was Ok, so that every element of dx has been written; there were `len` of them.
        unsafe { dx.set_len(len) };
    }
    Ok(dx)
}

/// Memory for `len` elements of a vector, which is empty then.
fn room<T: Copy>(vec: &mut Vec<T>, len: usize) -> Output<'_, T> {
    vec.clear();
    vec.reserve_exact(len);
    let fresh: &mut [MaybeUninit<T>] = &mut vec.spare_capacity_mut()[..len];
    fresh.into()
}

#[cfg(test)]
mod tests {
    use crate::{Inputs, Step, Wanted};
    use batchnorm::{Activation, Shape};

    /// Long and short runs, values side by side: every element is written, with a residual or without, and again in memory that
    /// has been used before.
    #[test]
    fn outputs_are_written_whole() {
        for (outer, features, inner) in [(7, 5, 300), (6, 40, 49), (33, 70, 1), (500, 3, 1), (0, 3, 4)] {
            let shape = Shape::new(outer, features, inner).unwrap();
            let values = |m: usize| (0..shape.len()).map(|i| (i * m % 4099) as f32 / 2049.5 - 1.0).collect();
            let [x, dy, residual]: [Vec<f32>; 3] = [7919, 104_729, 15_485_863].map(values);
            let step = |residual: Option<&[f32]>| {
                let step = Step::train(shape, 1e-5).activation(Activation::Relu);
                let inputs = Inputs { residual, ..Inputs::new(&x) };
                let y = step.forward_in(vec![f32::NAN; 7], inputs).unwrap();
                let wanted = Wanted { residual: residual.is_some(), ..Wanted::ALL };
                let of = step.backward(&x, residual.map(|_| &y[..]), &dy, wanted).unwrap();
                assert_eq!((y.len(), of.dx.as_ref().map(Vec::len)), (x.len(), Some(x.len())));
                assert!(y.iter().all(|v| *v >= 0.0) && of.dx.iter().flatten().all(|v| v.is_finite()));
                (y, of)
            };
            assert_eq!(step(None), step(None));
            assert_eq!(step(Some(&residual)), step(Some(&residual)));
        }
    }
}

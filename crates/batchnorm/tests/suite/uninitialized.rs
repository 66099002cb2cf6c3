//! Outputs may be memory that holds no values yet.

#![expect(unsafe_code, reason = "what a step has written is taken for values")]

use batchnorm::functions::{self, Backward, Forward};
use batchnorm::{DefaultBackend, Output, Saved, Shape, Workspace};
use std::mem::MaybeUninit;

fn uninitialized(len: usize) -> Vec<MaybeUninit<f32>> {
    vec![MaybeUninit::uninit(); len]
}

fn values(fresh: Vec<MaybeUninit<f32>>) -> Vec<u32> {
    // SAFETY: the step was Ok, so that every element has been written.
    fresh.into_iter().map(|value| unsafe { value.assume_init() }.to_bits()).collect()
}

#[test]
fn outputs_need_not_hold_values() {
    let backend = DefaultBackend::default();
    // Long and short runs, values side by side, few features; the last is written past the caches.
    for (outer, features, inner) in [(7, 5, 300), (6, 40, 49), (33, 70, 1), (500, 3, 1), (16, 40, 900)] {
        let shape = Shape::new(outer, features, inner).unwrap();
        let [x, dy] = [7919, 104_729]
            .map(|m| (0..shape.len()).map(|i| (i * m % 4099) as f32 / 2049.5 - 1.0).collect::<Vec<f32>>());
        let step = |fresh: bool| {
            let (mut y, mut dx) = (uninitialized(shape.len()), uninitialized(shape.len()));
            let (mut held_y, mut held_dx) = (vec![0.0; shape.len()], vec![0.0; shape.len()]);
            let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
            let out: Output<'_, f32> = if fresh { y.as_mut_slice().into() } else { (&mut held_y).into() };
            let forward = Forward::new(shape, &x, out);
            functions::train(&backend, forward, &mut saved, &mut workspace).unwrap();
            let out = if fresh { dx.as_mut_slice().into() } else { (&mut held_dx).into() };
            let back = Backward { dx: Some(out), ..Backward::new(&x, &dy) };
            functions::backward(&backend, back, &saved, &mut workspace).unwrap();
            if fresh {
                [values(y), values(dx)]
            } else {
                [held_y, held_dx].map(|held| held.iter().map(|v| v.to_bits()).collect())
            }
        };
        assert_eq!(step(true), step(false), "{shape}");
    }
}

//! The steps that `cargo xtask count` counts the instructions of: the layer on the dispatched kernels, serially.
//!
//!     count LAYOUT DIMS DTYPE FORWARDS BACKWARDS
//!
//! makes a layer, steps once to have its buffers, and then goes forward and backward as often as it is told. What a
//! step takes is the difference between two such runs.

use benches::shapes::{self, Named};
use bn_core::{BatchNorm, Element, Grads, Real, Saved, Workspace};
use bn_dispatch::{Dispatch, Level};
use half::{bf16, f16};
use std::hint::black_box;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match Level::wanted() {
        Some(Err(error)) => Err(format!("BATCHNORM_LEVEL: {error}")),
        _ => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let [layout, dims, dtype, forwards, backwards] = args else {
        return Err(format!("expected LAYOUT DIMS DTYPE FORWARDS BACKWARDS, got {} arguments", args.len()));
    };
    let list = shapes::parse(&format!("shape {layout} {dims}")).map_err(|error| error.to_string())?;
    let number = |text: &String| text.parse().map_err(|_| format!("expected a number of steps, got {text}"));
    let counts = (number(forwards)?, number(backwards)?);
    match dtype.as_str() {
        "f32" => steps::<f32>(&list[0], counts),
        "f64" => steps::<f64>(&list[0], counts),
        "f16" => steps::<f16>(&list[0], counts),
        "bf16" => steps::<bf16>(&list[0], counts),
        other => Err(format!("expected f32, f64, f16 or bf16, got {other}")),
    }
}

fn steps<T: Element>(named: &Named, (forwards, backwards): (usize, usize)) -> Result<(), String> {
    let (len, features) = (named.shape.len(), named.shape.features());
    // A mean near zero, so that the sums are taken once.
    let value = |i: usize| T::from_compute(T::Compute::from_f64((i * 7919 % 4099) as f64 / 2049.5 - 1.0));
    let x: Vec<T> = (0..len).map(value).collect();
    let dy: Vec<T> = (0..len).map(|i| value(i + 3)).collect();
    let (mut y, mut dx) = (x.clone(), x.clone());
    let (mut dweight, mut dbias) =
        (vec![T::Compute::default(); features], vec![T::Compute::default(); features]);
    let mut bn = BatchNorm::<T, Dispatch>::new(features).map_err(|error| error.to_string())?;
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    for step in 0..1 + forwards.max(backwards) {
        if step <= forwards {
            bn.forward_into(named.shape, black_box(&x), &mut y, &mut saved, &mut workspace)
                .map_err(|error| error.to_string())?;
        }
        if step <= backwards {
            let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
            bn.backward_into(&saved, &x, black_box(&dy), grads, &mut workspace)
                .map_err(|error| error.to_string())?;
        }
    }
    black_box((y, dx, dweight, dbias));
    Ok(())
}

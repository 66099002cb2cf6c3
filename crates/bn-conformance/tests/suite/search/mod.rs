//! The search finds faults that are planted, and none in the maps as docs/numerics.md writes them.

mod model;

use bn_conformance::case::Tensor;
use bn_conformance::search::{Found, Layer, Settings, search};
use bn_scalar::Scalar;
use model::{Fault, Model};
use std::sync::atomic::{AtomicBool, Ordering};

fn settings(types: &[&'static str], tensors: &[Tensor]) -> Settings {
    Settings { seed: 11, types: types.to_vec(), tensors: tensors.to_vec(), threads: 2 }
}

/// Searches as many climbs, or until the tensor's limit is broken.
fn found(fault: Fault, tensor: Tensor, climbs: u64) -> Found {
    let broken = AtomicBool::new(false);
    let stop = |number| number >= climbs || broken.load(Ordering::Relaxed);
    let progress = |found: &Found| {
        let beyond = found.broken().any(|find| find.row.tensor == tensor);
        broken.store(beyond, Ordering::Relaxed);
    };
    search(&Model(fault), &settings(&["f32"], &[tensor]), &stop, &progress)
}

fn is_found(fault: Fault, tensor: Tensor) {
    let found = found(fault, tensor, 60);
    let broken: Vec<_> = found.broken().map(|find| find.row.tensor).collect();
    let rows: Vec<_> = found.finds.iter().map(|find| &find.row).collect();
    assert!(broken.contains(&tensor), "{fault:?} in {tensor}: {rows:?}");
}

#[test]
fn the_maps_as_written_keep_the_limits() {
    for tensor in [Tensor::Y, Tensor::Dx] {
        let found = found(Fault::None, tensor, 24);
        let broken: Vec<String> =
            found.broken().map(|find| format!("{:?}\n{}", find.row, find.case.listing())).collect();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
        // A search that hardly climbs would let anything pass.
        let find = found.finds.iter().find(|find| find.row.tensor == tensor).unwrap();
        assert!(find.share() > 0.7, "{tensor}: the worst error is {} of {}", find.row.error, find.row.limit);
    }
}

#[test]
fn a_coefficient_that_is_rounded_twice_is_found() {
    is_found(Fault::TwiceRounded, Tensor::Y);
}

#[test]
fn a_lost_delta_is_found() {
    is_found(Fault::LostDelta, Tensor::Y);
}

#[test]
fn a_lost_d_is_found() {
    is_found(Fault::LostD, Tensor::Dx);
}

#[test]
fn a_gradient_whose_mean_is_not_subtracted_first_is_found() {
    is_found(Fault::MeanLast, Tensor::Dx);
}

#[test]
fn a_coefficient_that_underflows_is_found() {
    is_found(Fault::Underflow, Tensor::Y);
    is_found(Fault::Underflow, Tensor::Dx);
}

#[test]
fn climbs_do_not_depend_on_threads_or_on_each_other() {
    let few = |threads| {
        let settings = Settings { threads, ..settings(&["f32", "bf16"], &[]) };
        let found = search(&Layer(Scalar), &settings, &|number| number >= 6, &|_| ());
        let lines = found.finds.iter().map(|f| format!("{} {:?}\n{}", f.number, f.row, f.case.listing()));
        (found.climbs, found.steps, lines.collect::<Vec<_>>())
    };
    assert_eq!(few(1), few(3));
}

//! A training step, forward and backward, three ways: the computational graph, the analytic form, and the fused
//! layer, on the shapes of `shapes/strategies.txt`; and the backward on its own, where the first two differ.
//!
//! Graph and analytic form allocate their results, as NumPy code does; the layer writes into buffers that are
//! reused, as a training loop would have it. Each answer is compared with the layer's before it is timed. Freed
//! memory is kept by the allocator, see [`benches::memory`]; `BENCH_FREED=returned` times the page faults as well.

use benches::implementation::{Implementation, Pass};
use benches::inputs::{Inputs, Outputs};
use benches::layer::Kernels;
use benches::memory;
use benches::shapes::{self, Named};
use benches::textbook::Strategy;
use benches::threads;
use bn_conformance::data::X;
use bn_core::Real;
use criterion::{Criterion, Throughput, criterion_group};
use ndarray::NdFloat;
use std::sync::Arc;
use std::time::Duration;

fn run<T: NdFloat + Real>(c: &mut Criterion, named: &Named, pool: &Arc<rayon::ThreadPool>) {
    let inputs = Inputs::<T>::new(named, X::Shifted);
    let mut outputs = Outputs::new(inputs.x.len());
    // The default backend.
    let mut fused = Kernels::Dispatch.layer(&inputs, Some(pool)).expect("the best of the machine");
    let answer = fused.answer(&inputs, &mut outputs).expect("it runs here");
    let want = answer.expect("it has an answer");
    let mut all: Vec<(&str, Box<dyn Implementation<T>>)> = Vec::new();
    for strategy in Strategy::ALL {
        let mut one = strategy
            .implementation(&inputs)
            .unwrap_or_else(|| panic!("{}: the textbook has its features in axis 1", named.name));
        let got = one.answer(&inputs, &mut outputs).expect("it runs here").expect("it has an answer");
        got.check_close(&want).unwrap_or_else(|error| panic!("{} {strategy:?}: {error}", named.name));
        all.push((strategy.name(), one));
    }
    all.push(("fused", fused));

    let mut group = c.benchmark_group(format!("{}/{}/{}", named.name, named.dims_text(), T::NAME));
    group.throughput(Throughput::Elements(named.shape.len() as u64));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for pass in [Pass::Step, Pass::Backward] {
        for (name, one) in &mut all {
            group.bench_function(format!("{}/{name}", pass.name()), |b| {
                b.iter_custom(|runs| {
                    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
                    one.time(pass, runs, &inputs, &mut outputs).expect("it ran before")
                });
            });
        }
    }
    group.finish();
}

fn strategies(c: &mut Criterion) {
    // As many threads as rayon's own pool has, RAYON_NUM_THREADS included.
    let pool = threads::pool(None).expect("threads can be started");
    let pool = Arc::new(pool);
    for named in shapes::load("strategies").expect("a list that the tests have read") {
        // NumPy's own type, in which the post ran its example.
        match named.name.as_str() {
            "post" => run::<f64>(c, &named, &pool),
            _ => run::<f32>(c, &named, &pool),
        }
    }
}

criterion_group!(group, strategies);

fn main() {
    if let Err(error) = memory::keep_freed() {
        eprintln!("freed memory goes back to the system, the figures hold page faults: {error}");
    }
    group();
    Criterion::default().configure_from_args().final_summary();
}

//! The layer on every combination of kernels, level and executor, with the textbook's strategies and the floor
//! beside it: forward, backward and step on the shapes of `shapes/{mlp,resnet50,edge}.txt`.
//!
//! A group is a pass on a shape; its throughput counts the least traffic, so that the floor's GB/s, measured in the
//! same run, is what the others' would be at best. Each answer is compared with the scalar kernels' before it is
//! timed: bit by bit, the textbook's but for roundings. `cargo xtask bench` is the one to compare implementations
//! with, since it takes them in turns; this one follows a single figure: `cargo bench --bench layers -- stem`.

use benches::floor::Stores;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Inputs, Outputs};
use benches::layer::Kernels;
use benches::memory;
use benches::shapes::{self, Named};
use benches::textbook::Strategy;
use benches::threads;
use bn_conformance::data::X;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use rayon::ThreadPool;
use std::sync::Arc;
use std::time::Duration;

const LISTS: [&str; 3] = ["mlp", "resnet50", "edge"];

/// What is timed on a shape, each with the name of its benchmark.
fn all(inputs: &Inputs<f32>, pool: &Arc<ThreadPool>) -> Vec<(String, Box<dyn Implementation<f32>>)> {
    let mut all: Vec<(String, Box<dyn Implementation<f32>>)> = Vec::new();
    let pools = [None, Some(pool)];
    for (stores, pool) in Stores::ALL.into_iter().flat_map(|stores| pools.map(|pool| (stores, pool))) {
        let parallel = if pool.is_some() { "rayon+" } else { "" };
        all.push((format!("{parallel}floor, {}", stores.name()), stores.floor(pool)));
    }
    for (pool, kernels) in pools.into_iter().flat_map(|pool| Kernels::ALL.map(|kernels| (pool, kernels))) {
        all.extend(kernels.layer(inputs, pool).map(|one| (kernels.name(pool.is_some()), one)));
    }
    let textbook = Strategy::ALL.iter().filter_map(|strategy| strategy.implementation(inputs));
    all.extend(textbook.map(|one| (one.name().to_string(), one)));
    all
}

fn run(c: &mut Criterion, named: &Named, pool: &Arc<ThreadPool>) {
    let inputs = Inputs::<f32>::new(named, X::Shifted);
    let mut outputs = Outputs::new(inputs.x.len());
    let mut reference = Kernels::Scalar.layer(&inputs, None).expect("they run anywhere");
    let want = reference.answer(&inputs, &mut outputs).expect("it runs here").expect("it has an answer");
    let mut all = all(&inputs, pool);
    for (name, one) in &mut all {
        let Some(got) = one.answer(&inputs, &mut outputs).expect("it runs here") else {
            continue;
        };
        let textbook = Strategy::ALL.iter().any(|s| s.name() == name);
        let same = if textbook { got.check_close(&want) } else { got.check_bits(&want) };
        same.unwrap_or_else(|error| panic!("{} {name}: {error}", named.name));
    }
    drop((reference, want));

    for pass in Pass::ALL {
        let title = format!("{}/{} {}/{}", named.name, named.layout_name, named.dims_text(), pass.name());
        let mut group = c.benchmark_group(title);
        group.throughput(Throughput::Bytes((pass.tensors() * size_of_val(inputs.x_slice())) as u64));
        group.sample_size(10);
        group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(200));
        for (name, one) in &mut all {
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter_custom(|runs| {
                    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
                    one.time(pass, runs, &inputs, &mut outputs).expect("it ran before")
                });
            });
        }
        group.finish();
    }
}

fn layers(c: &mut Criterion) {
    // As many threads as rayon's own pool has, RAYON_NUM_THREADS included.
    let pool = Arc::new(threads::pool(None).expect("threads can be started"));
    // Criterion's own filter comes after the checks, which take longer than the few benchmarks that it leaves. So
    // where there is a single word and no option, shapes without it in their names are passed over here.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let word = if let [word] = args.as_slice() { word.split('/').next() } else { None };
    let wanted = |named: &Named| word.is_none_or(|word| word.starts_with('-') || named.name.contains(word));
    let lists = LISTS.iter().flat_map(|list| shapes::load(list).expect("a list that the tests have read"));
    for named in lists.filter(wanted) {
        run(c, &named, &pool);
    }
}

criterion_group!(group, layers);

fn main() {
    if let Err(error) = memory::keep_freed() {
        eprintln!("freed memory goes back to the system, the figures hold page faults: {error}");
    }
    group();
    Criterion::default().configure_from_args().final_summary();
}

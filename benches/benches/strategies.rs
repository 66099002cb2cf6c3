//! A training step, forward and backward, three ways: the computational graph, the analytic form, and the fused
//! layer, on the shapes of `shapes/strategies.txt`; and the backward on its own, where the first two differ.
//!
//! Graph and analytic form allocate their results, as NumPy code does; the layer writes into buffers that are
//! reused, as a training loop would have it. Each answer is compared with the layer's before it is timed. Freed
//! memory is kept by the allocator, see [`benches::memory`]; `BENCH_FREED=returned` times the page faults as well.

use batchnorm::{BatchNorm, Config, Grads, Saved, Workspace};
use benches::memory;
use benches::shapes::{self, Named};
use bn_conformance::data::{self, Dy, X};
use bn_core::{Layout, Real};
use bn_textbook::{analytic, graph};
use criterion::{Criterion, Throughput, criterion_group};
use ndarray::{Array1, ArrayD, IxDyn, NdFloat};
use std::hint::black_box;
use std::time::Duration;

/// What the answers may be apart, in roundings of the type times the largest value: plain sums over a long batch
/// in the data's own precision lose the digits that the layer's keep.
const APART: f64 = 4096.0;

struct Inputs<T> {
    x: ArrayD<T>,
    dy: ArrayD<T>,
    weight: Array1<T>,
    bias: Array1<T>,
}

impl<T: Real> Inputs<T> {
    fn new(named: &Named) -> Self {
        let (len, features) = (named.shape.len(), named.shape.features());
        let mut rng = data::rng(20_160_212);
        let x: Vec<T> = data::input(X::Shifted, 0, len, &mut rng);
        let dy: Vec<T> = data::gradient(Dy::Normal, &x, &mut rng);
        let mut parameter = |centre: f64| {
            Array1::from_shape_fn(features, |_| T::from_f64(centre + 0.1 * data::normal(&mut rng)))
        };
        let (weight, bias) = (parameter(1.0), parameter(0.0));
        let array = |values| {
            ArrayD::from_shape_vec(IxDyn(&named.dims), values).expect("as many values as the shape has")
        };
        Self { x: array(x), dy: array(dy), weight, bias }
    }
}

/// What a step gives: y, dx, dγ, dβ.
type Answer<T> = [Vec<T>; 4];

/// The layer with its buffers.
struct Fused<T: Real> {
    bn: BatchNorm<T>,
    saved: Saved<T>,
    workspace: Workspace<T>,
    answer: Answer<T>,
}

impl<T: Real> Fused<T> {
    fn new(named: &Named, inputs: &Inputs<T>) -> Self {
        let features = named.shape.features();
        let mut bn = BatchNorm::<T>::new(features).expect("default settings");
        (bn.weight, bn.bias) = (inputs.weight.clone(), inputs.bias.clone());
        let buffer = |len| vec![T::default(); len];
        let len = named.shape.len();
        let answer = [buffer(len), buffer(len), buffer(features), buffer(features)];
        Self { bn, saved: Saved::default(), workspace: Workspace::default(), answer }
    }

    fn forward(&mut self, named: &Named, x: &[T]) {
        let Self { bn, saved, workspace, answer: [y, ..] } = self;
        bn.forward_into(named.shape, x, y, saved, workspace).expect("buffers of the shape's length");
    }

    fn backward(&mut self, x: &[T], dy: &[T]) {
        let Self { bn, saved, workspace, answer: [_, dx, dweight, dbias] } = self;
        let grads = Grads { dx, dweight, dbias };
        bn.backward_into(saved, x, dy, grads, workspace).expect("buffers of the shape's length");
    }
}

fn assert_close<T: Real>(what: &str, got: &Answer<T>, want: &Answer<T>) {
    let roundoff = if T::NAME == "f64" { f64::EPSILON } else { f64::from(f32::EPSILON) };
    for (tensor, (got, want)) in ["y", "dx", "dweight", "dbias"].iter().zip(got.iter().zip(want)) {
        assert_eq!(got.len(), want.len(), "{what} {tensor}");
        let scale = want.iter().fold(1.0, |m: f64, v| m.max(v.to_f64().abs()));
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            let (got, want) = (got.to_f64(), want.to_f64());
            let apart = (got - want).abs() / (scale * roundoff);
            assert!(
                apart <= APART,
                "{what} {tensor}[{i}]: got {got:e}, want {want:e}, {apart} roundings apart"
            );
        }
    }
}

fn run<T: NdFloat + Real>(c: &mut Criterion, named: &Named) {
    assert_eq!(
        named.layout,
        Layout::ChannelsFirst,
        "{}: the textbook has its features in axis 1",
        named.name
    );
    let inputs = Inputs::<T>::new(named);
    let Inputs { x, dy, weight, bias } = &inputs;
    let eps = Config::default().eps;

    let graph_forward = || {
        graph::forward(x.view(), weight.view(), bias.view(), eps).expect("more than one value per feature")
    };
    let graph_backward = |cache: &graph::Cache<T>| graph::backward(dy.view(), cache).expect("x's dimensions");
    let formula_forward = || {
        analytic::forward(x.view(), weight.view(), bias.view(), eps).expect("more than one value per feature")
    };
    let formula_backward =
        |cache: &analytic::Cache<T>| analytic::backward(dy.view(), cache).expect("x's dimensions");
    let by_graph = || {
        let (y, cache) = graph_forward();
        (y, graph_backward(&cache))
    };
    let by_formula = || {
        let (y, cache) = formula_forward();
        (y, formula_backward(&cache))
    };
    let mut fused = Fused::new(named, &inputs);
    let (x, dy) = (x.as_slice().expect("made contiguous"), dy.as_slice().expect("made contiguous"));

    fused.forward(named, x);
    fused.backward(x, dy);
    for (what, (y, g)) in [("graph", by_graph()), ("analytic", by_formula())] {
        let [y, dx] = [y, g.dx].map(|tensor| tensor.into_raw_vec_and_offset().0);
        let answer = [y, dx, g.dweight.to_vec(), g.dbias.to_vec()];
        assert_close(&format!("{} {what}", named.name), &answer, &fused.answer);
    }

    let mut group = c.benchmark_group(format!("{}/{}/{}", named.name, named.dims_text(), T::NAME));
    group.throughput(Throughput::Elements(named.shape.len() as u64));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("step/graph", |b| b.iter(|| black_box(by_graph())));
    group.bench_function("step/analytic", |b| b.iter(|| black_box(by_formula())));
    group.bench_function("step/fused", |b| {
        b.iter(|| {
            fused.forward(named, black_box(x));
            fused.backward(black_box(x), black_box(dy));
        });
    });
    let (_, cache) = graph_forward();
    group.bench_function("backward/graph", |b| b.iter(|| black_box(graph_backward(black_box(&cache)))));
    drop(cache);
    let (_, cache) = formula_forward();
    group.bench_function("backward/analytic", |b| b.iter(|| black_box(formula_backward(black_box(&cache)))));
    drop(cache);
    group.bench_function("backward/fused", |b| b.iter(|| fused.backward(black_box(x), black_box(dy))));
    group.finish();
}

fn strategies(c: &mut Criterion) {
    for named in shapes::load("strategies").expect("a list that the tests have read") {
        // NumPy's own type, in which the post ran its example.
        match named.name.as_str() {
            "post" => run::<f64>(c, &named),
            _ => run::<f32>(c, &named),
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

//! Steps of a framework's layer and of ours through its graph, in turns, and the layer by itself.

use crate::Result;
use crate::turns::medians;
use batchnorm::functions::{self, Backward, Forward};
use batchnorm::{DefaultBackend, Layout, Saved, Shape, Workspace};

/// From a step of 400 MB to one that fits in cache.
const SHAPES: [&[usize]; 5] =
    [&[32, 64, 56, 56], &[32, 256, 28, 28], &[32, 256, 56, 56], &[32, 64, 14, 14], &[256, 512]];

/// Forward and backward of a graph without a layer, of the framework's layer, of ours, of the framework's with an addition and ReLU
/// behind it, and of ours that does the three in one.
pub type Steps = [Box<dyn FnMut()>; 5];

/// Prints a table of the median times of what `build` makes for each shape. `allocator` and `pools` are what the reader must know of
/// the program: the allocator's name, and variables of the environment that say how many threads there are.
///
/// # Errors
/// The framework's.
pub fn table(
    [theirs, ours]: [&str; 2],
    allocator: &str,
    pools: &[&str],
    build: impl Fn(&[usize]) -> Result<Steps>,
) -> Result<()> {
    let threads = pools.iter().map(|name| {
        let value = std::env::var(name).unwrap_or_else(|_| "unset".into());
        format!("{name} {value}")
    });
    println!("Medians of steps (forward and backward) in ms, f32. Allocator: {allocator}.");
    println!("{}.", threads.collect::<Vec<_>>().join(", "));
    println!(
        "The graph alone takes in a gradient and has no layer: times and ratios of the other graphs are without what it takes.\n\
         The layer alone writes to buffers that stay.\n"
    );
    let heads = [
        "shape",
        "graph alone",
        theirs,
        ours,
        "ratio",
        "layer alone",
        "ours/alone",
        "their three",
        "ours in one",
        "ratio",
    ];
    println!("| {} |", heads.map(|head| format!("{head:>12}")).join(" | "));
    println!("|{}", " ---: |".repeat(heads.len()));
    for dims in SHAPES {
        let [mut none, mut theirs, mut ours, mut three, mut one] = build(dims)?;
        let mut layer = Layer::new(dims)?;
        let elements: usize = dims.iter().product();
        let rounds = (400_000_000 / elements).clamp(11, 201);
        let mut alone = || layer.step();
        let contenders: &mut [&mut dyn FnMut()] =
            &mut [&mut *none, &mut *theirs, &mut *ours, &mut alone, &mut *three, &mut *one];
        let times: Vec<f64> =
            medians(rounds, contenders).iter().map(|time| 1e3 * time.as_secs_f64()).collect();
        let (graph, alone) = (times[0], times[3]);
        let [theirs, ours, three, one] = [1, 2, 4, 5].map(|i| times[i] - graph);
        let dims = dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        let cells = [graph, theirs, ours, theirs / ours, alone, ours / alone, three, one, three / one];
        println!("| {dims:>12} | {} |", cells.map(|cell| format!("{cell:>12.2}")).join(" | "));
    }
    Ok(())
}

/// The layer's functions over buffers that stay.
struct Layer {
    shape: Shape,
    values: [Vec<f32>; 4],
    params: [Vec<f32>; 4],
    saved: Saved<f32>,
    workspace: Workspace<f32>,
}

impl Layer {
    fn new(dims: &[usize]) -> Result<Self> {
        let shape = Shape::from_dims(dims, Layout::ChannelsFirst)?;
        let values =
            |factor: usize| (0..shape.len()).map(|i| (i * factor % 4099) as f32 / 2049.5 - 1.0).collect();
        Ok(Self {
            shape,
            values: [values(7919), values(104_729), vec![0.0; shape.len()], vec![0.0; shape.len()]],
            params: [1.0, 0.0, 0.0, 0.0].map(|value| vec![value; shape.features()]),
            saved: Saved::default(),
            workspace: Workspace::default(),
        })
    }

    fn step(&mut self) {
        let backend = DefaultBackend::default();
        let Self { shape, values: [x, dy, y, dx], params: [weight, bias, dweight, dbias], saved, workspace } =
            self;
        let weight = Some(&weight[..]);
        let forward = Forward { weight, bias: Some(bias), ..Forward::new(*shape, x, y) };
        let done = functions::train(&backend, forward, saved, workspace);
        let backward = Backward {
            weight,
            dx: Some(dx.into()),
            dweight: Some(dweight),
            dbias: Some(dbias),
            ..Backward::new(x, dy)
        };
        let done = done.and_then(|()| functions::backward(&backend, backward, saved, workspace));
        done.unwrap_or_else(|error| unreachable!("buffers of the shape's lengths: {error}"));
    }
}

//! A batch in parts: the bits of the whole where it is cut at leaves, its limits elsewhere, and what is wrong is named.

use crate::common::{bits, message, values};
use batchnorm::functions::{self, Backward, Commit, Forward};
use batchnorm::parts::{self, Part, PartialSums, Pooled};
use batchnorm::{DefaultBackend, Error, Layout, Saved, Shape, Workspace};
use std::ops::Range;

const EPS: f64 = 1e-5;

/// Every spread, with as many leaves as take three nodes or more, such as 7; samples that are several pieces; each with data around 0
/// and far from it.
fn shapes() -> Vec<(Shape, f32)> {
    let shapes = [
        (112, 5, 300),
        (7, 2, 20_000),
        (220, 40, 49),
        (3500, 33, 1),
        (200_000, 1, 1),
        (300, 1, 700),
        (700, 130, 1),
        (7, 1, 40_000),
        (800, 3, 2),
    ];
    let shapes = shapes.map(|(outer, features, inner)| Shape::new(outer, features, inner).unwrap());
    shapes.into_iter().flat_map(|shape| [(shape, 0.3), (shape, 500.0)]).collect()
}

struct Step {
    shape: Shape,
    x: Vec<f32>,
    dy: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Debug, PartialEq)]
struct Given {
    y: Vec<u32>,
    dx: Vec<u32>,
    dweight: Vec<u32>,
    dbias: Vec<u32>,
    /// Mean and variance, and the running ones.
    stats: [Vec<u32>; 4],
}

impl Step {
    /// Of a constant gradient dγ is nothing but what the sums have lost, so that another order of them shows.
    fn with_constant_gradient(shape: Shape, centre: f32) -> Self {
        Self { dy: vec![0.7; shape.len()], ..Self::new(shape, centre) }
    }

    fn new(shape: Shape, centre: f32) -> Self {
        let features = shape.features();
        let (x, dy) = (values(shape.len(), 0, centre), values(shape.len(), 31, 0.1));
        Self { shape, x, dy, weight: values(features, 5, 1.5), bias: values(features, 9, 0.0) }
    }

    fn elements(&self, samples: &Range<usize>) -> Range<usize> {
        let strip = self.shape.features() * self.shape.inner();
        samples.start * strip..samples.end * strip
    }

    fn part(&self, samples: &Range<usize>) -> Shape {
        Shape::new(samples.len(), self.shape.features(), self.shape.inner()).unwrap()
    }

    fn forward<'a>(&'a self, samples: &Range<usize>, y: &'a mut [f32]) -> Forward<'a, f32> {
        let (weight, bias) = (Some(&self.weight[..]), Some(&self.bias[..]));
        let x = &self.x[self.elements(samples)];
        Forward { weight, bias, eps: EPS, ..Forward::new(self.part(samples), x, y) }
    }

    fn backward<'a>(
        &'a self,
        samples: &Range<usize>,
        dx: &'a mut [f32],
        [dweight, dbias]: [&'a mut [f32]; 2],
    ) -> Backward<'a, f32> {
        let own = self.elements(samples);
        Backward {
            weight: Some(&self.weight),
            dx: Some(dx.into()),
            dweight: Some(dweight),
            dbias: Some(dbias),
            ..Backward::new(&self.x[own.clone()], &self.dy[own])
        }
    }

    fn given(&self, y: &[f32], dx: &[f32], [dweight, dbias]: [&[f32]; 2], saved: &Saved<f32>) -> Given {
        let features = self.shape.features();
        let (mut mean, mut var) = (vec![0.0; features], vec![1.0; features]);
        functions::commit(&DefaultBackend::default(), saved, Commit::new(&mut mean, &mut var)).unwrap();
        let own = [saved.mean(), saved.var(), &mean, &var].map(bits);
        Given { y: bits(y), dx: bits(dx), dweight: bits(dweight), dbias: bits(dbias), stats: own }
    }

    fn whole(&self) -> Given {
        let backend = DefaultBackend::default();
        let (mut y, mut dx) = (vec![0.0; self.x.len()], vec![0.0; self.x.len()]);
        let [mut dweight, mut dbias] = [(); 2].map(|()| vec![0.0; self.weight.len()]);
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        let all = 0..self.shape.outer();
        functions::train(&backend, self.forward(&all, &mut y), &mut saved, &mut workspace).unwrap();
        let step = self.backward(&all, &mut dx, [&mut dweight, &mut dbias]);
        functions::backward(&backend, step, &saved, &mut workspace).unwrap();
        self.given(&y, &dx, [&dweight, &dbias], &saved)
    }

    /// The same in parts, whose sums are merged in the order that `order` gives; how often the forward was summed as well.
    fn in_parts(&self, parts: &[Range<usize>], order: impl Fn(usize) -> usize) -> (Given, usize) {
        let backend = DefaultBackend::default();
        let (mut y, mut dx) = (vec![f32::NAN; self.x.len()], vec![f32::NAN; self.x.len()]);
        let [mut dweight, mut dbias] = [(); 2].map(|()| vec![0.0; self.weight.len()]);
        let mut workspace = Workspace::default();
        let merged = |sum: &mut dyn FnMut(usize) -> PartialSums<f32>| {
            let mut sums = PartialSums::default();
            (0..parts.len()).for_each(|i| sums.merge(sum(order(i))).unwrap());
            assert_eq!(sums.samples(), self.shape.outer());
            sums
        };
        let (mut pooled, mut rounds) = (Pooled::new(self.shape.features(), EPS).unwrap(), 0);
        loop {
            let sums = merged(&mut |i| {
                let x = &self.x[self.elements(&parts[i])];
                pooled
                    .sum(&backend, Part::new(self.part(&parts[i]), x), parts[i].start, &mut workspace)
                    .unwrap()
            });
            rounds += 1;
            if pooled.settle(&sums).unwrap() {
                break;
            }
        }
        let mut saved = vec![Saved::default(); parts.len()];
        for (part, saved) in parts.iter().zip(&mut saved) {
            let step = self.forward(part, &mut y[self.elements(part)]);
            pooled.forward(&backend, step, saved, &mut workspace).unwrap();
        }
        let sums = merged(&mut |i| {
            let own = self.elements(&parts[i]);
            let step = Backward::new(&self.x[own.clone()], &self.dy[own]);
            parts::sum_gradients(&backend, &step, parts[i].start, &saved[i], &mut workspace).unwrap()
        });
        for (part, saved) in parts.iter().zip(&saved) {
            let step = self.backward(part, &mut dx[self.elements(part)], [&mut dweight, &mut dbias]);
            parts::backward(&backend, step, &sums, saved, &mut workspace).unwrap();
        }
        (self.given(&y, &dx, [&dweight, &dbias], &saved[0]), rounds)
    }
}

/// `n` parts, cut at multiples of `leaf`, the later ones longer.
fn cuts(samples: usize, leaf: usize, n: usize) -> Vec<Range<usize>> {
    let leaves = samples.div_ceil(leaf);
    let bound = |i: usize| (leaves * i * (i + 1) / (n * (n + 1)) * leaf).min(samples);
    (0..n).map(|i| bound(i)..if i + 1 == n { samples } else { bound(i + 1) }).collect()
}

#[test]
fn parts_cut_at_leaves_give_the_bits_of_the_whole() {
    for (shape, centre) in shapes() {
        let step = Step::with_constant_gradient(shape, centre);
        let want = step.whole();
        let dims = [shape.outer(), shape.features(), shape.inner()];
        let leaf = parts::split_every(&dims, Layout::ChannelsFirst).unwrap();
        assert!(leaf < shape.outer(), "{shape} has one leaf");
        for n in [1, 2, 3, 5, 16] {
            let parts = cuts(shape.outer(), leaf, n);
            for backwards in [false, true] {
                let (got, rounds) = step.in_parts(&parts, |i| if backwards { n - 1 - i } else { i });
                assert!(got == want, "{shape} {centre} {parts:?} {backwards}");
                // Far from zero the forward is summed a second time.
                assert_eq!(rounds, if centre > 1.0 { 2 } else { 1 }, "{shape} {centre}");
            }
        }
    }
}

/// The shapes of networks, whose tensors are streamed and shared out as well.
#[test]
fn the_shapes_of_networks_in_parts() {
    for (dims, layout, leaves) in [
        (&[32, 64, 56, 56][..], Layout::ChannelsFirst, 16),
        (&[64, 3, 224, 224], Layout::ChannelsFirst, 64),
        (&[32, 56, 56, 64], Layout::ChannelsLast, 98),
        (&[4096, 1024], Layout::ChannelsFirst, 32),
        (&[32, 2048, 7, 7], Layout::ChannelsFirst, 1),
    ] {
        let shape = Shape::from_dims(dims, layout).unwrap();
        let leaf = parts::split_every(&[1, shape.features(), shape.inner()], Layout::ChannelsFirst).unwrap();
        assert_eq!(shape.outer().div_ceil(leaf), leaves, "{shape}");
        let step = Step::with_constant_gradient(shape, 0.3);
        let want = step.whole();
        for n in [2, 3, 5, 16] {
            let (got, _) = step.in_parts(&cuts(shape.outer(), leaf, n), |i| n - 1 - i);
            assert!(got == want, "{shape} in {n} parts");
        }
    }
}

#[test]
fn parts_cut_elsewhere_are_near_the_whole() {
    for (shape, centre) in shapes() {
        let step = Step::new(shape, centre);
        let want = step.whole();
        let (a, b) = (shape.outer() / 3 + 1, shape.outer() / 2 + 1);
        let (got, _) = step.in_parts(&[0..a, a..a, a..b, b..shape.outer()], |i| i);
        let near = |got: &[u32], want: &[u32]| {
            let number = |bits: &u32| f32::from_bits(*bits);
            let largest = want.iter().map(number).fold(0.0f32, |max, v| max.max(v.abs()));
            got.iter().map(number).zip(want.iter().map(number)).all(|(g, w)| (g - w).abs() <= 1e-6 * largest)
        };
        let pairs = [(&got.y, &want.y), (&got.dx, &want.dx), (&got.dbias, &want.dbias)];
        assert!(pairs.iter().all(|(got, want)| near(got, want)), "{shape} {centre}");
        assert!(got.stats.iter().zip(&want.stats).all(|(got, want)| near(got, want)), "{shape} {centre}");
    }
}

#[test]
fn where_to_cut_is_said_in_the_users_dimensions() {
    let every = |dims: &[usize], layout| parts::split_every(dims, layout).unwrap();
    // 1024 positions are a leaf, and 16 images of 56·56 a multiple of it.
    assert_eq!(every(&[32, 56, 56, 64], Layout::ChannelsLast), 16);
    assert_eq!(every(&[7, 64, 64, 64], Layout::ChannelsLast), 1);
    assert_eq!(every(&[32, 64, 56, 56], Layout::ChannelsFirst), 2);
    assert_eq!(every(&[64, 3, 224, 224], Layout::ChannelsFirst), 1);
    assert_eq!(every(&[0, 64, 56, 56], Layout::ChannelsFirst), 2);
    assert_eq!(every(&[4096, 1024], Layout::ChannelsLast), 128);
    assert!(parts::split_every(&[3], Layout::ChannelsFirst).is_err());
}

#[test]
fn what_does_not_fit_together_is_named() {
    let (shape, _) = shapes()[12];
    let step = Step::new(shape, 500.0);
    let backend = DefaultBackend::default();
    let mut workspace = Workspace::default();
    let mut pooled = Pooled::<f32>::new(shape.features(), EPS).unwrap();
    let mut sum = |pooled: &Pooled<f32>, samples: Range<usize>| {
        pooled.sum(
            &backend,
            Part::new(step.part(&samples), &step.x[step.elements(&samples)]),
            samples.start,
            &mut workspace,
        )
    };
    let mut sums = sum(&pooled, 0..128).unwrap();
    let late = sum(&pooled, 256..700).unwrap();
    assert_eq!(
        message(sums.merge(sum(&pooled, 100..200).unwrap())),
        "expected the sums of each sample once, got the sums of samples 0..128 and 100..200"
    );
    sums.merge(late).unwrap();
    assert_eq!(
        message(pooled.settle(&sums)),
        "expected the sums of every sample, got none of the samples 128 to 256"
    );
    let mut y = vec![7.0; 128 * shape.features()];
    let mut saved = Saved::default();
    let error =
        pooled.forward(&backend, step.forward(&(0..128), &mut y), &mut saved, &mut Workspace::default());
    assert_eq!(message(error), "expected settled statistics, got ones that wait for sums");
    sums.merge(sum(&pooled, 128..256).unwrap()).unwrap();
    assert_eq!(pooled.settle(&sums), Ok(false));
    let first_round = "sums of x around 0 for 130 features with 1 values in a sample";
    assert_eq!(
        message(pooled.settle(&sums)),
        format!(
            "expected sums of x around the means for 130 features with 1 values in a sample, got {first_round}"
        )
    );
    assert_eq!(
        message(pooled.settle(&sum(&pooled, 0..512).unwrap())),
        "expected sums over the 700 values per feature of the first round, got sums over 512"
    );
    let mut other = Pooled::<f32>::new(shape.features(), EPS).unwrap();
    other.settle(&sum(&other, 0..512).unwrap()).unwrap();
    assert_eq!(
        message(pooled.settle(&sum(&other, 0..700).unwrap())),
        "expected sums of x around the means for 130 features with 1 values in a sample as the statistics have them, \
         got sums around other means"
    );
    let again = sum(&pooled, 0..700).unwrap();
    assert_eq!(pooled.settle(&again), Ok(true));
    assert!(sum(&pooled, 0..700).is_err());
    let other = Forward { eps: 1e-3, ..step.forward(&(0..128), &mut y) };
    let error = pooled.forward(&backend, other, &mut saved, &mut Workspace::default());
    assert_eq!(message(error), "expected the eps of the statistics, 0.00001, got 0.001");
    assert!(y.iter().all(|&v| v == 7.0));

    // A backward with the sums of one part alone.
    pooled.forward(&backend, step.forward(&(0..128), &mut y), &mut saved, &mut Workspace::default()).unwrap();
    let own = step.elements(&(0..128));
    let own = Backward::new(&step.x[own.clone()], &step.dy[own]);
    let sums = parts::sum_gradients(&backend, &own, 0, &saved, &mut Workspace::default()).unwrap();
    let [mut dweight, mut dbias] = [(); 2].map(|()| vec![7.0; shape.features()]);
    let back = step.backward(&(0..128), &mut y, [&mut dweight, &mut dbias]);
    let error = parts::backward(&backend, back, &sums, &saved, &mut Workspace::default());
    assert_eq!(
        message(error),
        "expected sums over the 700 values per feature of the forward, got sums over 128"
    );
    // Nor is it the whole's.
    let back = step.backward(&(0..128), &mut y, [&mut dweight, &mut dbias]);
    let error = functions::backward(&backend, back, &saved, &mut Workspace::default());
    let whole =
        "expected the saved state of a whole batch of 700 values per feature, got that of a part of 128";
    assert_eq!(message(error), whole);
    assert!(dweight.iter().chain(&dbias).all(|&v| v == 7.0));
}

#[test]
fn samples_that_cannot_be_counted_are_refused() {
    let shape = Shape::new(10, 3, 300).unwrap();
    let x = vec![0.0; shape.len()];
    let pooled = Pooled::<f32>::new(3, EPS).unwrap();
    for first in [usize::MAX, usize::MAX - 15, usize::MAX - 9] {
        let sums =
            pooled.sum(&DefaultBackend::default(), Part::new(shape, &x), first, &mut Workspace::default());
        let expected = format!("expected a first sample with room behind it for the part's, got {first}");
        assert_eq!(message(sums), expected);
    }
}

/// Σdy·x̂ of a constant gradient may be exactly 0, which is no reason to take a sum of f64 in another way.
#[test]
fn sums_of_f64_that_cancel_to_nothing_are_the_wholes() {
    let column = [-0.103, 0.336, 0.048, 0.657];
    let shape = Shape::nc(4, 512).unwrap();
    let x: Vec<f64> = (0..shape.len()).map(|i| column[i / 512]).collect();
    let (dy, backend) = (vec![0.7; x.len()], DefaultBackend::default());
    let (mut y, mut saved, mut workspace) = (x.clone(), Saved::default(), Workspace::default());
    let step = Forward { eps: EPS, ..Forward::new(shape, &x, &mut y[..]) };
    functions::train(&backend, step, &mut saved, &mut workspace).unwrap();
    let gradient = |sums: Option<&PartialSums<f64>>| {
        let mut dweight = vec![7.0; 512];
        let step = Backward { dweight: Some(&mut dweight), ..Backward::new(&x, &dy) };
        let mut workspace = Workspace::default();
        match sums {
            Some(sums) => parts::backward(&backend, step, sums, &saved, &mut workspace).unwrap(),
            None => functions::backward(&backend, step, &saved, &mut workspace).unwrap(),
        }
        dweight
    };
    let sums = parts::sum_gradients(&backend, &Backward::new(&x, &dy), 0, &saved, &mut workspace).unwrap();
    assert_eq!(gradient(Some(&sums)), gradient(None));
}

#[test]
fn a_batch_without_values_leaves_nothing_of_the_step_before() {
    let (shape, _) = shapes()[0];
    let step = Step::new(shape, 0.3);
    let backend = DefaultBackend::default();
    let mut pooled = Pooled::<f32>::new(shape.features(), EPS).unwrap();
    assert_eq!(pooled.settle(&PartialSums::default()), Ok(true));
    let mut saved = Saved::default();
    let empty = step.forward(&(0..0), &mut []);
    pooled.forward(&backend, empty, &mut saved, &mut Workspace::default()).unwrap();
    assert!(saved.mean().iter().chain(saved.var()).all(|&v| v == 0.0));
    let (mut mean, mut var) = (vec![3.0; shape.features()], vec![4.0; shape.features()]);
    let mut commit = |momentum| {
        let (mean, var) = (&mut mean, &mut var);
        let into = Commit { momentum, batches: 0, ..Commit::new(mean, var) };
        functions::commit(&backend, &saved, into)
    };
    assert_eq!(commit(None), Ok(()));
    assert_eq!(commit(Some(f64::INFINITY)), Err(Error::Momentum { got: f64::INFINITY }));
    assert!(mean.iter().all(|&v| v == 3.0) && var.iter().all(|&v| v == 4.0));
}

//! The double backward of ranks that work together.

use crate::data::{normal, rng};
use crate::digest::same_bits;
use crate::run::widened;
use crate::shares::cuts;
use bn_core::functions::{self, DoubleBackward, Forward, Running};
use bn_core::ranks::{Check, Communicator, Parameters, Ranks};
use bn_core::{Activation, Backend, Element, Error, Options, Real, Saved, Shape, Workspace};
use std::ops::Range;

/// Which cotangents of dx and dγ there are, and whether statistics are the batch's.
const PLANS: [([bool; 2], bool); 6] = [
    ([true, true], true),
    ([true, false], true),
    ([false, true], true),
    ([false, false], true),
    ([true, true], false),
    ([false, true], false),
];

/// Tensors that are shared out: x, dy and v, γ, w and z.
struct Batch<T: Element> {
    shape: Shape,
    tensors: [Vec<T>; 3],
    params: [Vec<T::Compute>; 3],
}

impl<T: Element> Batch<T> {
    fn new([outer, features, inner]: [usize; 3], centre: f64) -> Result<Self, Error> {
        let (shape, mut rng) = (Shape::new(outer, features, inner)?, rng(31));
        let mut values = |centre: f64, len: usize| -> Vec<T::Compute> {
            (0..len).map(|_| T::Compute::from_f64(normal(&mut rng) + centre)).collect()
        };
        let tensors = [centre, 0.3, -0.2]
            .map(|centre| values(centre, shape.len()).into_iter().map(T::from_compute).collect());
        Ok(Self { shape, tensors, params: [1.0, 0.2, 0.0].map(|centre| values(centre, features)) })
    }

    fn elements(&self, samples: &Range<usize>) -> Range<usize> {
        let strip = self.shape.features() * self.shape.inner();
        samples.start * strip..samples.end * strip
    }

    /// d_dy, d_x and d_weight of these samples, by the functions of a whole batch where there are no ranks.
    fn step<B: Backend, C: Communicator>(
        &self,
        backend: &B,
        samples: &Range<usize>,
        ([v, w], from_batch): ([bool; 2], bool),
        ranks: Option<&mut Ranks<C>>,
    ) -> Result<[Vec<f64>; 3], Error> {
        let shape = Shape::new(samples.len(), self.shape.features(), self.shape.inner())?;
        let [x, dy, of_v] = self.tensors.each_ref().map(|tensor| &tensor[self.elements(samples)]);
        let [weight, of_w, z] = self.params.each_ref().map(|param| &param[..]);
        let [mut d_dy, mut d_x] = [(); 2].map(|()| vec![T::default(); x.len()]);
        let mut d_weight = vec![T::Compute::default(); shape.features()];
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        let mut y = vec![T::default(); x.len()];
        let forward = Forward { weight: Some(weight), ..Forward::new(shape, x, &mut y) };
        let step = DoubleBackward {
            weight: Some(weight),
            v_dx: v.then_some(of_v),
            v_dweight: w.then_some(of_w),
            v_dbias: Some(z),
            d_dy: Some((&mut d_dy).into()),
            d_x: Some((&mut d_x).into()),
            d_weight: Some(&mut d_weight),
            ..DoubleBackward::new(x, dy)
        };
        let vars: Vec<_> = of_w.iter().map(|w| T::Compute::from_f64(w.to_f64().powi(2) + 0.1)).collect();
        let running = Some(Running { mean: z, var: &vars }).filter(|_| !from_batch);
        match ranks {
            None => {
                match running {
                    None => functions::train(backend, forward, &mut saved, &mut workspace)?,
                    Some(_) => functions::eval(backend, forward, running, &mut saved, &mut workspace)?,
                }
                functions::double_backward(backend, step, &saved, &mut workspace)?;
            }
            Some(ranks) => {
                match running {
                    None => ranks.layer(2).train(backend, forward, &mut saved, &mut workspace)?,
                    Some(_) => functions::eval(backend, forward, running, &mut saved, &mut workspace)?,
                }
                ranks.layer(2).double_backward(backend, step, &saved, &mut workspace)?;
            }
        }
        Ok([widened(&d_dy), widened(&d_x), widened(&d_weight)])
    }
}

/// Of shares that begin at leaves, one of which may have no rows, whatever cotangents there are, and of an evaluation.
pub(super) fn bits_of_the_whole<T: Element, B: Backend + Clone, C: Communicator>(
    backend: &B,
    comm: &C,
    dims: [usize; 3],
) -> Vec<String> {
    let mut failures = Vec::new();
    for ((centre, gap), plan) in
        [(0.3, false), (1e6, true)].into_iter().flat_map(|how| PLANS.map(|plan| (how, plan)))
    {
        let name = format!("{dims:?} {} around {centre}, cotangents {plan:?}", T::NAME);
        let mut run = || {
            let batch = Batch::<T>::new(dims, centre)?;
            let want = batch.step::<_, C>(backend, &(0..dims[0]), plan, None)?;
            let cuts = cuts(batch.shape, comm.size(), gap)?;
            let samples = &cuts[comm.rank()];
            let own = batch.elements(samples);
            for (gathers, check) in [(usize::MAX, Check::EveryStep), (1, Check::OncePerShape)] {
                let mut ranks = Ranks::new(comm).gather_up_to(gathers).check(check);
                let got = batch.step(backend, samples, plan, Some(&mut ranks))?;
                let wants = [&want[0][own.clone()], &want[1][own.clone()], &want[2][..]];
                for ((got, want), tensor) in got.iter().zip(wants).zip(["d_dy", "d_x", "d_weight"]) {
                    if !same_bits(got, want) {
                        failures.push(format!("{name}: other bits of {tensor}"));
                    }
                }
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = run() {
            failures.push(format!("{name}: {error}"));
        }
    }
    failures
}

/// d_weight of the ranks' own samples, which adds up to the whole's.
pub(super) fn own_samples_add_up<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    let mut failures = Vec::new();
    let mut run = || {
        let batch = Batch::<f64>::new([41, 3, 7], 0.3)?;
        let bound = |rank: usize| 41 * rank / comm.size();
        let own = bound(comm.rank())..bound(comm.rank() + 1);
        for plan in PLANS {
            let mut ranks = Ranks::new(comm).parameters(Parameters::Local);
            let [.., d_weight] = batch.step(backend, &own, plan, Some(&mut ranks))?;
            let [.., want] = batch.step::<_, C>(backend, &(0..41), plan, None)?;
            let words: Vec<_> = d_weight.iter().map(|v| v.to_bits()).collect();
            let mut all = vec![0; words.len() * comm.size()];
            comm.all_gather(&words, &vec![words.len(); comm.size()], &mut all)?;
            for (f, want) in want.iter().enumerate() {
                let sum: f64 = all.iter().skip(f).step_by(words.len()).map(|v| f64::from_bits(*v)).sum();
                if (sum - want).abs() > 1e-12 * want.abs().max(1.0) {
                    failures.push(format!("{plan:?}: d_weight adds up to {sum}, not to {want}"));
                }
            }
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = run() {
        failures.push(error.to_string());
    }
    failures
}

/// What the last rank does otherwise than the others.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    Nothing,
    /// It has no cotangent of dx.
    Cotangent,
    /// Its d_x is too short.
    Length,
    /// Its forward had an activation, as those of all may.
    Activation,
}

/// Ranks with other cotangents, or one of which cannot: an error on every rank, nothing written, and the next step goes well.
pub(super) fn disagreements<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    let (last, size) = (comm.rank() + 1 == comm.size(), comm.size());
    let mut ranks = Ranks::new(comm);
    let mut step = |other: Other| {
        let other = if last { other } else { Other::Nothing };
        let (shape, x) = (Shape::new(3, 2, 5)?, [0.5_f32; 30]);
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        let (mut y, mut d_x) = ([0.0; 30], [7.0; 30]);
        let activation = if other == Other::Activation { Activation::Relu } else { Activation::Identity };
        let options = Options::default().activation(activation);
        let forward = Forward { options, ..Forward::new(shape, &x, &mut y) };
        ranks.layer(6).train(backend, forward, &mut saved, &mut workspace)?;
        let to = if other == Other::Length { &mut d_x[1..] } else { &mut d_x[..] };
        let v_dx = (other != Other::Cotangent).then_some(&x[..]);
        let step = DoubleBackward { v_dx, d_x: Some(to.into()), ..DoubleBackward::new(&x, &x) };
        let result = ranks.layer(6).double_backward(backend, step, &saved, &mut workspace);
        match result.is_err() && d_x != [7.0; 30] {
            true => Err(Error::Ranks { expected: "nothing written".into(), got: "values".into() }),
            false => result,
        }
    };
    let of = |cotangents: &str| {
        let layer = "of layer 6 with 2 features of 5 values in a sample, f32, eps 0.00001";
        format!("the double backward through the batch with {cotangents} {layer}")
    };
    let (with, without) = (of("a cotangent of dx"), of("no cotangent of dx or dweight"));
    let others = format!("expected {with} on every rank, as on rank 0, got {without} on rank {}", size - 1);
    let told = format!("expected a step without errors on every rank, got an error on rank {}", size - 1);
    let wants = [
        (Other::Cotangent, others.as_str(), (size > 1).then_some(others.as_str())),
        (Other::Length, &told, Some("expected 30 elements in d_x, got 29")),
        (
            Other::Activation,
            &told,
            Some(
                "expected the saved state of a forward without activation and mask, got one with an activation",
            ),
        ),
    ];
    let mut failures = Vec::new();
    for (other, on_others, on_last) in wants {
        let want = if last { on_last } else { Some(on_others) };
        let got = step(other).err().map(|error| error.to_string());
        if got.as_deref() != want {
            failures.push(format!("{other:?}: expected {want:?}, got {got:?}"));
        }
        if let Err(error) = step(Other::Nothing) {
            failures.push(format!("after {other:?}: {error}"));
        }
    }
    failures
}

//! What must hold of ranks that work together, whatever brings them together: threads, or processes of MPI.
//!
//! Every rank runs the same at the same time and gets its own failures.

mod second;

use crate::any::AnyCase;
use crate::case::Case;
use crate::data::{normal, rng};
use crate::digest::same_bits;
use crate::files;
use crate::shares::{Batch, bits_of_the_whole};
use crate::table::expected;
use bn_core::functions::Forward;
use bn_core::parts::{Part, PartialSums, Pooled};
use bn_core::ranks::{Communicator, Parameters, Ranks};
use bn_core::{Backend, Error, Mode, Saved, Shape, Workspace};

/// Everything below, but for [`shape_of_a_network`], which takes longer.
pub fn all<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    let mut failures = cases(backend, comm);
    for dims in [[220, 7, 49], [3500, 9, 1], [9, 2, 20_000], [3, 2, 5]] {
        failures.extend(bits_of_the_whole::<f32, _, _>(backend, comm, dims));
        failures.extend(bits_of_the_whole::<f64, _, _>(backend, comm, dims));
        failures.extend(second::bits_of_the_whole::<f32, _, _>(backend, comm, dims));
        failures.extend(second::bits_of_the_whole::<f64, _, _>(backend, comm, dims));
    }
    failures.extend(bits_of_the_whole::<half::bf16, _, _>(backend, comm, [220, 7, 49]));
    failures.extend(second::bits_of_the_whole::<half::bf16, _, _>(backend, comm, [220, 7, 49]));
    failures.extend(same_from_run_to_run(backend, comm));
    failures.extend(disagreements(backend, comm));
    failures.extend(several_layers(backend, comm));
    failures.extend(second::own_samples_add_up(backend, comm));
    failures.extend(second::disagreements(backend, comm));
    failures
}

/// The bits of the whole at (32,64,56,56).
pub fn shape_of_a_network<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    bits_of_the_whole::<f32, _, _>(backend, comm, [32, 64, 56 * 56])
}

/// Every case file that trains, and a mean of 10⁶ σ, within the limits of the whole batch's oracle.
pub fn cases<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    let loaded = files::own()
        .and_then(|paths| paths.iter().map(|path| files::load(path)).collect::<Result<Vec<_>, _>>());
    let (cases, mut failures): (Vec<_>, _) = match loaded {
        Ok(loaded) => (loaded.into_iter().map(|loaded| loaded.case).collect(), Vec::new()),
        Err(error) => (Vec::new(), vec![error.to_string()]),
    };
    for case in cases.into_iter().filter(AnyCase::trains).chain([far_from_zero().into()]) {
        match case.run_rank(backend, comm) {
            Err(error) => failures.push(format!("{}: {error}", case.name())),
            Ok(results) => {
                let bad = case.check(&results).into_iter().filter(|row| !row.ok());
                failures
                    .extend(bad.map(|row| format!("{} {}: error {}", case.name(), row.tensor, row.error)));
            }
        }
    }
    failures
}

fn far_from_zero() -> Case<f32> {
    let mut rng = rng(5);
    let mut values =
        |centre: f32| -> Vec<f32> { (0..231).map(|_| normal(&mut rng) as f32 + centre).collect() };
    let case = Case {
        name: "mean of 1e6 sigma".into(),
        dims: vec![7, 3, 11],
        mode: Mode::Train,
        x: values(1e6),
        dy: Some(values(0.1)),
        affine: [Some(vec![1.5, -0.5, 2.0]), Some(vec![0.1, 0.0, -3.0])],
        running: Some([vec![0.0; 3], vec![1.0; 3]]),
        ..Case::default()
    };
    Case { expect: expected(&case), ..case }
}

/// Shares that begin anywhere.
fn same_from_run_to_run<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    let run = || {
        let batch = Batch::<f32>::new([221, 7, 49], 3.0)?;
        let bound = |rank: usize| (221 * rank / comm.size() + rank % 2).min(221);
        let own =
            bound(comm.rank())..if comm.rank() + 1 == comm.size() { 221 } else { bound(comm.rank() + 1) };
        let mut ranks = Ranks::new(comm);
        Ok::<_, Error>([
            batch.step(backend, &own, Some(&mut ranks))?,
            batch.step(backend, &own, Some(&mut Ranks::new(comm).gather_up_to(1)))?,
        ])
    };
    match run() {
        Err(error) => vec![error.to_string()],
        Ok([a, b]) => match a.iter().zip(&b).all(|(a, b)| same_bits(a, b)) {
            true => Vec::new(),
            false => vec!["other bits in the second run".into()],
        },
    }
}

/// Ranks that do not do the same, or one of which cannot: the same error on every rank, and the next step goes well.
fn disagreements<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    let (last, size) = (comm.rank() + 1 == comm.size(), comm.size());
    let mut ranks = Ranks::new(comm);
    let mut step = |number: u64, [features, inner]: [usize; 2], eps: f64, short: bool| {
        let shape = Shape::new(3, features, inner)?;
        let (x, mut y) = (vec![0.5_f32; shape.len()], vec![7.0; shape.len() - usize::from(short)]);
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        let step = Forward { eps, ..Forward::new(shape, &x, &mut y) };
        let result = ranks.layer(number).train(backend, step, &mut saved, &mut workspace);
        match result.is_err() && y.iter().any(|v| *v != 7.0) {
            true => Err(Error::Ranks { expected: "nothing written".into(), got: "values".into() }),
            false => result,
        }
    };
    let mut failures = Vec::new();
    let mut expect = |got: Result<(), Error>, want: Option<String>| {
        let got = got.err().map(|error| error.to_string());
        if got != want {
            failures.push(format!("expected {want:?}, got {got:?}"));
        }
    };
    let plain = "the forward of layer 4 with 2 features of 5 values in a sample, f32, eps 0.00001";
    let others = [
        (
            (5, [2, 5], 1e-5),
            "the forward of layer 5 with 2 features of 5 values in a sample, f32, eps 0.00001",
        ),
        (
            (4, [3, 5], 1e-5),
            "the forward of layer 4 with 3 features of 5 values in a sample, f32, eps 0.00001",
        ),
        (
            (4, [2, 6], 1e-5),
            "the forward of layer 4 with 2 features of 6 values in a sample, f32, eps 0.00001",
        ),
        ((4, [2, 5], 1e-3), "the forward of layer 4 with 2 features of 5 values in a sample, f32, eps 0.001"),
    ];
    for ((number, dims, eps), name) in others {
        let got = if last { step(number, dims, eps, false) } else { step(4, [2, 5], 1e-5, false) };
        let want = format!("expected {plain} on every rank, as on rank 0, got {name} on rank {}", size - 1);
        expect(got, (size > 1).then_some(want));
        expect(step(4, [2, 5], 1e-5, false), None);
    }
    let want = match last {
        true => "expected 30 elements in y, got 29".into(),
        false => format!("expected a step without errors on every rank, got an error on rank {}", size - 1),
    };
    expect(step(4, [2, 5], 1e-5, last), Some(want));
    expect(step(4, [2, 5], 1e-5, false), None);
    failures
}

/// The sums of two layers in one collective, and dγ and dβ of a rank's own samples, which add up to the whole's.
fn several_layers<B: Backend + Clone, C: Communicator>(backend: &B, comm: &C) -> Vec<String> {
    let run = || {
        let mut ranks = Ranks::new(comm).parameters(Parameters::Local);
        let batches = [Batch::<f64>::new([40, 3, 7], 0.3)?, Batch::new([40, 5, 2], 0.1)?];
        let own = 40 * comm.rank() / comm.size()..40 * (comm.rank() + 1) / comm.size();
        let mut workspace = Workspace::default();
        let mut sums = Vec::new();
        let mut pooled = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let shape = Shape::new(own.len(), batch.shape.features(), batch.shape.inner())?;
            let first = ranks.layer(number as u64).samples::<f64>(shape)?.start;
            let of = Pooled::<f64>::new(shape.features(), 1e-5)?;
            let part = Part::new(shape, &batch.x[batch.elements(&own)]);
            sums.push(of.sum(backend, part, first, &mut workspace)?);
            pooled.push(of);
        }
        ranks.merge(&mut sums.iter_mut().collect::<Vec<_>>())?;
        let mut same = true;
        for (batch, (pooled, sums)) in batches.iter().zip(pooled.iter_mut().zip(&sums)) {
            same &= sums.samples() == 40 && pooled.settle(sums)?;
            let [_, _, dweight, dbias] = batch.step(backend, &own, Some(&mut ranks))?;
            let [_, _, want, want_bias] = batch.step::<_, C>(backend, &(0..40), None)?;
            for (own, want) in [(dweight, want), (dbias, want_bias)] {
                let (len, words) = (own.len(), own.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
                let mut all = vec![0; len * comm.size()];
                comm.all_gather(&words, &vec![len; comm.size()], &mut all)?;
                for (f, want) in want.iter().enumerate() {
                    let sum: f64 = all.iter().skip(f).step_by(len).map(|bits| f64::from_bits(*bits)).sum();
                    same &= (sum - want).abs() <= 1e-12 * want.abs().max(1.0);
                }
            }
        }
        let mut none = PartialSums::<f64>::default();
        let refused = ranks.merge(&mut [&mut none]).is_err();
        Ok::<_, Error>(same && refused)
    };
    match run() {
        Err(error) => vec![error.to_string()],
        Ok(true) => Vec::new(),
        Ok(false) => vec!["sums of several layers, or gradients of a rank's own samples, are others".into()],
    }
}

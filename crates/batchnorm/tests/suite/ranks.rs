//! A batch over ranks that are threads, at the shape of a network and on any number of threads; layers, frozen and others.

use crate::common::{bits, message, values};
use batchnorm::functions::{Backward, DoubleBackward, Forward, double_backward};
use batchnorm::ranks::{Communicator, Ranks, Threads};
use batchnorm::{
    Affine, BatchNorm, Config, DefaultBackend, Error, Frozen, Layout, OneValue, Options, Saved, Shape,
    Workspace, parts,
};
use std::ops::Range;
use std::thread;

/// Runs the same on so many ranks, and returns what each says.
fn on<V: Send>(size: usize, run: impl Fn(Threads) -> V + Sync) -> Vec<V> {
    thread::scope(|scope| {
        let ranks = Threads::ranks(size).into_iter();
        let threads: Vec<_> = ranks.map(|comm| scope.spawn(|| run(comm))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn cuts(shape: Shape, n: usize) -> Vec<Range<usize>> {
    let leaf = parts::split_every(&[1, shape.features(), shape.inner()], Layout::ChannelsFirst).unwrap();
    let leaves = shape.outer().div_ceil(leaf);
    let bound = |i: usize| (leaves * i * (i + 1) / (n * (n + 1)) * leaf).min(shape.outer());
    (0..n).map(|i| bound(i)..if i + 1 == n { shape.outer() } else { bound(i + 1) }).collect()
}

/// y, dx, d_dy and d_x; dγ, dβ, d_weight and the running statistics, as bits.
type Given = [Vec<u32>; 9];

/// Two steps of a layer over its share.
fn steps(
    mut bn: BatchNorm<f32>,
    (shape, x, dy): (Shape, &[f32], &[f32]),
    mut ranks: Option<&mut Ranks<Threads>>,
) -> Result<Given, Error> {
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let [mut y, mut dx, mut d_dy, mut d_x] = [(); 4].map(|()| vec![0.0; shape.len()]);
    let learned = bn.config().frozen != Frozen::All;
    let [mut dweight, mut dbias] =
        [bn.weight.len(), bn.bias.len()].map(|len| vec![0.0; if learned { len } else { 0 }]);
    let mut d_weight = dweight.clone();
    let z = vec![0.5; shape.features()];
    for _ in 0..2 {
        let forward = Forward::new(shape, x, &mut y);
        match &mut ranks {
            Some(ranks) => bn.forward_ranks(forward, ranks.layer(9), &mut saved, &mut workspace)?,
            None => bn.forward_step(forward, &mut saved, &mut workspace)?,
        }
        let backward = Backward {
            dx: Some((&mut dx).into()),
            dweight: (!dweight.is_empty()).then_some(&mut dweight),
            dbias: (!dbias.is_empty()).then_some(&mut dbias),
            ..Backward::new(x, dy)
        };
        match &mut ranks {
            Some(ranks) => bn.backward_ranks(backward, ranks.layer(9), &saved, &mut workspace)?,
            None => bn.backward_step(backward, &saved, &mut workspace)?,
        }
        let second = DoubleBackward {
            v_dx: Some(x),
            v_dweight: Some(&z),
            v_dbias: Some(&z),
            d_dy: Some((&mut d_dy).into()),
            d_x: Some((&mut d_x).into()),
            d_weight: (!d_weight.is_empty()).then_some(&mut d_weight),
            ..DoubleBackward::new(x, dy)
        };
        match &mut ranks {
            Some(ranks) => bn.double_backward_ranks(second, ranks.layer(9), &saved, &mut workspace)?,
            None => {
                let weight = bn.weight.as_slice().filter(|weight| !weight.is_empty());
                let second = DoubleBackward { weight, ..second };
                double_backward(&DefaultBackend::default(), second, &saved, &mut workspace)?;
            }
        }
    }
    let running = bn.running.as_ref().map(|running| [running.mean.to_vec(), running.var.to_vec()]);
    let [mean, var] = running.unwrap_or_default();
    Ok([&y, &dx, &d_dy, &d_x, &dweight, &dbias, &d_weight, &mean, &var].map(|of| bits(of)))
}

fn layer(features: usize, config: Config) -> BatchNorm<f32> {
    let mut bn = BatchNorm::with_config(features, config).unwrap();
    if config.affine == Affine::Both {
        (bn.weight, bn.bias) = (values(features, 5, 1.5).into(), values(features, 9, 0.0).into());
    }
    bn
}

fn ranks_give_the_whole(shape: Shape, sizes: &[usize], config: Config) {
    let (x, dy) = (values(shape.len(), 0, 0.3), vec![0.7; shape.len()]);
    let want = steps(layer(shape.features(), config), (shape, &x, &dy), None).unwrap();
    let strip = shape.features() * shape.inner();
    for &size in sizes {
        let cuts = cuts(shape, size);
        let got = on(size, |comm| {
            let part = &cuts[comm.rank()];
            let own = part.start * strip..part.end * strip;
            let shape = Shape::new(part.len(), shape.features(), shape.inner()).unwrap();
            let mut ranks = Ranks::new(comm);
            let tensors = (shape, &x[own.clone()], &dy[own]);
            steps(layer(shape.features(), config), tensors, Some(&mut ranks)).unwrap()
        });
        for (got, part) in got.iter().zip(&cuts) {
            let own = part.start * strip..part.end * strip;
            let mut parts = got.iter().zip(&want).take(4);
            assert!(
                parts.all(|(got, want)| *got == want[own.clone()]),
                "{shape} on {size} ranks: {config:?}"
            );
            assert!(got[4..] == want[4..], "{shape} on {size} ranks: {config:?}");
        }
    }
}

#[test]
fn the_shape_of_a_network_on_ranks() {
    let shape = Shape::nchw(32, 64, 56, 56).unwrap();
    ranks_give_the_whole(shape, &[2, 3, 5, 16], Config::default());
}

/// Each rank has a pool of its own.
#[test]
fn any_number_of_threads_on_ranks() {
    let shape = Shape::new(220, 40, 49).unwrap();
    let (x, dy) = (values(shape.len(), 0, 0.3), vec![0.7; shape.len()]);
    let config = Config::default();
    let want = steps(layer(40, config), (shape, &x, &dy), None).unwrap();
    for threads in [1, 2, 3, 7] {
        let cuts = cuts(shape, 3);
        let got = on(3, |comm| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let own = cuts[comm.rank()].clone();
            let shape = Shape::new(own.len(), 40, 49).unwrap();
            let own = own.start * 40 * 49..own.end * 40 * 49;
            pool.install(|| {
                let mut ranks = Ranks::new(comm);
                steps(layer(40, config), (shape, &x[own.clone()], &dy[own]), Some(&mut ranks)).unwrap()
            })
        });
        let y: Vec<u32> = got.iter().flat_map(|got| got[0].clone()).collect();
        assert!(y == want[0] && got.iter().all(|got| got[4..] == want[4..]), "{threads} threads");
    }
}

#[test]
fn layers_of_any_kind_on_ranks() {
    let shape = Shape::new(220, 7, 49).unwrap();
    let plain = Config::default;
    for config in [
        plain().momentum(None),
        plain().affine(Affine::Scale),
        plain().affine(Affine::Shift),
        plain().affine(Affine::None),
        plain().frozen(Frozen::Statistics),
        plain().frozen(Frozen::All),
        plain().track_running_stats(false),
        plain().eps(0.1),
    ] {
        ranks_give_the_whole(shape, &[3], config);
    }
}

/// One value per feature is asked of the whole batch, and a batch of none is Ok.
#[test]
fn batches_of_one_value_and_of_none_on_ranks() {
    let run = |shares: [usize; 3], one_value: OneValue| {
        on(3, |comm| {
            let rows = shares[comm.rank()];
            let (shape, x, mut y) = (Shape::nc(rows, 2).unwrap(), vec![3.0; 2 * rows], vec![7.0; 2 * rows]);
            let mut bn = BatchNorm::<f32>::with_config(2, Config::default().one_value(one_value)).unwrap();
            let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
            let step = Forward::new(shape, &x, &mut y);
            let done = bn.forward_ranks(step, Ranks::new(comm).layer(0), &mut saved, &mut workspace);
            let tracked = bn.running.unwrap().mean.sum();
            (done.err().map(|error| error.to_string()), y, tracked)
        })
    };
    for (error, y, tracked) in run([0, 1, 0], OneValue::Refused) {
        let error = error.unwrap();
        assert!(
            error.starts_with("expected more than 1 value per feature to take batch statistics"),
            "{error}"
        );
        assert!(y.iter().all(|v| *v == 7.0) && tracked == 0.0);
    }
    for (error, y, tracked) in run([0, 1, 0], OneValue::Bias) {
        assert_eq!(error, None);
        assert!(y.iter().all(|v| *v == 0.0) && tracked > 0.5);
    }
    for (error, _, tracked) in run([0, 0, 0], OneValue::Refused) {
        assert_eq!((error, tracked), (None, 0.0));
    }
    let second = on(3, |comm| {
        let (mut ranks, mut bn) = (Ranks::new(comm), BatchNorm::<f64>::new(2)?);
        let (mut saved, mut workspace, mut d_weight) = (Saved::default(), Workspace::default(), [7.0; 2]);
        let step = Forward::new(Shape::nc(0, 2)?, &[], &mut []);
        bn.forward_ranks(step, ranks.layer(0), &mut saved, &mut workspace)?;
        let to = Some(&mut d_weight[..]);
        let step = DoubleBackward { v_dx: Some(&[]), d_weight: to, ..DoubleBackward::new(&[], &[]) };
        bn.double_backward_ranks(step, ranks.layer(0), &saved, &mut workspace).map(|()| d_weight)
    });
    assert!(second.iter().all(|d_weight| *d_weight == Ok([0.0; 2])), "{second:?}");
}

/// What is wrong with a layer's call on one rank is an error on all of them.
#[test]
fn errors_of_a_layer_on_ranks() {
    let said = on(2, |comm| {
        let second = comm.rank() == 1;
        let (mut ranks, mut bn) = (Ranks::new(comm), BatchNorm::<f32>::new(2).unwrap());
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        let (x, mut y) = ([1.0, 2.0, 4.0, 8.0], [7.0; 4]);
        let plain = Shape::nc(2, 2).unwrap();
        let shape = if second { Shape::nc(4, 1).unwrap() } else { plain };
        let step = Forward::new(shape, &x, &mut y);
        let a = message(bn.forward_ranks(step, ranks.layer(0), &mut saved, &mut workspace));
        let options = if second { Options::default().ghost(2) } else { Options::default() };
        let step = Forward { options, ..Forward::new(plain, &x, &mut y) };
        let b = message(bn.forward_ranks(step, ranks.layer(0), &mut saved, &mut workspace));
        assert_eq!(y, [7.0; 4]);
        let step = Forward::new(plain, &x, &mut y);
        bn.forward_ranks(step, ranks.layer(0), &mut saved, &mut workspace).unwrap();
        let mut dweight = vec![0.0; if second { 3 } else { 2 }];
        let step = Backward { dweight: Some(&mut dweight), ..Backward::new(&x, &x) };
        let c = message(bn.backward_ranks(step, ranks.layer(0), &saved, &mut workspace));
        // The state is that of a part.
        let d = message(bn.backward_step(Backward::new(&x, &x), &saved, &mut workspace));
        let mut d_weight = vec![0.0; if second { 3 } else { 2 }];
        let step = DoubleBackward { d_weight: Some(&mut d_weight), ..DoubleBackward::new(&x, &x) };
        let e = message(bn.double_backward_ranks(step, ranks.layer(0), &saved, &mut workspace));
        let f = message(double_backward(
            &DefaultBackend::default(),
            DoubleBackward::new(&x, &x),
            &saved,
            &mut workspace,
        ));
        [a, b, c, d, e, f]
    });
    let other = "expected a step without errors on every rank, got an error on rank 1";
    let part = "expected the saved state of a whole batch of 4 values per feature, got that of a part of 2";
    assert_eq!(said[0], [other, other, other, part, other, part]);
    let own = [
        "expected no ghost batches in a part of a batch, got ones of 2 samples",
        "expected 2 elements in dweight, got 3",
        part,
        "expected 2 elements in d_weight, got 3",
        part,
    ];
    assert_eq!(said[1][1..], own);
    assert!(said[1][0].starts_with("expected 2 features in x, got 1"), "{}", said[1][0]);
}

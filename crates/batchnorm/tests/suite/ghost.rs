//! Ghost batches: each virtual batch is a step of its own, and the running statistics take the whole.

use crate::common::{bits, message, values};
use batchnorm::functions::{Backward, Forward};
use batchnorm::{
    Activation, BatchNorm, Config, Element, Frozen, Kept, OneValue, Options, Real, Renorm, Saved, Shape,
    Workspace,
};
use ndarray::{Array2, Array4, ArrayD, Axis, array, s};

/// A layer with running statistics that are not the first ones.
fn layer(features: usize) -> BatchNorm<f32> {
    let mut bn = BatchNorm::<f32>::new(features).unwrap();
    (bn.weight, bn.bias) = (values(features, 5, 1.5).into(), values(features, 9, 0.0).into());
    let running = bn.running.as_mut().unwrap();
    (running.mean, running.var) = (values(features, 1, 0.5).into(), values(features, 2, 2.5).into());
    bn
}

fn tensor(dims: &[usize], seed: usize, centre: f32) -> ArrayD<f32> {
    ArrayD::from_shape_vec(dims, values(dims.iter().product(), seed, centre)).unwrap()
}

/// Everything that a step gives, in bits.
type Bits = [Vec<u32>; 3];

/// The bits of y, dx and dresidual, and dγ and dβ.
fn step(
    bn: &BatchNorm<f32>,
    [x, skip, dy]: [&ArrayD<f32>; 3],
    options: impl Fn() -> Options<(), ()>,
) -> (Bits, [Vec<f32>; 2], Saved<f32>) {
    let Options { activation, renorm, ghost, .. } = options();
    let mut own = Options::default().activation(activation).residual(skip.view());
    (own.renorm, own.ghost) = (renorm, ghost);
    let (y, saved) = bn.forward_uncommitted_with(x, own).unwrap();
    let g = bn.backward_with(&saved, x, dy, Kept::default().residual(skip.view())).unwrap();
    let by_y = bn.backward_with(&saved, x, dy, Kept::default().y(y.view())).unwrap();
    let all = |t: ArrayD<f32>| bits(&t.iter().copied().collect::<Vec<_>>());
    assert_eq!(all(g.dx.clone()), all(by_y.dx));
    let tensors = [y, g.dx, g.dresidual.unwrap()].map(all);
    (tensors, [g.dweight.to_vec(), g.dbias.to_vec()], saved)
}

#[test]
fn each_virtual_batch_has_the_bits_of_a_step_on_its_slice() {
    let renorm = Renorm { r_max: 1.5, d_max: 0.5 };
    let plain = Options::<(), ()>::default;
    let options: [&dyn Fn() -> Options<(), ()>; 3] =
        [&plain, &|| plain().activation(Activation::Relu), &|| {
            plain().activation(Activation::LeakyRelu(0.1)).renorm(renorm)
        }];
    for (dims, n) in [
        (vec![10, 5], 3),
        (vec![257, 40], 64),
        (vec![10, 3, 7, 7], 4),
        (vec![9, 2, 300], 2),
        (vec![40, 1, 30], 16),
        (vec![5, 70, 2], 1),
    ] {
        let (bn, axis) = (layer(dims[1]), Axis(0));
        // Far from zero in some features, and a feature that is hard.
        let mut all = [tensor(&dims, 0, 3.0), tensor(&dims, 7, 0.0), tensor(&dims, 31, 0.1)];
        all[0].index_axis_mut(Axis(1), dims[1] / 2).mapv_inplace(|v| v * 1e-30);
        let [x, skip, dy] = &all;
        for of in options {
            let (got, params, saved) = step(&bn, [x, skip, dy], || of().ghost(n));
            let parts = dims[0] / n;
            assert_eq!(saved.ghosts().len(), parts);
            let (mut want, mut sums) = (<Bits>::default(), vec![vec![(0.0, 0.0); dims[1]]; 2]);
            for i in 0..parts {
                let rows = i * n..if i + 1 == parts { dims[0] } else { (i + 1) * n };
                let slice = |t: &ArrayD<f32>| t.slice_axis(axis, rows.clone().into()).to_owned();
                let (own, grads, state) = step(&bn, [&slice(x), &slice(skip), &slice(dy)], of);
                assert_eq!((state.mean(), &state), (saved.ghosts()[i].mean(), &saved.ghosts()[i]));
                want.iter_mut().zip(own).for_each(|(all, own)| all.extend(own));
                for (sums, grads) in sums.iter_mut().zip(grads) {
                    sums.iter_mut().zip(grads).for_each(|(sum, own)| {
                        *sum = (sum.0 + f64::from(own), sum.1 + f64::from(own.abs()));
                    });
                }
            }
            assert!(got == want, "{dims:?} by {n}: other bits");
            for (got, sums) in params.iter().zip(sums) {
                for (got, (sum, size)) in got.iter().zip(sums) {
                    assert!((f64::from(*got) - sum).abs() <= 1.2e-7 * size, "{dims:?}: {got}, not {sum}");
                }
            }
        }
    }
}

/// dγ and dβ are rounded once: those of f32 are the nearest numbers to those of f64.
#[test]
fn gradients_of_parameters_are_rounded_once() {
    let (dims, options) = ([999, 7], Options::default().ghost(4));
    let (x, dy) = (tensor(&dims, 0, 3.0), tensor(&dims, 31, 0.1));
    let narrow = BatchNorm::<f32>::new(7).unwrap();
    let (_, saved) = narrow.forward_uncommitted_with(&x, options).unwrap();
    let got = narrow.backward(&saved, &x, &dy).unwrap();
    let [x, dy] = [&x, &dy].map(|t| t.mapv(f64::from));
    let wide = BatchNorm::<f64>::new(7).unwrap();
    let (_, saved) = wide.forward_uncommitted_with(&x, Options::default().ghost(4)).unwrap();
    let want = wide.backward(&saved, &x, &dy).unwrap();
    assert_eq!(got.dweight, want.dweight.mapv(|v| v as f32));
    assert_eq!(got.dbias, want.dbias.mapv(|v| v as f32));
}

#[test]
fn the_last_virtual_batch_takes_the_remainder() {
    let bn = layer(3);
    for (samples, n, want) in [
        (10, 3, vec![3, 3, 4]),
        (9, 3, vec![3; 3]),
        (5, 2, vec![2, 3]),
        (5, 3, vec![]),
        (5, 5, vec![]),
        (4, 9, vec![]),
    ] {
        let x = tensor(&[samples, 3], 0, 0.3);
        let (y, saved) = bn.forward_uncommitted_with(&x, Options::default().ghost(n)).unwrap();
        let rows: Vec<usize> = saved.ghosts().iter().map(|ghost| ghost.shape().outer()).collect();
        assert_eq!(rows, want, "{samples} by {n}");
        if want.is_empty() {
            let (plain, own) = bn.forward_uncommitted(&x).unwrap();
            assert_eq!((y, saved), (plain, own), "{samples} by {n}");
        }
    }
}

/// An entry of the batch axis is several positions where the features come last, in memory or in the config.
#[test]
fn samples_are_entries_of_the_first_axis() {
    let x = Array4::from_shape_vec((6, 2, 5, 3), values(180, 0, 0.3)).unwrap(); // (N,H,W,C) in memory
    let bn = layer(3);
    let (y, saved) = bn
        .forward_uncommitted_with(&x.view().permuted_axes([0, 3, 1, 2]), Options::default().ghost(2))
        .unwrap();
    let rows: Vec<usize> = saved.ghosts().iter().map(|ghost| ghost.shape().outer()).collect();
    assert_eq!(rows, [20; 3]);
    let part = x.slice(s![2..4, .., .., ..]);
    let (own, _) = bn.forward_uncommitted(&part.permuted_axes([0, 3, 1, 2])).unwrap();
    assert_eq!(y.slice(s![2..4, .., .., ..]), own);
    // A view with gaps has the bits of its copy.
    let gaps = x.slice(s![..;2, .., .., ..]);
    let (y, _) = BatchNorm::<f32>::new(2)
        .unwrap()
        .forward_uncommitted_with(&gaps, Options::default().ghost(1))
        .unwrap();
    let (copy, _) = BatchNorm::<f32>::new(2)
        .unwrap()
        .forward_uncommitted_with(&gaps.to_owned(), Options::default().ghost(1))
        .unwrap();
    assert_eq!(y, copy);
}

fn running_statistics_take_the_whole<T: Element>(scale: f64, u: f64) {
    let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
    let x = Array2::from_shape_fn((301, 5), |(n, c)| {
        number(scale * (((n * 31 + c * 7) % 101) as f64 + [0.0, 1e3, 0.0, -7.0, 50.0][c] + n as f64 / 10.0))
    });
    let mut whole = BatchNorm::<T>::with_config(5, Config::default().momentum(Some(1.0))).unwrap();
    let mut ghosts = whole.clone();
    let (_, want) = whole.forward(&x).unwrap();
    let (_, got) = ghosts.forward_with(&x, Options::default().ghost(10)).unwrap();
    let near = |a: &[T::Compute], b: &[T::Compute]| {
        for (a, b) in a.iter().zip(b).map(|(a, b)| (a.to_f64(), b.to_f64())) {
            assert!(a == b || (a - b).abs() <= 2.0 * u * b.abs(), "{} × {scale:e}: {a}, not {b}", T::NAME);
        }
    };
    near(got.mean(), want.mean());
    near(got.var(), want.var());
    near(got.invstd(), want.invstd());
    let [got, want] = [ghosts, whole].map(|bn| bn.running.unwrap());
    near(&got.mean.to_vec(), &want.mean.to_vec());
    near(&got.var.to_vec(), &want.var.to_vec());
    assert_eq!((got.num_batches_tracked, want.num_batches_tracked), (1, 1));
}

#[test]
fn running_statistics_take_the_whole_batch_once() {
    for scale in [1.0, 1e-30, 1e30] {
        running_statistics_take_the_whole::<f32>(scale, 6e-8);
    }
    // Squares that leave f64 as well.
    for scale in [1.0, 1e-200, 1e200, 1e-307, 1e300] {
        running_statistics_take_the_whole::<f64>(scale, 1.2e-16);
    }
}

#[test]
fn gradients_are_numerical() {
    let wide =
        |seed, centre| tensor(&[7, 2], seed, centre).mapv(f64::from).into_dimensionality::<ndarray::Ix2>();
    let (x, w) = (wide(0, 0.4).unwrap(), wide(50, 0.1).unwrap());
    let mut bn = BatchNorm::<f64>::new(2).unwrap();
    bn.weight[1] = -0.3;
    let y = |x: &Array2<f64>| bn.forward_uncommitted_with(x, Options::default().ghost(3)).unwrap();
    let g = bn.backward(&y(&x).1, &x, &w).unwrap();
    for (at, dx) in g.dx.indexed_iter() {
        let loss = |h: f64| {
            let mut x = x.clone();
            x[at] += h;
            (&y(&x).0 * &w).sum()
        };
        let h = 1e-3;
        let want = (8.0 * (loss(h) - loss(-h)) - (loss(2.0 * h) - loss(-2.0 * h))) / (12.0 * h);
        assert!((dx - want).abs() < 1e-8, "{at:?}: {dx}, numerically {want}");
    }
}

#[test]
fn what_is_no_virtual_batch_is_refused() {
    let x = array![[1.0f32], [3.0], [4.0]];
    let mut bn = BatchNorm::<f32>::new(1).unwrap();
    let says = "expected 1 sample or more in a ghost batch, got 0";
    assert_eq!(message(bn.forward_with(&x, Options::default().ghost(0))), says);
    let valid = array![true, true, false];
    let options = Options::default().ghost(1).mask(valid.view());
    assert_eq!(message(bn.forward_with(&x, options)), "expected no mask beside ghost batches, got one");
    let says = message(bn.forward_with(&x, Options::default().ghost(1)));
    assert!(says.starts_with("expected more than 1 value per feature"), "{says}");
    assert_eq!(bn.running, BatchNorm::<f32>::new(1).unwrap().running, "nothing was committed");
    let config = Config::default().one_value(OneValue::Bias);
    let mut bn = BatchNorm::<f32>::with_config(1, config).unwrap();
    let (y, saved) = bn.forward_with(&x, Options::default().ghost(1)).unwrap();
    assert_eq!((y, saved.ghosts().len()), (array![[0.0], [0.0], [0.0]], 3));
}

#[test]
fn evaluation_and_frozen_statistics_have_no_virtual_batches() {
    let (mut bn, x) = (layer(3), tensor(&[8, 3], 0, 0.3));
    let options = || Options::default().ghost(2);
    let want = bn.forward_eval(&x).unwrap();
    assert_eq!(bn.forward_eval_with(&x, options()).unwrap().0, want);
    bn.set_frozen(Frozen::Statistics).unwrap();
    assert_eq!(bn.forward_with(&x, options()).unwrap().0, want);
}

/// One `Saved` serves steps with virtual batches and without.
#[test]
fn slices_have_the_bits_of_arrays() {
    let (bn, shape) = (layer(3), Shape::nchw(8, 3, 2, 2).unwrap());
    let (x, dy) = (tensor(&[8, 3, 2, 2], 0, 0.3), tensor(&[8, 3, 2, 2], 9, 0.1));
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    for ghost in [Some(3), None, Some(2), Some(100)] {
        let (mut y, mut dx, mut dbias) = (vec![0.0; 96], vec![0.0; 96], vec![0.0; 3]);
        let mut options = Options::default();
        options.ghost = ghost;
        let step = Forward { options, ..Forward::new(shape, x.as_slice().unwrap(), &mut y) };
        bn.forward_uncommitted_step(step, &mut saved, &mut workspace).unwrap();
        let step = Backward {
            dx: Some((&mut dx).into()),
            dbias: Some(&mut dbias),
            ..Backward::new(x.as_slice().unwrap(), dy.as_slice().unwrap())
        };
        bn.backward_step(step, &saved, &mut workspace).unwrap();
        let mut options = Options::default();
        options.ghost = ghost;
        let (want, own) = bn.forward_uncommitted_with(&x, options).unwrap();
        let g = bn.backward(&own, &x, &dy).unwrap();
        assert_eq!((&y[..], &dx[..]), (want.as_slice().unwrap(), g.dx.as_slice().unwrap()), "{ghost:?}");
        assert_eq!((dbias, &saved), (g.dbias.to_vec(), &own), "{ghost:?}");
    }
}

#[test]
fn a_state_comes_back_with_its_virtual_batches() {
    let (bn, x) = (layer(3), tensor(&[8, 3], 0, 0.3));
    let (_, saved) = bn.forward_uncommitted_with(&x, Options::default().ghost(3)).unwrap();
    let text = serde_json::to_string(&saved).unwrap();
    let back: Saved<f32> = serde_json::from_str(&text).unwrap();
    let of_bytes: Saved<f32> = postcard::from_bytes(&postcard::to_stdvec(&saved).unwrap()).unwrap();
    assert_eq!((&back, &of_bytes), (&saved, &saved));
    assert_eq!(bn.backward(&back, &x, &x).unwrap(), bn.backward(&saved, &x, &x).unwrap());

    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["ghosts"].as_array_mut().unwrap().pop();
    let says = serde_json::from_value::<Saved<f32>>(value).unwrap_err().to_string();
    assert_eq!(says, "expected virtual batches of the 8 samples of the shape in ghosts, got 1");
}

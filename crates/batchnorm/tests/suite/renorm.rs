//! Batch renormalization: what r and d are, their gradients, and what does not go with them.

use crate::common::{bits, message, values};
use batchnorm::functions::{self, Backward, Forward, Running};
use batchnorm::{
    Activation, BatchNorm, Config, DefaultBackend, Element, Frozen, Kept, Options, Real, Renorm, Saved,
    Shape, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayView2, array};

const PAPER: Renorm = Renorm { r_max: 3.0, d_max: 5.0 };
const PLAIN: Renorm = Renorm { r_max: 1.0, d_max: 0.0 };

fn numbers(n: usize, c: usize, seed: usize, centre: f32) -> Array2<f64> {
    Array2::from_shape_vec((n, c), values(n * c, seed, centre).into_iter().map(f64::from).collect()).unwrap()
}

/// A layer whose features are within the limits, beyond RMAX, beyond DMAX, and beyond both.
fn layer() -> BatchNorm<f64> {
    let mut bn = BatchNorm::<f64>::new(4).unwrap();
    (bn.weight, bn.bias) = (array![1.5, -0.7, 0.2, 1.0], array![0.3, 0.0, -2.0, 1.0]);
    let running = bn.running.as_mut().unwrap();
    (running.mean, running.var) = (array![0.5, 0.3, 9.0, -9.0], array![1.2, 0.01, 2.0, 90.0]);
    bn
}

/// dL/dx, dL/dγ and dL/dβ of L = Σ w·y by five-point differences, with r and d held: x̂·r + d is a plain layer with γ·r and
/// γ·d + β.
fn numerical(
    bn: &BatchNorm<f64>,
    x: &Array2<f64>,
    w: &Array2<f64>,
    [r, d]: &[Array1<f64>; 2],
) -> [Vec<f64>; 3] {
    let loss = |x: ArrayView2<'_, f64>, weight: &Array1<f64>, bias: &Array1<f64>| {
        let mut plain = bn.clone();
        (plain.weight, plain.bias) = (weight * r, weight * d + bias);
        (&plain.forward_uncommitted(&x).unwrap().0 * w).sum()
    };
    let derivative = |f: &dyn Fn(f64) -> f64| {
        let h = 1e-3;
        (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
    };
    let moved = |of: &Array1<f64>, i: usize, h: f64| {
        let mut of = of.clone();
        of[i] += h;
        of
    };
    let dx = x.indexed_iter().map(|(at, _)| {
        derivative(&|h| {
            let mut x = x.clone();
            x[at] += h;
            loss(x.view(), &bn.weight, &bn.bias)
        })
    });
    let dweight = (0..4).map(|f| derivative(&|h| loss(x.view(), &moved(&bn.weight, f, h), &bn.bias)));
    let dbias = (0..4).map(|f| derivative(&|h| loss(x.view(), &bn.weight, &moved(&bn.bias, f, h))));
    [dx.collect(), dweight.collect(), dbias.collect()]
}

fn assert_close<'a>(name: &str, got: impl IntoIterator<Item = &'a f64>, want: &[f64]) {
    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (got, want)) in got.into_iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 1e-8 * largest, "{name}[{i}]: {got}, numerically {want}");
    }
}

#[test]
fn gradients_are_numerical_with_r_and_d_held() {
    let (bn, x, w) = (layer(), numbers(7, 4, 3, 0.4), numbers(7, 4, 90, 0.2));
    let (_, saved) = bn.forward_uncommitted_with(&x, Options::default().renorm(PAPER)).unwrap();
    let [r, d] = saved.renorm().unwrap().map(Array1::from);
    assert!((r[0] - 1.0).abs() < 0.5 && r[1] == 3.0 && r[3] == 1.0 / 3.0, "{r}");
    assert!(d[0].abs() < 1.0 && d[2] == -5.0 && d[3].abs() < 5.0, "{d}");
    let [dx, dweight, dbias] = numerical(&bn, &x, &w, &[r, d]);
    let g = bn.backward(&saved, &x, &w).unwrap();
    assert_close("dx", &g.dx, &dx);
    assert_close("dweight", &g.dweight, &dweight);
    assert_close("dbias", &g.dbias, &dbias);
}

#[test]
fn running_statistics_that_are_the_batchs_move_nothing() {
    let (x, options) = (array![[1.0f32], [3.0]], Options::default().renorm(PAPER));
    let mut bn = BatchNorm::<f32>::new(1).unwrap();
    let running = bn.running.as_mut().unwrap();
    (running.mean[0], running.var[0]) = (2.0, 1.0);
    let (y, saved) = bn.forward_uncommitted_with(&x, options).unwrap();
    assert_eq!(saved.renorm(), Some([vec![1.0], vec![0.0]]));
    assert_eq!(y, bn.forward_uncommitted(&x).unwrap().0);
}

/// Within the limits y is what the running statistics would make of x, whatever the batch.
#[test]
fn within_the_limits_a_step_is_an_evaluation() {
    let (bn, x) = (layer(), numbers(9, 4, 5, 0.4));
    let wide = Options::default().renorm(Renorm { r_max: 1e6, d_max: 1e6 });
    let (y, saved) = bn.forward_uncommitted_with(&x, wide).unwrap();
    let apart = (&y - &bn.forward_eval(&x).unwrap()).mapv(f64::abs);
    assert!(apart.iter().all(|v| *v < 1e-13), "{apart}");
    let (_, own) = bn.forward_uncommitted(&x).unwrap();
    assert_eq!((saved.mean(), saved.var(), saved.invstd()), (own.mean(), own.var(), own.invstd()));
}

#[test]
fn limits_of_1_and_0_change_no_bit() {
    for (shape, scale) in [((7, 5, 300), 1.0f32), ((33, 70, 1), 1.0), ((40, 3, 49), 1e-30), ((6, 9, 4), 1e30)]
    {
        let (n, c, inner) = shape;
        let of = |seed, centre| {
            let values = values(n * c * inner, seed, centre).into_iter().map(|v| v * scale);
            Array3::from_shape_vec(shape, values.collect()).unwrap()
        };
        let (x, skip, dy) = (of(0, 3.0), of(7, 0.0), of(31, 0.1));
        let mut bn = BatchNorm::<f32>::new(c).unwrap();
        (bn.weight, bn.bias) = (values(c, 5, 1.5).into(), values(c, 9, 0.0).into());
        let step = |renorm: Option<Renorm>| {
            let mut options = Options::default().activation(Activation::Relu).residual(skip.view());
            options.renorm = renorm;
            let (y, saved) = bn.forward_uncommitted_with(&x, options).unwrap();
            let g = bn.backward_with(&saved, &x, &dy, Kept::default().residual(skip.view())).unwrap();
            let all = [y, g.dx, g.dresidual.unwrap()].map(|t| bits(&t.into_raw_vec_and_offset().0));
            (all, [g.dweight, g.dbias].map(|t| bits(&t.to_vec())))
        };
        assert_eq!(step(Some(PLAIN)), step(None), "{shape:?} × {scale:e}");
    }
}

/// The gate of the backward is the forward's, told by y or computed again.
#[test]
fn an_activation_and_a_residual_go_with_it() {
    let (bn, x, w) = (layer(), numbers(7, 4, 3, 0.4), numbers(7, 4, 90, 0.2));
    let skip = numbers(7, 4, 50, 0.0);
    let renormed = || Options::default().renorm(PAPER);
    let with = renormed().activation(Activation::Relu).residual(skip.view());
    let (y, saved) = bn.forward_uncommitted_with(&x, with).unwrap();
    let (plain, own) = bn.forward_uncommitted_with(&x, renormed()).unwrap();
    let sum = plain + &skip;
    assert!(sum.iter().zip(&y).all(|(sum, y)| (sum.max(0.0) - y).abs() < 1e-14));
    let passed = ndarray::Zip::from(&w).and(&y).map_collect(|w, y| if *y > 0.0 { *w } else { 0.0 });
    let want = bn.backward(&own, &x, &passed).unwrap();
    for kept in [Kept::default().y(y.view()), Kept::default().residual(skip.view())] {
        let g = bn.backward_with(&saved, &x, &w, kept).unwrap();
        assert_eq!(
            (&g.dx, &g.dweight, &g.dbias, g.dresidual.as_ref()),
            (&want.dx, &want.dweight, &want.dbias, Some(&passed))
        );
    }
}

#[test]
fn limits_that_are_none_are_refused_and_write_nothing() {
    let x = array![[1.0f32], [3.0]];
    let mut bn = BatchNorm::<f32>::new(1).unwrap();
    for (r_max, d_max, says) in [
        (0.9, 1.0, "expected r_max finite and 1 or more, got 0.9"),
        (f64::NAN, 1.0, "expected r_max finite and 1 or more, got NaN"),
        (f64::INFINITY, 1.0, "expected r_max finite and 1 or more, got inf"),
        (1.0, -0.5, "expected d_max finite and 0 or more, got -0.5"),
        (1.0, f64::NAN, "expected d_max finite and 0 or more, got NaN"),
    ] {
        let options = Options::default().renorm(Renorm { r_max, d_max });
        assert_eq!(message(bn.forward_with(&x, options)), says);
        assert_eq!(message(bn.forward_eval_with(&x, options)), says);
    }
    let valid = array![true, true];
    let masked = Options::default().renorm(PAPER).mask(valid.view());
    assert_eq!(message(bn.forward_with(&x, masked)), "expected no mask beside renorm, got one");
    assert_eq!(bn.running, BatchNorm::<f32>::new(1).unwrap().running);

    let config = Config::default().track_running_stats(false);
    let mut bn = BatchNorm::<f32>::with_config(1, config).unwrap();
    let says = "expected running statistics beside renorm, got none";
    assert_eq!(message(bn.forward_with(&x, Options::default().renorm(PAPER))), says);
    assert!(
        bn.forward_eval_with(&x, Options::default().renorm(PAPER)).is_ok(),
        "an evaluation asks for none"
    );
}

#[test]
fn evaluation_and_frozen_statistics_are_not_renormalized() {
    let (mut bn, x) = (layer(), numbers(9, 4, 5, 0.4));
    let options = Options::default().renorm(PAPER);
    let (y, saved) = bn.forward_eval_with(&x, options).unwrap();
    assert_eq!((y, saved.renorm()), (bn.forward_eval(&x).unwrap(), None));
    bn.set_frozen(Frozen::Statistics).unwrap();
    let (y, saved) = bn.forward_with(&x, options).unwrap();
    assert_eq!((y, saved.renorm()), (bn.forward_eval(&x).unwrap(), None));
}

/// The functions give the layer's bits. What changes between a forward and its backward changes no gradient.
#[test]
fn functions_give_the_layers_bits() {
    let (mut bn, x, dy) = (layer(), numbers(9, 4, 5, 0.4), numbers(9, 4, 31, 0.1));
    let before = bn.running.clone().unwrap();
    let (want, state) = bn.forward_with(&x, Options::default().renorm(PAPER)).unwrap();
    let want_g = bn.backward(&state, &x, &dy).unwrap();

    let (backend, mut saved, mut workspace) =
        (DefaultBackend::default(), Saved::default(), Workspace::default());
    let (mut y, mut dx, mut dweight) = (vec![0.0; 36], vec![0.0; 36], vec![0.0; 4]);
    let slice = |a: &Array1<f64>| a.to_vec();
    let [weight, bias, mean, var] = [&bn.weight, &bn.bias, &before.mean, &before.var].map(slice);
    let step = Forward {
        weight: Some(&weight),
        bias: Some(&bias),
        options: Options::default().renorm(PAPER),
        renorm_by: Some(Running { mean: &mean, var: &var }),
        ..Forward::new(Shape::nc(9, 4).unwrap(), x.as_slice().unwrap(), &mut y)
    };
    functions::train(&backend, step, &mut saved, &mut workspace).unwrap();
    let step = Backward {
        weight: Some(&weight),
        dx: Some((&mut dx).into()),
        dweight: Some(&mut dweight),
        ..Backward::new(x.as_slice().unwrap(), dy.as_slice().unwrap())
    };
    functions::backward(&backend, step, &saved, &mut workspace).unwrap();
    assert_eq!(
        (&y[..], &dx[..], dweight),
        (want.as_slice().unwrap(), want_g.dx.as_slice().unwrap(), want_g.dweight.to_vec())
    );

    let short = Some(Running { mean: &mean[..3], var: &var });
    let step =
        Forward { renorm_by: short, ..Forward::new(Shape::nc(9, 4).unwrap(), x.as_slice().unwrap(), &mut y) };
    let says = message(functions::train(&backend, step, &mut saved, &mut workspace));
    assert_eq!(says, "expected 4 elements in running_mean, got 3");
}

#[test]
fn a_nan_stays_in_its_feature() {
    let (bn, mut x, mut dy) = (layer(), numbers(9, 4, 5, 0.4), numbers(9, 4, 31, 0.1));
    // An infinite gradient is settled before the others.
    dy[[4, 3]] = f64::INFINITY;
    let run = |bn: &BatchNorm<f64>, x: &Array2<f64>| {
        let (y, saved) = bn.forward_uncommitted_with(x, Options::default().renorm(PAPER)).unwrap();
        (y, bn.backward(&saved, x, &dy).unwrap())
    };
    let (y, g) = run(&bn, &x);
    x[[2, 1]] = f64::NAN;
    let mut lost = bn.clone();
    lost.running.as_mut().unwrap().var[3] = f64::NAN;
    let (with, h) = run(&lost, &x);
    for f in 0..4 {
        let columns = [(&y, &with), (&g.dx, &h.dx)].map(|(a, b)| (a.column(f), b.column(f)));
        match f {
            1 | 3 => {
                assert!(columns.iter().all(|(_, b)| b.iter().all(|v| v.is_nan())), "{f}");
                assert!(h.dweight[f].is_nan());
            }
            _ => {
                assert!(columns.iter().all(|(a, b)| a == b), "{f}");
                assert_eq!((g.dweight[f], g.dbias[f]), (h.dweight[f], h.dbias[f]));
            }
        }
    }
}

#[test]
fn a_state_comes_back_with_r_and_d() {
    let (bn, x, dy) = (layer(), numbers(8, 4, 5, 0.4), numbers(8, 4, 31, 0.1));
    let (_, saved) = bn.forward_uncommitted_with(&x, Options::default().renorm(PAPER)).unwrap();
    let text = serde_json::to_string(&saved).unwrap();
    let back: Saved<f64> = serde_json::from_str(&text).unwrap();
    let of_bytes: Saved<f64> = postcard::from_bytes(&postcard::to_stdvec(&saved).unwrap()).unwrap();
    assert_eq!((&back, &of_bytes), (&saved, &saved));
    assert_eq!(bn.backward(&back, &x, &dy).unwrap(), bn.backward(&saved, &x, &dy).unwrap());

    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["d"].as_array_mut().unwrap().pop();
    let says = serde_json::from_value::<Saved<f64>>(value).unwrap_err().to_string();
    assert_eq!(says, "expected none, or 2 for each of 4 features in r and d in d, got 7");
}

/// The terms of an infinite γ may have other signs than their sum.
fn an_infinite_weight_has_the_sign_of_what_it_weighs<T: Element>() {
    let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
    let mut bn = BatchNorm::<T>::new(1).unwrap();
    bn.weight[0] = T::Compute::from_f64(f64::INFINITY);
    bn.running.as_mut().unwrap().mean[0] = T::Compute::from_f64(5.0);
    let x = [1.0, 4.5, 7.0].map(|v| [number(v)]);
    let renorm = Renorm { r_max: 9.0, d_max: 9.0 };
    let (y, _) =
        bn.forward_uncommitted_with(&Array2::from(x.to_vec()), Options::default().renorm(renorm)).unwrap();
    let y: Vec<f64> = y.iter().map(|y| y.to_compute().to_f64()).collect();
    // On either side of the running mean, not of the batch's, which is 4.2.
    assert_eq!(y, [f64::NEG_INFINITY, f64::NEG_INFINITY, f64::INFINITY], "{}", T::NAME);
}

#[test]
fn infinite_weights_have_a_sign() {
    an_infinite_weight_has_the_sign_of_what_it_weighs::<f32>();
    an_infinite_weight_has_the_sign_of_what_it_weighs::<f64>();
}

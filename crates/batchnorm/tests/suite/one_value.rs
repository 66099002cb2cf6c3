//! Batches with one value per feature: an error, or y = β.

use batchnorm::backend::{Backend, Scalar};
use batchnorm::functions::Forward;
use batchnorm::parts::{Part, PartialSums, Pooled};
use batchnorm::{
    BatchNorm, Config, DefaultBackend, Element, Error, Layout, OneValue, Real, RunningVar, Saved, Shape,
    Workspace,
};
use ndarray::{Array, Array2, Array4, array};

fn bits<T: Element>(values: impl IntoIterator<Item = T>) -> Vec<u64> {
    // All NaN count as one.
    let canonical = |v: f64| if v.is_nan() { f64::NAN } else { v };
    values.into_iter().map(|v| canonical(v.to_compute().to_f64()).to_bits()).collect()
}

/// x and dy, γ and β.
type Inputs<T> = ([Vec<T>; 2], [Vec<<T as Element>::Compute>; 2]);

/// Each value of x with each γ, as features side by side: ordinary, 0, subnormal and nearly too large.
fn features<T: Element>() -> Inputs<T> {
    let (least, most) = match T::NAME {
        "f64" => (5e-324, 1.7e308),
        "f16" => (6e-8, 65504.0),
        _ => (1e-40, 3e38),
    };
    let values = [0.0, 1.0, -3.7, 1e4, least, -least, most, -most];
    let all = [0.0, 1.0, -2.5, least, most];
    let (mut x, mut gamma, mut beta, mut dy) = (vec![], vec![], vec![], vec![]);
    for (i, &v) in values.iter().enumerate() {
        for (j, &g) in all.iter().enumerate() {
            let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
            x.push(number(v));
            gamma.push(T::Compute::from_f64(g));
            // Of half types, a value that they have.
            beta.push(number([0.5, -2.0, 0.0, least, most][(i + j) % 5]).to_compute());
            dy.push(number(values[(3 * i + j) % values.len()]));
        }
    }
    ([x, dy], [gamma, beta])
}

fn is_beta<T: Element, B: Backend + Default>(eps: f64) -> [Vec<u64>; 6] {
    let ([x, dy], [gamma, beta]) = features::<T>();
    let config = Config::default().eps(eps).one_value(OneValue::Bias);
    let mut bn = BatchNorm::<T, B>::with_config(x.len(), config).unwrap();
    (bn.weight, bn.bias) = (gamma.into(), beta.clone().into());
    let x = Array2::from_shape_vec((1, x.len()), x).unwrap();
    let dy = Array2::from_shape_vec((1, dy.len()), dy).unwrap();
    let (y, saved) = bn.forward(&x).unwrap();
    let g = bn.backward(&saved, &x, &dy).unwrap();
    let name = format!("{} {eps:e}", T::NAME);
    for f in 0..x.len() {
        let at = |values: &Array2<T>| values[[0, f]].to_compute();
        assert!(at(&y) == beta[f], "{name}: y {:?} of x {:?}, β {:?}", at(&y), at(&x), beta[f]);
        assert!(at(&g.dx).to_f64() == 0.0, "{name}: dx {:?} of x {:?}, dy {:?}", at(&g.dx), at(&x), at(&dy));
        assert!(
            g.dweight[f].to_f64() == 0.0,
            "{name}: dγ {:?} of x {:?}, dy {:?}",
            g.dweight[f],
            at(&x),
            at(&dy)
        );
        assert!(g.dbias[f] == at(&dy), "{name}: dβ {:?} of dy {:?}", g.dbias[f], at(&dy));
        assert_eq!((saved.mean()[f], saved.var()[f].to_f64()), (at(&x), 0.0), "{name}");
    }
    let running = bn.running.unwrap();
    [bits(y), bits(g.dx), bits(g.dweight), bits(g.dbias), bits(running.mean), bits(running.var)]
}

fn every_backend_gives_beta<T: Element>() {
    for eps in [1e-5, 1e-3, 1e-30, 1e30] {
        assert_eq!(is_beta::<T, DefaultBackend>(eps), is_beta::<T, Scalar>(eps), "{}", T::NAME);
    }
}

#[test]
fn y_is_beta_and_only_beta_learns() {
    every_backend_gives_beta::<f32>();
    every_backend_gives_beta::<f64>();
    every_backend_gives_beta::<half::f16>();
    every_backend_gives_beta::<half::bf16>();
}

/// Bessel's factor counts as 1: the variance is 0 either way.
#[test]
fn the_value_and_zero_are_committed() {
    for kind in [RunningVar::Unbiased, RunningVar::Biased] {
        let config = Config::default().one_value(OneValue::Bias).running_var(kind);
        let mut bn = BatchNorm::<f64>::with_config(2, config).unwrap();
        bn.forward(&array![[10.0, -20.0]]).unwrap();
        let running = bn.running.unwrap();
        assert_eq!((running.mean, running.var), (array![1.0, -2.0], array![0.9, 0.9]));
        assert_eq!(running.num_batches_tracked, 1);
    }
}

#[test]
fn values_that_are_not_finite_give_nan_in_their_feature() {
    let config = Config::default().one_value(OneValue::Bias);
    let mut bn = BatchNorm::<f32>::with_config(3, config).unwrap();
    let x = array![[f32::NAN, f32::INFINITY, 2.0]];
    let (y, saved) = bn.forward(&x).unwrap();
    assert!(y[[0, 0]].is_nan() && y[[0, 1]].is_nan() && y[[0, 2]] == 0.0, "{y}");
    let g = bn.backward(&saved, &x, &array![[1.0, 1.0, f32::INFINITY]]).unwrap();
    assert!(g.dx.iter().all(|dx| dx.is_nan()), "{}", g.dx); // ∞ − ∞ in the last
    assert_eq!(g.dbias, array![1.0, 1.0, f32::INFINITY]);
}

#[test]
fn every_rank_and_layout_is_taken_and_evaluation_without_statistics_too() {
    let first = Config::default().one_value(OneValue::Bias).track_running_stats(false);
    for config in [first, first.layout(Layout::ChannelsLast)] {
        let mut bn = BatchNorm::<f32>::with_config(5, config).unwrap();
        bn.bias.fill(0.25);
        let dims = if config.layout == Layout::ChannelsLast { (1, 1, 1, 5) } else { (1, 5, 1, 1) };
        let x = Array4::from_elem(dims, 7.0);
        let beta = Array::from_elem(dims, 0.25);
        assert_eq!(bn.forward(&x).unwrap().0, beta);
        let (y, saved) = bn.forward_eval_saved(&x).unwrap();
        assert_eq!((y, bn.backward_eval(&saved, &x, &x).unwrap().dx), (beta, Array::zeros(dims)));
        // More values, and none, are what they were.
        assert!(bn.forward(&Array4::zeros((0, 5, 1, 5))).is_ok());
        let two = Array4::from_shape_fn((2, 5, 1, 5), |(n, ..)| n as f32);
        let mut refusing = BatchNorm::<f32>::with_config(5, config.one_value(OneValue::Refused)).unwrap();
        refusing.bias.fill(0.25);
        assert_eq!(bn.forward(&two).unwrap(), refusing.forward(&two).unwrap());
    }
}

/// Of a batch in parts the whole counts, and its statistics say what happens.
#[test]
fn a_batch_in_parts_takes_its_own_setting() {
    let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
    let (shape, x, bias) = (Shape::nc(1, 2).unwrap(), [3.0_f32, -2.0], Some(&[0.5, 1.5][..]));
    let pooled = Pooled::<f32>::new(2, 1e-5).unwrap();
    let mut sums = PartialSums::default();
    sums.merge(pooled.sum(&backend, Part::new(shape, &x), 0, &mut workspace).unwrap()).unwrap();
    let error = pooled.clone().settle(&sums).unwrap_err();
    assert!(matches!(error, Error::OneValue { .. }), "{error}");
    let mut pooled = pooled.one_value(OneValue::Bias);
    while !pooled.settle(&sums).unwrap() {
        sums = pooled.sum(&backend, Part::new(shape, &x), 0, &mut workspace).unwrap();
    }
    let (mut y, mut saved) = ([0.0; 2], Saved::default());
    let step = Forward { bias, ..Forward::new(shape, &x, &mut y) };
    pooled.forward(&backend, step, &mut saved, &mut workspace).unwrap();
    assert_eq!((y, saved.mean()), ([0.5, 1.5], &x[..]));
}

/// What such a forward saved can be stored.
#[test]
fn the_state_comes_back() {
    let config = Config::default().one_value(OneValue::Bias);
    let mut bn = BatchNorm::<f64>::with_config(2, config).unwrap();
    let (_, saved) = bn.forward(&array![[3.0, -2.0]]).unwrap();
    let back: Saved<f64> = serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap();
    assert_eq!(back, saved);
}

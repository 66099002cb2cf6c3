//! Batches that are not finite: taken in, or left out of the running statistics feature by feature.

use batchnorm::functions::{self, Commit};
use batchnorm::{
    BatchNorm, Config, DefaultBackend, Element, Error, NonFinite, OneValue, Real, RunningStats, RunningVar,
};
use ndarray::{Array1, Array2, array, s};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn leaving_out(features: usize, momentum: Option<f64>) -> BatchNorm<f64> {
    let config = Config::default().momentum(momentum).non_finite(NonFinite::LeftOut);
    BatchNorm::with_config(features, config).unwrap()
}

/// Of f16 an infinity, since the type has none of the others' numbers; of the others also what overflows.
fn each_feature_for_itself<T: Element>(huge: f64) {
    let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
    let rows = [[1.0, 1.0, 1.0, huge], [3.0, NAN, INF, -huge], [5.0, 5.0, 5.0, huge]];
    let x = Array2::from_shape_fn((3, 4), |(n, c)| number(rows[n][c]));
    let finite =
        Array2::from_shape_fn((3, 4), |(n, c)| number(if rows[0][c] == 1.0 { rows[n][0] } else { 0.5 }));
    for (kind, momentum) in [(RunningVar::Unbiased, 0.1), (RunningVar::Biased, 1.0)] {
        let config = Config::default().running_var(kind).momentum(Some(momentum));
        let mut out = BatchNorm::<T>::with_config(4, config.non_finite(NonFinite::LeftOut)).unwrap();
        let mut taken = BatchNorm::<T>::with_config(4, config).unwrap();
        let ((y, saved), (taken_y, _)) = (out.forward(&x).unwrap(), taken.forward(&x).unwrap());
        assert_eq!(y[[0, 0]], taken_y[[0, 0]], "outputs are what they are");
        assert!(y.column(1).iter().all(|v| v.to_compute().to_f64().is_nan()));
        let own = out.running.as_ref().unwrap();
        let shown = saved
            .mean()
            .iter()
            .zip(saved.var())
            .map(|(m, v)| m.to_f64().is_finite() && v.to_f64().is_finite());
        let kept: Vec<bool> = shown.collect();
        assert_eq!(kept, [true, false, false, false], "{}", T::NAME);
        let fresh = RunningStats::<T::Compute>::new(4);
        let theirs = taken.running.as_ref().unwrap();
        assert!(own.mean[0] == theirs.mean[0] && own.var[0] == theirs.var[0], "{}", T::NAME);
        assert_eq!(own.mean.slice(s![1..]), fresh.mean.slice(s![1..]), "{}", T::NAME);
        assert_eq!(own.var.slice(s![1..]), fresh.var.slice(s![1..]), "{}", T::NAME);
        assert_eq!((own.num_batches_tracked, &own.left_out), (1, &array![0, 1, 1, 1]));
        assert_eq!((theirs.num_batches_tracked, &theirs.left_out), (1, &array![0, 0, 0, 0]));
        assert!(theirs.mean[1].to_f64().is_nan() && !theirs.var[3].to_f64().is_finite(), "as PyTorch does");
        // The next finite batch counts, and what was taken in once stays.
        out.forward(&finite).unwrap();
        taken.forward(&finite).unwrap();
        let (own, theirs) = (out.running.unwrap(), taken.running.unwrap());
        assert_eq!((own.num_batches_tracked, own.left_out), (2, array![0, 1, 1, 1]));
        assert!(own.mean.iter().chain(&own.var).all(|v| v.to_f64().is_finite()), "{}", T::NAME);
        assert!(own.mean[1].to_f64() != 0.0 && theirs.mean[1].to_f64().is_nan());
    }
}

#[test]
fn a_feature_is_left_out_and_counted_alone() {
    each_feature_for_itself::<f32>(3e38);
    each_feature_for_itself::<f64>(1e300);
    each_feature_for_itself::<half::f16>(INF);
    each_feature_for_itself::<half::bf16>(3e38);
}

/// The variance of finite values that overflows only times n/(n−1) would be infinite in the running statistics.
#[test]
fn a_variance_counts_as_it_is_tracked() {
    let half = 1.6e19_f32; // σ² = 2.56e38, twice that is beyond f32
    let x = array![[half], [-half]];
    for (kind, left_out) in [(RunningVar::Unbiased, 1), (RunningVar::Biased, 0)] {
        let config = Config::default().running_var(kind).momentum(Some(1.0)).non_finite(NonFinite::LeftOut);
        let mut bn = BatchNorm::<f32>::with_config(1, config).unwrap();
        let (_, saved) = bn.forward(&x).unwrap();
        assert!(saved.var()[0].is_finite());
        let running = bn.running.unwrap();
        assert_eq!((running.left_out[0], running.var[0].is_finite()), (left_out, true), "{kind:?}");
    }
}

/// The mean over the batches that a feature took in: one that was left out weighs nothing, and the next one no less.
#[test]
fn the_cumulative_average_is_over_what_was_taken_in() {
    let mut bn = leaving_out(2, None);
    let batches = [[1.0, NAN], [2.0, 2.0], [INF, 4.0], [3.0, 9.0]];
    for [a, b] in batches {
        bn.forward(&array![[a, b], [a + 2.0, b + 2.0]]).unwrap();
    }
    let running = bn.running.unwrap();
    // (2 + 3 + 4)/3 and (3 + 5 + 10)/3; each variance is 2 times n/(n−1)·1.
    let near = |got: &Array1<f64>, want: [f64; 2]| {
        got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12)
    };
    assert!(near(&running.mean, [3.0, 6.0]) && near(&running.var, [2.0, 2.0]), "{running:?}");
    assert_eq!((running.num_batches_tracked, running.left_out), (4, array![1, 1]));
    // The first that is taken in is the average, as in a new layer.
    let mut bn = leaving_out(1, None);
    bn.forward(&array![[NAN], [1.0]]).unwrap();
    bn.forward(&array![[4.0], [6.0]]).unwrap();
    assert_eq!(bn.running.unwrap().mean, array![5.0]);
}

#[test]
fn counts_begin_anew_and_may_be_missing_or_wrong() {
    let mut bn = leaving_out(2, Some(0.1));
    let x = array![[1.0, NAN], [3.0, 0.5]];
    bn.forward(&x).unwrap();
    bn.reset_running_stats();
    assert_eq!(bn.running, Some(RunningStats::new(2)));
    // None stand for zeros.
    bn.running.as_mut().unwrap().left_out = Array1::default(0);
    bn.forward(&x).unwrap();
    assert_eq!(bn.running.as_ref().unwrap().left_out, array![0, 1]);
    // With a stride they are counted on.
    bn.running.as_mut().unwrap().left_out = array![5, 0, 7, 0].slice_move(s![..;2]);
    bn.forward(&x).unwrap();
    assert_eq!(bn.running.as_ref().unwrap().left_out, array![5, 8]);
    let before = bn.running.clone().unwrap();
    bn.running.as_mut().unwrap().left_out = array![0, 0, 0];
    assert_eq!(bn.forward(&x).unwrap_err().to_string(), "expected 2 elements in left_out, got 3");
    let after = bn.running.unwrap();
    assert_eq!((after.mean, after.num_batches_tracked), (before.mean, before.num_batches_tracked));
}

#[test]
fn empty_batches_and_single_values_count_nothing_and_as_they_are() {
    let mut bn = leaving_out(2, Some(0.1));
    bn.forward(&Array2::zeros((0, 2))).unwrap();
    assert_eq!(bn.running, Some(RunningStats::new(2)));
    let config = Config::default().non_finite(NonFinite::LeftOut).one_value(OneValue::Bias);
    let mut bn = BatchNorm::<f64>::with_config(2, config).unwrap();
    bn.forward(&array![[10.0, INF]]).unwrap();
    let running = bn.running.unwrap();
    assert_eq!((running.mean, running.var), (array![1.0, 0.0], array![0.9, 1.0]));
    assert_eq!(running.left_out, array![0, 1]);
    let mut none = leaving_out(0, Some(0.1));
    none.forward(&Array2::zeros((3, 0))).unwrap();
    assert_eq!(none.running.unwrap().left_out.len(), 0);
}

/// The function that owns nothing counts in the caller's numbers.
#[test]
fn functions_count_in_the_callers_numbers() {
    let backend = DefaultBackend::default();
    let (_, saved) = leaving_out(2, None).forward(&array![[1.0, NAN], [3.0, 0.5]]).unwrap();
    let (mut mean, mut var, mut left_out) = ([0.0; 2], [1.0; 2], [2, 2]);
    // Of four batches, two were left out before: the weight of this one is 1/2.
    let commit = Commit { momentum: None, batches: 4, ..Commit::new(&mut mean, &mut var) };
    let commit = Commit { left_out: Some(&mut left_out), ..commit };
    functions::commit(&backend, &saved, commit).unwrap();
    assert_eq!((mean, var, left_out), ([1.0, 0.0], [1.5, 1.0], [2, 3]));
    let commit = Commit { left_out: Some(&mut left_out[1..]), ..Commit::new(&mut mean, &mut var) };
    let error = functions::commit(&backend, &saved, commit).unwrap_err();
    assert_eq!(error, Error::Length { what: "left_out", expected: 2, got: 1 });
    // More than there were batches, or fewer than none, make no weight beyond 1.
    for count in [i64::MAX, i64::MIN] {
        let (mut mean, mut var, mut left_out) = ([0.0; 2], [1.0; 2], [count; 2]);
        let commit = Commit { momentum: None, batches: i64::MAX, ..Commit::new(&mut mean, &mut var) };
        let commit = Commit { left_out: Some(&mut left_out), ..commit };
        functions::commit(&backend, &saved, commit).unwrap();
        assert!((0.0..=2.0).contains(&mean[0]) && left_out[1] >= count, "{mean:?} {left_out:?}");
    }
}

#[test]
fn counts_come_back_and_those_of_before_are_zeros() {
    let mut bn = leaving_out(2, Some(0.1));
    bn.forward(&array![[1.0, NAN], [3.0, 0.5]]).unwrap();
    let text = serde_json::to_string(&bn).unwrap();
    let back: BatchNorm<f64> = serde_json::from_str(&text).unwrap();
    assert_eq!((&back.running, back.config()), (&bn.running, bn.config()));
    let back: BatchNorm<f64> = postcard::from_bytes(&postcard::to_stdvec(&bn).unwrap()).unwrap();
    assert_eq!(back.running, bn.running);

    let mut stored = serde_json::to_value(&bn).unwrap();
    stored["running"].as_object_mut().unwrap().remove("left_out");
    let back: BatchNorm<f64> = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(back.running.unwrap().left_out, array![0, 0]);
    for (data, reason) in [
        (vec![1], "expected 2 elements in left_out, got 1"),
        (vec![0, -1], "expected a count of 0 or above in left_out, got -1"),
    ] {
        stored["running"]["left_out"] = serde_json::json!({ "v": 1, "dim": [data.len()], "data": data });
        let error = serde_json::from_value::<BatchNorm<f64>>(stored.clone()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

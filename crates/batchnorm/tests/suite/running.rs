//! Running statistics of several layers as one, and of a whole data set.

use crate::common::message;
use batchnorm::{BatchNorm, Error, Recalibrate, RunningStats, RunningVar};
use ndarray::{Array2, array};

fn stats(mean: &[f32], var: &[f32], batches: i64) -> RunningStats<f32> {
    RunningStats {
        mean: mean.to_vec().into(),
        var: var.to_vec().into(),
        num_batches_tracked: batches,
        ..RunningStats::new(mean.len())
    }
}

#[test]
fn batches_that_a_feature_left_out_weigh_nothing() {
    let of = |mean: [f64; 2], left_out: [i64; 2]| RunningStats {
        mean: mean.to_vec().into(),
        num_batches_tracked: 1,
        left_out: left_out.to_vec().into(),
        ..RunningStats::new(2)
    };
    let all = RunningStats::merge_by_batches(&[&of([0.0, 2.0], [1, 0]), &of([4.0, 4.0], [0, 0])]).unwrap();
    assert_eq!(all.mean, array![4.0, 3.0]);
    assert_eq!(all.var, array![1.0, 2.0]);
    assert_eq!((all.num_batches_tracked, all.left_out), (2, array![1, 0]));
    let short = RunningStats { left_out: array![0], ..of([0.0; 2], [0; 2]) };
    assert!(matches!(RunningStats::merge_by_batches(&[&short]), Err(Error::Length { what: "left_out", .. })));
}

#[test]
fn running_statistics_merge_by_the_law_of_total_variance() {
    let (a, b) = (stats(&[0.0, 1e4], &[1.0, 1.0], 30), stats(&[4.0, 1e4], &[3.0, 1.0], 10));
    let all = RunningStats::merge(&[(&a, 0.75), (&b, 0.25)]).unwrap();
    assert_eq!(all, stats(&[1.0, 1e4], &[4.5, 1.0], 40)); // 0.75·1 + 0.25·3 + 0.75·1² + 0.25·3²
    // Weights are relative, and the batches are some.
    assert_eq!(RunningStats::merge(&[(&b, 1e300), (&a, 3e300)]).unwrap(), all);
    assert_eq!(RunningStats::merge(&[(&a, 3e-320), (&b, 1e-320)]).unwrap(), all);
    assert_eq!(RunningStats::merge_by_batches(&[&a, &b]).unwrap(), all);
    // A weight of 0 is as good as not there, NaN and all.
    let nan = stats(&[f32::NAN, 0.0], &[f32::NAN, f32::INFINITY], 7);
    assert_eq!(RunningStats::merge(&[(&nan, 0.0), (&a, 0.5), (&nan, 0.0)]).unwrap(), a);
    let with = RunningStats::merge(&[(&nan, 1.0), (&a, 1.0)]).unwrap();
    assert!(with.mean[0].is_nan() && with.mean[1] == 5e3);
    // Of one nothing changes, be it at the ends of f64.
    let ends = RunningStats {
        mean: array![1e308, 5e-324],
        var: array![1e308, 5e-324],
        num_batches_tracked: 1,
        ..RunningStats::new(2)
    };
    assert_eq!(RunningStats::merge(&[(&ends, 2.0)]).unwrap(), ends);
    assert_eq!(RunningStats::merge(&[(&ends, 1.0), (&ends, 1.0)]).unwrap().var, ends.var);
    let most = RunningStats { num_batches_tracked: i64::MAX, ..a.clone() };
    assert_eq!(RunningStats::merge_by_batches(&[&most, &most]).unwrap().num_batches_tracked, i64::MAX);
}

#[test]
fn running_statistics_that_do_not_merge_are_named() {
    let (a, b) = (stats(&[0.0], &[1.0], 0), stats(&[0.0, 0.0], &[1.0, 1.0], 0));
    let merge = |all: &[(&RunningStats<f32>, f64)]| message(RunningStats::merge(all));
    assert_eq!(merge(&[]), "expected running statistics to merge, got none");
    assert_eq!(merge(&[(&a, 1.0), (&b, 1.0)]), "expected 1 elements in running_mean, got 2");
    assert_eq!(merge(&[(&a, 1.0), (&a, -1.0)]), "expected weights that are finite and at least 0, got -1");
    assert_eq!(merge(&[(&a, f64::NAN)]), "expected weights that are finite and at least 0, got NaN");
    assert_eq!(merge(&[(&a, 0.0), (&a, -0.0)]), "expected a weight above 0, got 2 of 0");
    assert_eq!(message(RunningStats::merge_by_batches(&[&a])), "expected a weight above 0, got 1 of 0");
    let odd = RunningStats { var: array![1.0, 1.0], ..a.clone() };
    assert_eq!(merge(&[(&odd, 1.0)]), "expected 1 elements in running_var, got 2");
}

/// Batches of different sizes, far from zero: the population's mean and variance, and no average of averages.
#[test]
fn recalibrated_statistics_are_the_populations() {
    let bn = BatchNorm::<f32>::new(2).unwrap();
    let value =
        |i: usize, c: usize| ((i * 7919 % 101) as f64 - (i / 40) as f64 * 30.0 + 1e4 * c as f64) as f32;
    let mut recalibrate = Recalibrate::default();
    for rows in [0..40, 40..42, 42..42, 42..101] {
        let x = Array2::from_shape_fn((rows.len(), 2), |(i, c)| value(rows.start + i, c));
        recalibrate.add(&bn.forward_uncommitted(&x).unwrap().1).unwrap();
    }
    for (kind, divisor) in [(RunningVar::Biased, 101.0), (RunningVar::Unbiased, 100.0)] {
        let running = recalibrate.finish(kind).unwrap();
        assert_eq!(running.num_batches_tracked, 3);
        for c in 0..2 {
            let mean = (0..101).map(|i| f64::from(value(i, c))).sum::<f64>() / 101.0;
            let var = (0..101).map(|i| (f64::from(value(i, c)) - mean).powi(2)).sum::<f64>() / divisor;
            assert_eq!((running.mean[c], running.var[c]), (mean as f32, var as f32));
        }
    }
    let (_, saved) = bn.forward_eval_saved(&array![[1.0, 2.0]]).unwrap();
    let before = recalibrate.clone();
    assert!(matches!(recalibrate.add(&saved), Err(Error::SavedMode { .. })));
    let (_, saved) = BatchNorm::<f32>::new(1).unwrap().forward(&array![[1.0], [2.0]]).unwrap();
    assert_eq!(message(recalibrate.add(&saved)), "expected moments of 2 features, got moments of 1 features");
    assert_eq!(recalibrate, before);
}

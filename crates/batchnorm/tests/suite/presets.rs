//! The defaults of other libraries, each against the numbers that its own formulas give, worked out by hand or, where the library
//! has such an example, taken from it.

use batchnorm::{Affine, BatchNorm, Config, Error, Layout, OneValue};
use ndarray::{Array4, array};

/// What a preset gives on the batch 0, 2, 4, 10 with γ = 1 and β = 0.5, the running mean 2 and variance 3 before. Its mean is 4, its
/// population variance (16 + 4 + 0 + 36)/4 = 14, its sample variance 56/3.
struct Want {
    preset: Config,
    /// As the library documents it: y of the first and the last value is (0−4)/√(14+eps) + 0.5 and (10−4)/√(14+eps) + 0.5.
    eps: f64,
    running_mean: f64,
    running_var: f64,
}

fn check(want: &Want) {
    let mut bn = BatchNorm::<f64>::with_config(1, want.preset).unwrap();
    bn.bias.fill(0.5);
    let running = bn.running.as_mut().unwrap();
    (running.mean, running.var) = (array![2.0], array![3.0]);
    let (y, _) = bn.forward(&array![[0.0], [2.0], [4.0], [10.0]]).unwrap();
    let running = bn.running.as_ref().unwrap();
    let got = [y[[0, 0]], y[[3, 0]], running.mean[0], running.var[0]];
    let [first, last] = [-4.0, 6.0].map(|distance| distance / (14.0 + want.eps).sqrt() + 0.5);
    let want = [first, last, want.running_mean, want.running_var];
    for (got, want) in got.into_iter().zip(want) {
        assert!((got - want).abs() < 1e-12, "expected {want}, got {got}");
    }
}

/// running ← (1 − momentum)·running + momentum·new, of the sample variance (the documentation of `torch.nn.BatchNorm2d`).
#[test]
fn pytorch() {
    let running_var = 0.9 * 3.0 + 0.1 * 56.0 / 3.0;
    check(&Want { preset: Config::pytorch(), eps: 1e-5, running_mean: 2.2, running_var });
    assert_eq!(Config::pytorch(), Config::default());
    let mut bn = BatchNorm::<f32>::with_config(2, Config::pytorch()).unwrap();
    // ValueError: Expected more than 1 value per channel when training
    assert!(matches!(bn.forward(&array![[1.0, 2.0]]), Err(Error::OneValue { .. })));
}

/// moving ← moving·momentum + batch·(1 − momentum), of the population variance (the documentation of `BatchNormalization`).
#[test]
fn keras() {
    let running_var = 3.0 * 0.99 + 14.0 * 0.01;
    check(&Want { preset: Config::keras(), eps: 1e-3, running_mean: 2.02, running_var });
}

/// ra ← momentum·ra + (1 − momentum)·batch, of the population variance. Flax's own test has momentum = 0.9, statistics that begin at 0 and
/// 1, and asks for 0.1·x.mean() and 0.9 + 0.1·x.var() after a step (`test_batch_norm` in tests/linen/linen_test.py).
#[test]
fn flax() {
    let running_var = 0.99 * 3.0 + 0.01 * 14.0;
    check(&Want { preset: Config::flax(), eps: 1e-5, running_mean: 2.02, running_var });
    let momentum = 1.0 - 0.9;
    let mut bn = BatchNorm::<f64>::with_config(1, Config::flax().momentum(Some(momentum))).unwrap();
    bn.forward(&array![[0.0], [2.0], [4.0], [10.0]]).unwrap();
    let running = bn.running.unwrap();
    assert!((running.mean[0] - 0.1 * 4.0).abs() < 1e-12, "{running:?}");
    assert!((running.var[0] - (0.9 + 0.1 * 14.0)).abs() < 1e-12, "{running:?}");
}

/// running ← input·momentum + current·(1 − momentum), of the population variance (the operator's specification). The second is the
/// example `test_batchnorm_example_training_mode` of its backend tests: x = (−1, 0, 1) and (2, 3, 4).
#[test]
fn onnx() {
    let running_var = 3.0 * 0.9 + 14.0 * 0.1;
    check(&Want { preset: Config::onnx(), eps: 1e-5, running_mean: 2.2, running_var });

    let mut bn = BatchNorm::<f64>::with_config(2, Config::onnx()).unwrap();
    (bn.weight, bn.bias) = (array![1.0, 1.5], array![0.0, 1.0]);
    let running = bn.running.as_mut().unwrap();
    (running.mean, running.var) = (array![0.0, 3.0], array![1.0, 1.5]);
    let x = Array4::from_shape_vec((1, 2, 1, 3), vec![-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]).unwrap();
    let (y, _) = bn.forward(&x).unwrap();
    // Both channels: (x − mean)/√(2/3 + 10⁻⁵).
    let one = 1.0 / (2.0_f64 / 3.0 + 1e-5).sqrt();
    let want = [-one, 0.0, one, 1.0 - 1.5 * one, 1.0, 1.0 + 1.5 * one];
    assert!(y.iter().zip(want).all(|(y, want)| (y - want).abs() < 1e-12), "{y}");
    let running = bn.running.unwrap();
    assert!((&running.mean - array![0.0, 3.0]).iter().all(|d| d.abs() < 1e-12), "{running:?}");
    let var = array![0.9 + 0.1 * 2.0 / 3.0, 1.5 * 0.9 + 0.1 * 2.0 / 3.0];
    assert!((&running.var - var).iter().all(|d| d.abs() < 1e-12), "{running:?}");
}

/// moving ← moving·momentum + batch·(1 − momentum), of the population variance times rest_size/max(rest_size − 1, 1) (`FusedBatchNorm`
/// in tensorflow/core/kernels/fused_batch_norm_op.cc).
#[test]
fn tensorflow() {
    let running_var = 3.0 * 0.99 + 14.0 * 4.0 / 3.0 * 0.01;
    check(&Want { preset: Config::tensorflow(), eps: 1e-3, running_mean: 2.02, running_var });
    // The raw kernel hands out the batch's statistics: exponential_avg_factor = 1.
    let mut bn = BatchNorm::<f64>::with_config(1, Config::tensorflow().momentum(Some(1.0))).unwrap();
    bn.forward(&array![[0.0], [2.0], [4.0], [10.0]]).unwrap();
    let running = bn.running.unwrap();
    assert!(
        (running.mean[0] - 4.0).abs() < 1e-12 && (running.var[0] - 56.0 / 3.0).abs() < 1e-12,
        "{running:?}"
    );
}

/// Their formulas have no exception for n = 1: y = γ·(x − x)/√(0 + eps) + β.
#[test]
fn all_but_pytorch_take_one_value() {
    for preset in [Config::keras(), Config::flax(), Config::onnx(), Config::tensorflow()] {
        let mut bn = BatchNorm::<f32>::with_config(2, preset).unwrap();
        bn.bias = array![0.5, -0.25];
        assert_eq!(bn.forward(&array![[3.0, -7.0]]).unwrap().0, array![[0.5, -0.25]]);
        let running = bn.running.unwrap();
        // 0.99·1 or 0.9·1: the variance of one value is 0, whatever it is multiplied by.
        let kept = 1.0 - preset.momentum.unwrap();
        assert!(running.var.iter().all(|v| (f64::from(*v) - kept).abs() < 1e-7), "{running:?}");
    }
}

/// What a preset does not speak of is the default, and can be set.
#[test]
fn presets_leave_the_rest_alone() {
    let presets = [Config::pytorch(), Config::keras(), Config::flax(), Config::onnx(), Config::tensorflow()];
    for preset in presets {
        let Config { affine, track_running_stats, layout, .. } = preset;
        assert_eq!((affine, track_running_stats, layout), (Affine::Both, true, Layout::ChannelsFirst));
        let own = preset.layout(Layout::ChannelsLast).one_value(OneValue::Refused);
        assert_eq!(
            (own.eps, own.momentum, own.running_var),
            (preset.eps, preset.momentum, preset.running_var)
        );
    }
}

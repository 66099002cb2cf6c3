//! The layer inside a network of two linear layers, as a course on neural networks checks it: activations of
//! N = 200 samples through 50 → 60 → 3.

use batchnorm::BatchNorm;
use bn_conformance::data::{normal, rng};
use ndarray::{Array2, Axis, array};

fn randn(dim: (usize, usize), rng: &mut rand_pcg::Pcg64Mcg) -> Array2<f64> {
    Array2::from_shape_simple_fn(dim, || normal(rng))
}

#[test]
fn means_become_the_bias_and_deviations_the_weight() {
    let mut rng = rng(231);
    let (w1, w2) = (randn((50, 60), &mut rng), randn((60, 3), &mut rng));
    let mut activations = |n: usize| randn((n, 50), &mut rng).dot(&w1).mapv(|v| v.max(0.0)).dot(&w2);
    let mut bn = BatchNorm::<f64>::new(3).unwrap();
    let (weight, bias) = (array![1.0, 2.0, 3.0], array![11.0, 12.0, 13.0]);
    (bn.weight, bn.bias) = (weight.clone(), bias.clone());

    let a = activations(200);
    assert!(
        a.mean_axis(Axis(0)).unwrap().iter().any(|m| m.abs() > 1.0),
        "the input is not normalized already"
    );
    let (y, _) = bn.forward(&a).unwrap();
    // eps takes 10⁻⁵/σ² of the deviation, σ² being in the thousands.
    approx::assert_abs_diff_eq!(y.mean_axis(Axis(0)).unwrap(), bias, epsilon = 1e-12);
    approx::assert_abs_diff_eq!(y.std_axis(Axis(0), 0.0), weight, epsilon = 1e-7);

    for _ in 0..50 {
        bn.forward(&activations(200)).unwrap();
    }
    let y = bn.forward_eval(&activations(200)).unwrap();
    // 200 samples scatter by σ/√200 = 0.07·γ around the running mean.
    approx::assert_abs_diff_eq!(y.mean_axis(Axis(0)).unwrap(), bias, epsilon = 0.6);
    approx::assert_relative_eq!(y.std_axis(Axis(0), 0.0), weight, max_relative = 0.2);
    assert_eq!(bn.running.unwrap().num_batches_tracked, 51);
}

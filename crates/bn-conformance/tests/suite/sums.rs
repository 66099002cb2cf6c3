//! Long sums whose roundings all go one way: what docs/numerics.md says of them, on the data that come nearest to it.

use bn_conformance::case::Case;
use bn_conformance::data::{normal, rng};
use bn_conformance::measure::check;
use bn_conformance::run::run;
use bn_conformance::table::expected;
use bn_core::functions::{self, Backward, Forward};
use bn_core::{Config, Element, Mode, Real, Saved, Shape, Workspace};
use bn_scalar::Scalar;

/// Long runs, pieces of one, short runs, rows side by side, and a single feature.
const SHAPES: [&[usize]; 5] = [&[32, 2, 6272], &[4, 2, 50_176], &[4100, 2, 49], &[200_000, 3], &[200_000, 1]];

/// Holds every tensor of a step to its limit. Every feature has the values of `x` and `dy`, by their place in the feature and how
/// many there are.
fn assert_right<T: Element>(
    dims: &[usize],
    x: impl Fn(usize, usize) -> f64,
    dy: impl Fn(usize, usize) -> f64,
    what: &str,
) {
    let mut case = Case::<T> {
        name: "sums".into(),
        dims: dims.to_vec(),
        mode: Mode::Train,
        config: Config::default(),
        num_batches_tracked: 0,
        x: Vec::new(),
        dy: None,
        affine: [None, None],
        running: None,
        ..Case::default()
    };
    let features = case.features();
    let n = dims.iter().product::<usize>() / features;
    case.affine = [1.0, 0.0].map(|v| Some(vec![T::Compute::from_f64(v); features]));
    let narrow = |v: f64| T::from_compute(T::Compute::from_f64(v));
    let flat = |values: Vec<f64>| -> Vec<T> {
        case.by_position(&vec![values; features]).into_iter().map(narrow).collect()
    };
    let (x, dy) = (flat((0..n).map(|i| x(i, n)).collect()), flat((0..n).map(|i| dy(i, n)).collect()));
    (case.x, case.dy) = (x, Some(dy));
    case.expect = expected(&case);
    let got = run(&case, &Scalar).unwrap();
    for row in check(&case, &got) {
        assert!(row.ok(), "{what} {dims:?} {}: {} is {} of {}", T::NAME, row.tensor, row.error, row.limit);
    }
}

/// The float above `v`.
fn above(v: f32) -> f64 {
    f64::from(f32::from_bits(v.to_bits() + 1))
}

/// Half of x is one float above the other half, and one value far away: the mean is so many σ that it is just not taken for a pilot, or
/// many more. dy is +c and then −c.
#[test]
fn equal_values_far_from_zero() {
    for dims in SHAPES {
        for (ratio, c) in [(3.99, 0.1), (3.99, 1.0 / 3.0), (60.0, 0.1), (0.3, 0.7)] {
            let base = 1.734_567_9f32;
            let far = |n: usize| f64::from(base) * (1.0 + (n as f64).sqrt() / ratio);
            let x = |i: usize, n: usize| match i {
                1 => far(n),
                i if i < n / 2 => f64::from(base),
                _ => above(base),
            };
            let dy = |i: usize, n: usize| if i < n / 2 { c } else { -c };
            assert_right::<f32>(dims, x, dy, &format!("ratio {ratio}, c {c}"));
        }
    }
}

/// Two values in turns, the mean 3.9, 64 and 1000 σ.
#[test]
fn two_values_in_turns() {
    for dims in SHAPES {
        for ratio in [3.9, 64.0, 1000.0] {
            let x =
                |i: usize, _: usize| 1.774 + if i.is_multiple_of(2) { 1.774 / ratio } else { -1.774 / ratio };
            let dy = |i: usize, _: usize| if i.is_multiple_of(3) { 0.3 } else { -0.1 };
            assert_right::<f32>(dims, x, dy, &format!("ratio {ratio}"));
        }
    }
}

/// A constant gradient: dγ and dx are what the sums have lost, and their limits are of the sizes of what was added.
#[test]
fn a_constant_gradient_beside_an_outlier() {
    for dims in SHAPES {
        for mean in [60.0, 3.0] {
            let mut rng = rng(5);
            let noise: Vec<f64> = (0..400_000).map(|_| normal(&mut rng)).collect();
            let x = |i: usize, _: usize| if i == 100 { mean + 500.0 } else { mean + noise[i] };
            assert_right::<f32>(dims, x, |_, _| 0.1, &format!("mean {mean}"));
            assert_right::<f64>(dims, x, |_, _| 0.1, &format!("mean {mean}"));
        }
    }
}

/// 2²⁴ values a feature in a single sample, as [`equal_values_far_from_zero`] has them. The sums are known: what is added is the same
/// number again and again.
#[test]
fn a_long_run_of_equal_values() {
    let (n, base, c) = (1usize << 24, 1.734_567_9f32, 0.1f32);
    let (low, high) = (f64::from(base), above(base));
    let far = (low * (1.0 + (n as f64).sqrt() / 3.99)) as f32;
    let value = |i: usize| {
        if i == 1 {
            far
        } else if i < n / 2 {
            base
        } else {
            high as f32
        }
    };
    let x: Vec<f32> = (0..2 * n).map(|i| value(i % n)).collect();
    let dy: Vec<f32> = (0..2 * n).map(|i| if i % n < n / 2 { c } else { -c }).collect();
    let shape = Shape::new(1, 2, n).unwrap();
    let (mut y, mut saved, mut workspace) = (vec![0.0; x.len()], Saved::default(), Workspace::default());
    let step = Forward::new(shape, &x, &mut y[..]);
    functions::train(&Scalar, step, &mut saved, &mut workspace).unwrap();
    let (mut dweight, mut dbias) = ([0.0; 2], [0.0; 2]);
    let step = Backward { dweight: Some(&mut dweight), dbias: Some(&mut dbias), ..Backward::new(&x, &dy) };
    functions::backward(&Scalar, step, &saved, &mut workspace).unwrap();

    // Around `low` there is the outlier, and half of the values have one distance.
    let (half, step, out) = (n as f64 / 2.0, high - low, f64::from(far) - low);
    let offset = (half * step + out) / n as f64;
    let var = (half * step * step + out * out) / n as f64 - offset * offset;
    let want = f64::from(c) * (out - half * step) / (var + 1e-5).sqrt();
    let unit = 2f64.powi(-24);
    let near = |got: f32, want: f64, scale: f64| (f64::from(got) - want).abs() <= 4.01 * unit * scale;
    let (mean, scale) = (low + offset, f64::from(c) * (n as f64).sqrt());
    for f in 0..2 {
        let (got_mean, got_var) = (saved.mean()[f], saved.var()[f]);
        assert!(near(got_mean, mean, mean), "mean {got_mean}, want {mean}");
        assert!(near(got_var, var, var), "var {got_var}, want {var}");
        let error = (f64::from(dweight[f]) - want) / unit / scale;
        // One rounding of a value of this size, and next to nothing of the sums.
        assert!(error.abs() <= 0.6, "dweight {}, want {want}: {error} units", dweight[f]);
        assert!(near(dbias[f], 0.0, scale), "dbias {}", dbias[f]);
    }
}

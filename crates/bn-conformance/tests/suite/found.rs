//! Inputs on which an earlier version of the layer was wrong, each with the oracle's answer.

use bn_conformance::case::{Case, Results, Tensor};
use bn_conformance::data::{normal, rng};
use bn_conformance::measure::{Row, check};
use bn_conformance::run::run;
use bn_conformance::table::expected;
use bn_core::{BatchNorm, Config, Element, Mode, Real};
use bn_scalar::Scalar;
use half::{bf16, f16};
use ndarray::{Array2, ArrayView2, s};

fn narrow<T: Element>(v: f64) -> T {
    T::from_compute(T::Compute::from_f64(v))
}

/// One feature in training, with the default settings and γ = 1, β = 0.
fn case<T: Element>(x: impl IntoIterator<Item = f64>, dy: impl IntoIterator<Item = f64>) -> Case<T> {
    let x: Vec<T> = x.into_iter().map(narrow).collect();
    Case {
        name: "found".into(),
        dims: vec![x.len(), 1],
        mode: Mode::Train,
        config: Config::default(),
        num_batches_tracked: 0,
        dy: Some(dy.into_iter().take(x.len()).map(narrow).collect()),
        x,
        affine: [1.0, 0.0].map(|v| Some(vec![T::Compute::from_f64(v)])),
        running: Some([vec![T::Compute::from_f64(0.0)], vec![T::Compute::from_f64(1.0)]]),
        ..Case::default()
    }
}

fn affine<T: Element>(mut case: Case<T>, weight: f64, bias: f64) -> Case<T> {
    case.affine = [weight, bias].map(|v| Some(vec![T::Compute::from_f64(v)]));
    case
}

/// In evaluation, around a running mean of 0.
fn eval<T: Element>(case: Case<T>, running_var: f64) -> Case<T> {
    eval_around(case, 0.0, running_var)
}

fn eval_around<T: Element>(mut case: Case<T>, mean: f64, var: f64) -> Case<T> {
    case.mode = Mode::Eval;
    case.running = Some([vec![T::Compute::from_f64(mean)], vec![T::Compute::from_f64(var)]]);
    case
}

fn with_eps<T: Element>(mut case: Case<T>, eps: f64) -> Case<T> {
    case.config.eps = eps;
    case
}

/// What the layer gives, after every tensor was held to its limit.
fn assert_right<T: Element>(mut case: Case<T>) -> (Results, Vec<Row>) {
    case.expect = expected(&case);
    let got = run(&case, &Scalar).unwrap();
    let rows = check(&case, &got);
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.ok()).collect();
    assert!(wrong.is_empty(), "{}: {wrong:#?}", T::NAME);
    (got, rows)
}

fn randn(seed: u64, times: f64) -> impl Iterator<Item = f64> {
    let mut rng = rng(seed);
    std::iter::repeat_with(move || times * normal(&mut rng))
}

/// c = −G·invstd·h rounds to exactly 0, and the term that it takes along does not.
#[test]
fn a_coefficient_that_rounds_to_zero_is_out_of_range() {
    assert_right(case::<f32>(randn(1, 1e23).take(8), randn(2, 1.0)));
    assert_right(case::<bf16>(randn(1, 1e23).take(8), randn(2, 1.0)));
    assert_right(case::<f64>(randn(1, 1e170).take(8), randn(2, 1.0)));
}

/// A feature that is hard for its weight alone: x − k is rounded, and taking δ from it would round it again.
#[test]
fn a_difference_is_rounded_once_where_f64_is_scaled() {
    let x = [-5e-1, -6.638_338_954_829_063e-1, -6.325_838_954_838_15e-1, -2.499_999_776_487_129_8e-1];
    let mut case =
        affine(case::<f64>(x, randn(2, 1.0)), -1.554_064_410_565_505_7e-302, 7.228_428_206_149_288e-308);
    case.config.eps = 7.510_280_474_196_823e-4;
    assert_right(case);
}

/// A gain that rounds to 0 in the forward.
#[test]
fn a_gain_that_rounds_to_zero_is_out_of_range() {
    assert_right(affine(case::<f32>(randn(1, 1e20).take(8), randn(2, 1.0)), 1e-30, 0.0));
    assert_right(affine(case::<bf16>(randn(1, 1e20).take(8), randn(2, 1.0)), 1e-30, 0.0));
    assert_right(affine(case::<f64>(randn(1, 1e170).take(8), randn(2, 1.0)), 1e-200, 0.0));
}

#[test]
fn a_constant_feature_of_huge_values_is_the_bias() {
    let (got, _) = assert_right(affine(case::<f64>([1e308; 17], randn(2, 1.0)), 1.5, 0.25));
    assert_eq!(got.get(Tensor::Y).unwrap(), [0.25; 17]);
}

#[test]
fn a_dozen_roundings_of_dx_stay_within_the_limit() {
    let x = [5.7464414, 2.3709779, -1.0714059, -1.0713079];
    let dy = [1.0168866, 1.0162951, -1.0164567, -1.0160222];
    assert_right(affine(case::<f32>(x, dy), 1.4477522, 0.0));
}

#[test]
fn an_output_that_cancels_stays_within_the_limit() {
    let x = [-1305.2205, -0.017849695, -0.22393282, 0.070859745, -0.21074302];
    assert_right(affine(case::<f32>(x, randn(2, 1.0)), 1.042959, 0.73067003));
}

/// All d² round upwards, each by nearly half a unit in the last place. Their mean is another number, which rounds by itself:
/// with rounded squares every other variance is off by more than one rounding.
#[test]
fn squares_of_f64_keep_what_their_rounding_leaves_off() {
    let up = |d: f64| -d.mul_add(d, -(d * d)) / (d * d);
    let mut all: Vec<f64> = randn(5, 0.01).take(4000).map(|z| 1.0 + z.abs()).collect();
    all.sort_by(|a, b| up(*b).total_cmp(&up(*a)));
    for of in all[..200].chunks_exact(10) {
        let x: Vec<f64> = of.iter().flat_map(|&d| [d, -d]).collect();
        let (_, rows) = assert_right(case::<f64>(x, randn(2, 1.0)));
        let var = rows.iter().find(|row| row.tensor == Tensor::Var).unwrap();
        assert!(var.error < 1.001, "var is rounded once: {}", var.error);
    }
}

/// The product's remainder is not a number where its factor is above 2⁹⁹⁶: of two values whose products cancel, the
/// remainders add up.
#[test]
fn products_of_huge_factors_keep_their_remainder() {
    let dy = 1e-300 / 3.0;
    let left_off = |x: f64| x.mul_add(dy, -(x * dy)) / (x * dy).abs();
    let worst = |side: f64| {
        let candidates = randn(5, 0.01).take(1000).map(|z| side * 1e305 * (1.0 + z.abs()));
        candidates.reduce(|worst, x| if left_off(x) > left_off(worst) { x } else { worst }).unwrap()
    };
    let x = [worst(1.0), worst(-1.0)].repeat(2000);
    assert_right(eval(case::<f64>(x, [dy; 4000]), 1.0));
}

#[test]
fn a_nan_leaves_its_neighbours_finite() {
    let mut x: Vec<f64> = randn(1, 1e-7).take(8).collect();
    x[3] = f64::NAN;
    let case = eval(affine(case::<f32>(x, randn(2, 1.0)), 1e38, 0.5), 1e-10);
    let (got, _) = assert_right(case);
    assert_eq!(got.get(Tensor::Y).unwrap().iter().filter(|v| v.is_finite()).count(), 7);
}

#[test]
fn a_constant_gradient_has_no_input_gradient() {
    assert_right(case::<f32>(randn(1, 1.0).take(784), [3.0; 784]));
    assert_right(case::<f64>(randn(1, 1.0).take(784), [3.0; 784]));
    assert_right(case::<bf16>(randn(1, 1.0).take(784), [3.0; 784]));
}

#[test]
fn a_gradient_far_from_zero_keeps_its_digits() {
    assert_right(case::<f32>(randn(1, 1.0).take(4096), randn(2, 1.0).map(|v| v + 1e4)));
    assert_right(case::<f64>(randn(1, 1.0).take(4096), randn(2, 1.0).map(|v| v + 1e4)));
}

/// Decayed weights, and data whose variance is below the least number.
#[test]
fn numbers_near_the_ends_of_the_range_lose_nothing() {
    for weight in [1e-33, 1e-35, 1e-41] {
        assert_right(affine(case::<f32>(randn(1, 1.0).take(100), randn(2, 1.0)), weight, 0.0));
    }
    assert_right(case::<f32>(randn(1, 1e-36).take(100), randn(2, 1.0)));
    assert_right(case::<f32>(randn(1, 1.0).take(100), randn(2, 1e-31)));
    assert_right(case::<f32>(randn(1, 1.0).take(100), randn(2, 1e-41)));
    assert_right(case::<f32>(randn(1, 1e4).take(100), [1e-6; 100]));
    assert_right(affine(case::<f64>(randn(1, 1.0).take(100), randn(2, 1.0)), 1e-290, 0.0));
    assert_right(case::<f64>(randn(1, 1e-140).take(100), randn(2, 1.0)));
}

/// A hard feature of single values is taken as one long strip where there are many, with gaps or without. `data` are x and dy of
/// two features, of which the first is taken. Whether no gradient of x is 0 is returned.
fn is_the_same_with_gaps<T: Element>(data: [Array2<T>; 2], weight: f64) -> bool {
    let mut bn = BatchNorm::<T, _>::with_backend(1, Config::default(), Scalar).unwrap();
    bn.weight[0] = T::Compute::from_f64(weight);
    let step = |x: ArrayView2<'_, T>, dy: ArrayView2<'_, T>| {
        let (y, saved) = bn.forward_uncommitted(&x).unwrap();
        (y, bn.backward(&saved, &x, &dy).unwrap())
    };
    let [x, dy] = data.each_ref().map(|pairs| pairs.slice(s![.., ..1]));
    let (own_x, own_dy) = (x.to_owned(), dy.to_owned());
    let want = step(own_x.view(), own_dy.view());
    for (x, dy) in [(x, dy), (own_x.view(), dy), (x, own_dy.view())] {
        assert_eq!(step(x, dy), want);
    }
    want.1.dx.iter().all(|&v| v != T::default())
}

#[test]
fn a_hard_feature_with_gaps_is_the_one_without() {
    for n in [8, 31, 32, 200] {
        let pairs = |seed| {
            Array2::from_shape_simple_fn((n, 2), {
                let mut values = randn(seed, 1.0);
                move || values.next().unwrap()
            })
        };
        assert!(is_the_same_with_gaps([pairs(1), pairs(2)], 1e-300));
        let narrow = [1, 2].map(|seed| pairs(seed).mapv(|v| v as f32));
        assert!(is_the_same_with_gaps(narrow, 1e-41), "a subnormal gradient is not lost");
    }
    // Sums that cancel tell their order.
    let x = ndarray::array![[1e40, 0.0], [1.0, 0.0], [-1e40, 0.0]];
    is_the_same_with_gaps([x, ndarray::array![[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]]], 1e-310);
    let x = ndarray::array![[1e40, 0.0], [1.0, 0.0], [-1e40, 0.0]];
    is_the_same_with_gaps([x, Array2::ones((3, 2))], 1e-310);
}

/// Of an infinite dy dγ has the sign of its x̂, and so have all dx on that side of the mean; on the other they are NaN.
#[test]
fn one_infinity_decides_the_class_of_every_gradient() {
    fn all<T: Element>() {
        for (at, weight) in [(3, 1.0), (4, -2.0), (5, 0.0), (6, 1e-41)] {
            let dy = randn(2, 1.0).enumerate().map(|(i, v)| if i == at { f64::INFINITY } else { v });
            let (got, _) = assert_right(affine(case::<T>(randn(1, 1.0).take(8), dy), weight, 0.5));
            assert!(got.get(Tensor::Dweight).unwrap()[0].is_infinite(), "{} {weight}", T::NAME);
        }
    }
    all::<f32>();
    all::<f64>();
    all::<bf16>();
}

/// invstd·h loses its digits below f64's range, and a factor γ lifts c back into it.
#[test]
fn a_coefficient_whose_factors_underflow_is_out_of_range() {
    let dy = [1e-178, 2e-178, 4e-178];
    assert_right(affine(case::<f64>([-1e140, 2e140, 5e140], dy), 1e250, 0.0));
    let dy = [1.0, 1.000_000_000_1, 1.000_000_000_3].map(|v| v * 1e-252);
    assert_right(affine(case::<f64>([-1e60, 2e60, 5e60], dy), 1e200, 0.0));
}

/// A mean of dy that is rounded among the subnormals of f64 looks exact.
#[test]
fn a_mean_gradient_that_underflows_is_out_of_range() {
    let x = [
        -1.227_662_866_835_914_4e60,
        -1.143_622_310_269_903_3e60,
        1.603_841_495_434_656_1e60,
        1.375_331_523_172_285_5e60,
        1.024_782_255_829_807_5e60,
    ];
    let dy = [-2.87e-321, -7.61e-321, 2.07e-321, -8.74e-321, -1.306e-320];
    assert_right(affine(case::<f64>(x, dy), 1e250, 0.0));
}

/// x far below √eps keeps its digits: mean and variance are its own, and γ may lift it.
#[test]
fn an_eps_far_above_x_costs_no_digits() {
    let of = |x: &[f64], eps, weight, bias| {
        assert_right(with_eps(affine(case::<f64>(x.iter().copied(), randn(2, 1.0)), weight, bias), eps));
    };
    of(&[65.153_715_500_123_43, 65.153_715_500_123_44], 1e300, 0.97, 0.0);
    of(&[0.0, 6e-10, 1e-10], 1e300, 1e-200, 0.0);
    of(&[1e-300; 3], 1e30, 1.0, 0.5);
    of(&[0.0, 1e-310, 0.0], 1e10, 1.0, 0.0);
    of(&[1e-304, 1e-304_f64.next_up(), 1e-304], 1e-5, 1e300, 0.0);
    of(&[1e-315, 3e-315, 4e-315], 1e-5, 1e300, 0.0);
    of(&[1e-300, 3e-300, 4e-300], 1e300, 1e300, 1e-300);
    of(&[1e300, 3e300, -4e300], 5e-324, 1e-300, 1.0);
}

/// γ·invstd·2ᵘ may be far above β where x̂ is 0 everywhere.
#[test]
fn beta_is_kept_where_nothing_is_spread() {
    let y = |case: Case<f64>| assert_right(case).0.get(Tensor::Y).unwrap().to_vec();
    let constant = |v: f64, weight, bias| affine(case::<f64>([v; 3], randn(2, 1.0)), weight, bias);
    assert_eq!(y(constant(1e300, 1e300, 1.0)), [1.0; 3]);
    assert_eq!(y(constant(1e308, 1.0, 1e-308)), [1e-308; 3]);
    assert_eq!(y(eval_around(constant(1e300, 1e300, 1.0), 1e300, 1.0)), [1.0; 3]);
    assert_eq!(y(constant(1e300, 1.0, 5e-324)), [5e-324; 3]);
}

#[test]
fn an_infinity_is_not_lost_in_a_tiny_gain() {
    let x = [1e-300, f64::INFINITY];
    assert_right(eval(affine(case::<f64>(x, randn(2, 1.0)), 1e-300, 1.0), 1.0));
}

#[test]
fn an_infinite_weight_leaves_the_sign_of_x() {
    fn all<T: Element>() {
        for weight in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let of = || affine(case::<T>([1.0, 2.0, 4.0, -3.0], randn(2, 1.0)), weight, 0.5);
            assert_right(eval(of(), 1.0));
            assert_right(eval_around(of(), 2.0, 1.0));
            assert_right(of());
        }
    }
    all::<f32>();
    all::<f64>();
    all::<bf16>();
}

#[test]
fn an_infinite_running_mean_leaves_the_sign_of_dweight() {
    fn all<T: Element>() {
        let (got, _) = assert_right(eval_around(case::<T>([1.0, 2.0], [1.0, 2.0]), f64::INFINITY, 1.0));
        assert_eq!(got.get(Tensor::Dweight).unwrap(), [f64::NEG_INFINITY]);
        assert_right(eval_around(case::<T>([1.0, 2.0], [1.0, -2.0]), f64::NEG_INFINITY, 1.0));
    }
    all::<f32>();
    all::<f64>();
    all::<f16>();
    all::<bf16>();
}

/// Sums of f64 that overflow beside what is not finite: −∞ and not NaN, and finite where it does not enter.
#[test]
fn an_overflow_is_not_taken_for_an_infinity() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let dbias = |case: Case<f64>| assert_right(case).0.get(Tensor::Dbias).unwrap()[0];
    let dweight = |case: Case<f64>| assert_right(case).0.get(Tensor::Dweight).unwrap()[0];
    let (got, _) = assert_right(case::<f64>([1e308, 1e308, -inf], [1.0, 2.0, 1.0]));
    assert_eq!(got.get(Tensor::Mean).unwrap(), [-inf]);
    assert_eq!(got.get(Tensor::RunningMean).unwrap(), [-inf]);
    for dy in [[1e308, 1e308, -inf], [1e308, inf, -inf], [1e308, 1e308, -1e308]] {
        for x in [[1.0, 2.0, 4.0], [1.0, nan, -1.0], [inf, 2.0, -1.0]] {
            assert_right(case::<f64>(x, dy));
            assert_right(eval(case::<f64>(x, dy), 1.0));
        }
    }
    assert_eq!(dbias(case::<f64>([1.0, nan, -1.0], [1e308, 1e308, -1e308])), 1e308);
    assert_eq!(dweight(eval(case::<f64>([inf, 1e300, 1.0], [1.0, -1e300, 1.0]), 1.0)), inf);
    assert_right(eval(case::<f64>([inf, -inf, 1.0], [1.0, 1e308, 1e308]), 1.0));
    assert_right(eval_around(case::<f64>([1e308, -1e308, nan], [1.0, 1e308, inf]), 1e308, 1.0));
    assert_right(eval_around(case::<f64>([1e308, -1e308, 1.0], [1.0, 1e308, inf]), inf, 1.0));
}

/// A weight that is not finite leaves nothing of β, whatever x is.
#[test]
fn a_constant_feature_of_no_finite_weight_is_nan() {
    for weight in [f64::NAN, f64::INFINITY] {
        let (got, _) = assert_right(affine(case::<f32>([1.0; 3], randn(2, 1.0)), weight, 0.5));
        assert!(got.get(Tensor::Y).unwrap().iter().all(|v| v.is_nan()));
        assert_right(affine(case::<f64>([1.0; 3], randn(2, 1.0)), weight, 0.5));
    }
}

/// The terms of dx are so large that what the reference rounds of them is far above f64's range.
#[test]
fn a_zero_between_huge_terms_is_right() {
    let x = [0.906_684_004_673_229_1, 1.133_505_063_704_695, 1.368_177_592_437_218_1];
    let dy = [1.857_117_271_381_833e207; 3];
    assert_right(with_eps(affine(case::<f64>(x, dy), 3.569_371_806_320_414e307, 0.0), 1e-3));
}

/// An infinity whose scale is so large that it may have either sign.
#[test]
fn an_infinity_between_huge_terms_is_right() {
    let (x, dy) = (9.439_571_109_913_865e-32, [1.082_808_178_661_974_1e38; 5]);
    let case = affine(case::<f32>([-x, -x, -x, x, -x], dy), 54.971_786_499_023_44, 0.0);
    let (got, _) = assert_right(with_eps(case, 5e-324));
    assert!(got.get(Tensor::Dx).unwrap().iter().any(|v| v.is_infinite()));
}

//! The oracle's double-double is the library's own: here it is held to big floats, which are not.

use bn_conformance::data::{Dy, X, gradient, input, rng};
use bn_conformance::exact::Exact;
use bn_conformance::number::{Big, Number};
use bn_conformance::oracle::{Feature, step};
use bn_conformance::oracle_second::{Cotangent, second};
use bn_core::Activation;
use bn_core::num::{Dd, Wide};
use proptest::prelude::*;

fn feature(x: X, dy: Dy, from_batch: bool) -> Feature {
    let mut rng = rng(17);
    let x: Vec<f64> = input(x, 0, 301, &mut rng);
    let dy = gradient(dy, &x, &mut rng);
    Feature {
        x,
        dy,
        affine: (1.3, -0.7),
        plus: Vec::new(),
        activation: Activation::Identity,
        below: Vec::new(),
        running: Some((0.4, 2.5)),
        from_batch,
        renorm: None,
        eps: 1e-5,
        momentum: (0.1, 1.0),
        biased: false,
    }
}

/// Equal but for the rounding to f64, in units of the largest value. What cancels to less than 10⁻⁴ of its terms
/// is held to that: 106 bits leave 10⁻²⁰ of the mean at mean/σ = 10¹².
fn assert_close(name: &str, a: &[Exact], b: &[Exact], terms: f64) {
    let scale = b.iter().fold(1e-4 * terms, |m, v| m.max(v.near.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let (a, b) = (a.near, b.near);
        let (apart, allowed) = ((a - b).abs(), f64::EPSILON * scale);
        assert!(
            apart <= allowed,
            "{name}[{i}]: {a:e} in double-double, {b:e} in 160 bits, {allowed:e} allowed"
        );
    }
}

#[test]
fn double_double_answers_as_big_floats_do() {
    for x in [X::Normal, X::Shifted, X::Ramp, X::OutlierFirst, X::LargestMean, X::Pixels, X::TwoNeighbours] {
        for (dy, from_batch, renorm) in [
            (Dy::Normal, true, None),
            (Dy::Tenths, true, None),
            (Dy::Input, true, None),
            (Dy::Normal, false, None),
            (Dy::Input, true, Some([2.0, 1e9])),
        ] {
            let feature = Feature { renorm, ..feature(x, dy, from_batch) };
            let (a, b) = (step::<Dd>(&feature), step::<Big>(&feature));
            let (largest, sum) =
                feature.dy.iter().fold((0.0f64, 0.0), |(m, s), v| (m.max(v.abs()), s + v.abs()));
            assert_close("y", &a.y, &b.y, 1.0);
            assert_close("dx", &a.dx, &b.dx, largest);
            assert_close("statistics", &[a.stats.0, a.stats.1], &[b.stats.0, b.stats.1], 1.0);
            let (a_running, b_running) = (a.running.unwrap(), b.running.unwrap());
            assert_close("running", &[a_running.0, a_running.1], &[b_running.0, b_running.1], 1.0);
            assert_close("dγ", &[a.dparams.0], &[b.dparams.0], sum);
            assert_close("dβ", &[a.dparams.1], &[b.dparams.1], sum);
        }
    }
}

#[test]
fn double_double_answers_the_double_backward_as_big_floats_do() {
    for x in [X::Normal, X::Shifted, X::Ramp, X::OutlierFirst, X::LargestMean, X::Pixels, X::TwoNeighbours] {
        for (dy, from_batch) in
            [(Dy::Normal, true), (Dy::Tenths, true), (Dy::Input, true), (Dy::Normal, false)]
        {
            let feature = feature(x, dy, from_batch);
            let v = gradient(Dy::Normal, &feature.x, &mut rng(19));
            let cotangent = Cotangent { v: Some(v), params: (Some(0.4), Some(-1.1)) };
            let (a, b) = (second::<Dd>(&feature, &cotangent), second::<Big>(&feature, &cotangent));
            let largest = feature.dy.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            let steep = 1.0 / if from_batch { 1e-5f64 } else { 2.5 };
            assert_close("dd.dy", &a.dy, &b.dy, 1.0);
            assert_close("dd.x", &a.x, &b.x, largest * steep);
            assert_close("dd.weight", &[a.weight], &[b.weight], 301.0 * largest * steep);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Every operation of double-double errs by less than 2⁻¹⁰⁰ of its result.
    #[test]
    fn operations_keep_a_hundred_bits(
        (a, b) in (-1e60f64..1e60, -1e60f64..1e60),
        (a_lo, b_lo) in (-1e-16f64..1e-16, -1e-16f64..1e-16),
        n in 1u32..2_000_000,
    ) {
        prop_assume!(a.abs() > 1e-60 && b.abs() > 1e-60);
        let (wide_a, wide_b) = (Dd::from_parts(a, a * a_lo), Dd::from_parts(b, b * b_lo));
        let big = |v: Dd| { let (hi, lo) = v.parts(); <Big as Number>::new(hi) + <Big as Number>::new(lo) };
        let (big_a, big_b, big_n) = (big(wide_a), big(wide_b), <Big as Number>::new(f64::from(n)));
        let magnitude = |v: &Big| v.get().abs();
        let near = |got: Dd, want: &Big, scale: f64| (big(got) - want.clone()).get().abs() <= scale * 2f64.powi(-100);
        let sum = big_a.clone() + big_b.clone();
        prop_assert!(near(wide_a + wide_b, &sum, magnitude(&sum)));
        let product = big_a.clone() * big_b.clone();
        prop_assert!(near(wide_a * wide_b, &product, magnitude(&product)));
        let quotient = big_a.clone() / big_b.clone();
        prop_assert!(near(wide_a / wide_b, &quotient, magnitude(&quotient)));
        let share = big_a.clone() / big_n;
        prop_assert!(near(wide_a.over(f64::from(n)), &share, magnitude(&share)));
        let positive = if a > 0.0 { wide_a } else { -wide_a };
        let root = big(positive).root();
        prop_assert!(near(Wide::sqrt(positive), &root, magnitude(&root)));
        let inverse = <Big as Number>::new(1.0) / root;
        prop_assert!(near(positive.recip_sqrt(), &inverse, magnitude(&inverse)));
    }
}

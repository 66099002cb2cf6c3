//! The measure against itself: what is k units off has the error k, and every term of a scale counts.

use super::*;
use crate::case::Cotangents;
use crate::data::{Dy, X, normal, rng};
use crate::table::{Entry, expected, inputs};
use bn_core::{Layout, Mode};
use half::f16;

/// One feature with data whose every term is in the scales: β of γx̂'s size, dy far from zero.
fn case<T: Element>(mode: Mode, (weight, bias): (f64, f64), dy_mean: f64, x_mean: f64) -> Case<T> {
    let entry = Entry { layout: Layout::ChannelsFirst, dims: &[40, 1] };
    let mut case = inputs::<T>(entry, (X::Normal, Dy::Normal), 0);
    let mut rng = rng(3);
    let narrow = |v: f64| T::from_compute(T::Compute::from_f64(v));
    case.mode = mode;
    case.x = (0..40).map(|_| narrow(normal(&mut rng) + x_mean)).collect();
    // In step with x, so that h counts.
    let dy =
        case.x.iter().map(|x| narrow(x.to_compute().to_f64() - x_mean + 0.5 * normal(&mut rng) + dy_mean));
    case.dy = Some(dy.collect());
    case.affine = [weight, bias].map(|v| Some(vec![T::Compute::from_f64(v)]));
    case.running = Some([vec![T::Compute::from_f64(7.0)], vec![T::Compute::from_f64(2.0)]]);
    // Neither centred nor without x̂.
    let v = case.x.iter().map(|x| narrow(0.5 * (x.to_compute().to_f64() - x_mean) + normal(&mut rng) + 3.0));
    let [w, z] = [0.7, -1.3].map(|v| Some(vec![T::Compute::from_f64(v)]));
    case.cotangents = Some(Cotangents { dx: Some(v.collect()), dweight: w, dbias: z });
    case.expect = expected(&case);
    case
}

/// The formulae of cases/README.md as they stand there, in f64.
fn scale_of<T: Element>(case: &Case<T>, tensor: Tensor) -> f64 {
    let wide = |v: &[T]| v.iter().map(|v| v.to_compute().to_f64()).collect::<Vec<f64>>();
    let (x, dy) = (wide(&case.x), wide(case.dy.as_ref().unwrap()));
    let n = x.len() as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (mu, train) = (mean(&x), case.mode == Mode::Train);
    let var = mean(&x.iter().map(|v| (v - mu).powi(2)).collect::<Vec<_>>());
    let old = case.running.as_ref().map(|[m, v]| [m[0].to_f64(), v[0].to_f64()]).unwrap();
    let (centre, spread) = if train { (mu, var) } else { (old[0], old[1]) };
    let invstd = 1.0 / (spread + case.config.eps).sqrt();
    let xhat: Vec<f64> = x.iter().map(|v| (v - centre) * invstd).collect();
    let both: Vec<f64> = dy.iter().zip(&xhat).map(|(a, b)| a * b).collect();
    let (m, h) = (mean(&dy), mean(&both));
    let max = |v: &[f64]| v.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (weight, bias) = case.params(0);
    let [r, d] = case.renormed().map_or([1.0, 0.0], |[r_max, d_max]| {
        let root = (old[1] + case.config.eps).sqrt();
        let r = (1.0 / invstd / root).clamp(1.0 / r_max, r_max);
        [r, ((mu - old[0]) / root).clamp(-d_max, d_max)]
    });
    let own = case.expect.get(tensor).unwrap()[0].abs();
    let small = 2f64.powi(-20);
    let momentum = case.config.momentum.unwrap();
    match tensor {
        Tensor::Y => weight.abs() * (r * max(&xhat) + d.abs()) + bias.abs(),
        Tensor::Mean => own.max(var.sqrt()),
        Tensor::Var | Tensor::RunningVar => own,
        Tensor::RunningMean if train => {
            ((1.0 - momentum) * old[0]).abs() + momentum * mu.abs().max(var.sqrt())
        }
        Tensor::RunningMean => own,
        Tensor::Dx if train => {
            let far: Vec<f64> = dy.iter().map(|v| v - m).collect();
            let all = small * max(&dy) * max(&xhat).max(1.0);
            weight.abs() * r * invstd * (max(&far) + max(&xhat) * h.abs() + all)
        }
        Tensor::Dx => weight.abs() * invstd * max(&dy),
        Tensor::Dbias => own.max(norm(&dy)),
        Tensor::Dweight => {
            let sizes = dy.iter().map(|v| v.abs()).sum::<f64>();
            let terms = r * norm(&both) + d.abs() * norm(&dy);
            own.max(terms) + if train { small * (r + d.abs()) * sizes } else { 0.0 }
        }
        Tensor::DdDy | Tensor::DdX | Tensor::DdWeight => {
            let cotangents = case.cotangents.as_ref().unwrap();
            let param = |p: &Option<Vec<T::Compute>>| p.as_ref().unwrap()[0].to_f64().abs();
            let (v, w, z) =
                (wide(cotangents.dx.as_ref().unwrap()), param(&cotangents.dweight), param(&cotangents.dbias));
            let (s, gain) = (invstd, weight.abs() * invstd);
            let centred = |v: &[f64]| v.iter().map(|x| x - mean(v)).collect::<Vec<_>>();
            let times = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
            let (u, g, x1) = (centred(&v), centred(&dy), max(&xhat).max(1.0));
            let (p, q) = (mean(&times(&v, &xhat)), mean(&times(&g, &u)));
            let hp = (h * p).abs();
            let all = small * max(&v) * max(&dy) * s;
            match (tensor, train) {
                (Tensor::DdDy, true) => {
                    let through = max(&u) + max(&xhat) * p.abs() + small * max(&v) * x1;
                    gain * through + w * max(&xhat) + z
                }
                (Tensor::DdDy, false) => gain * max(&v) + w * max(&xhat) + z,
                (Tensor::DdX, true) => {
                    let through = h.abs() * max(&u) + p.abs() * max(&g) + max(&xhat) * (q.abs() + 3.0 * hp);
                    let beside = w * s * (max(&g) + max(&xhat) * h.abs());
                    let rest = gain * all * x1 * x1 + small * w * s * max(&dy) * x1;
                    gain * s * through + beside + rest
                }
                (Tensor::DdX, false) => w * s * max(&dy),
                (_, true) => own.max(s * norm(&times(&u, &g)) + n * s * hp) + n * all,
                (_, false) => own.max(s * norm(&times(&v, &dy))),
            }
        }
        Tensor::Dresidual => unreachable!("not among the steps that are measured here"),
    }
}

/// What is expected, one value k units off, upwards or downwards.
fn off<T: Element>(case: &Case<T>, tensor: Tensor, index: usize, units: f64) -> f64 {
    let mut got = case.expect.clone();
    let mut values = got.get(tensor).unwrap().to_vec();
    values[index] += units * Format::of::<T>(tensor).roundoff * scale_of(case, tensor);
    got.keep(&Tensor::ALL.into_iter().filter(|t| *t != tensor).collect::<Vec<_>>());
    got.insert(tensor, values);
    check(case, &got).iter().find(|row| row.tensor == tensor).unwrap().error
}

fn k_units_are_an_error_of_k<T: Element>(tolerance: f64) {
    let far = if T::NAME == "f16" { 2e4 } else { 1e7 };
    let data = [
        ((1.5, 2.0), far, 0.0, 1e-5),
        ((-0.3, -1e-3), 0.0, 3.0, 1e-5),
        ((2.0, 0.0), far, -0.2, 1e-5),
        ((0.5, 1.0), 0.1, 0.01, 1e-3),
        // x̂ below 1.
        ((0.5, 1.0), far, 0.01, 100.0),
    ];
    let renorm = Some([1.25, 3.0]);
    for (mode, renorm) in [(Mode::Train, None), (Mode::Train, renorm), (Mode::Eval, None)] {
        for (affine, dy_mean, x_mean, eps) in data {
            let mut case = case::<T>(mode, affine, dy_mean, x_mean);
            (case.config.eps, case.renorm) = (eps, renorm);
            // A renormalized step has no double backward.
            case.cotangents = case.cotangents.filter(|_| renorm.is_none());
            case.expect = expected(&case);
            for (tensor, values) in case.expect.iter() {
                for (index, units) in [(0, 100.0), (values.len() - 1, -30.0), (values.len() / 2, 4000.0)] {
                    let error = off(&case, tensor, index, units);
                    let apart = (error / f64::abs(units) - 1.0).abs();
                    assert!(
                        apart < tolerance,
                        "{} {mode:?} {tensor}: {units} units off, error {error}",
                        T::NAME
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_k_units_off_has_the_error_k() {
    k_units_are_an_error_of_k::<f32>(1e-6);
    k_units_are_an_error_of_k::<f16>(1e-6);
    // The perturbed value is rounded itself, by half a unit of its own size.
    k_units_are_an_error_of_k::<f64>(0.1);
}

/// Data far from 1 by a power of two has the errors of the data themselves.
#[test]
fn errors_do_not_know_of_the_unit() {
    let errors = |power: i32| {
        let mut case = case::<f64>(Mode::Train, (1.5, 2.0), 3.0, 0.4);
        let scale = |v: f64| v * 2f64.powi(power / 2) * 2f64.powi(power - power / 2);
        case.x.iter_mut().for_each(|v| *v = scale(*v));
        case.config.eps = 1e-320;
        case.running = None;
        case.expect = expected(&case);
        let mut got = Results::default();
        let of = |tensor: Tensor| case.expect.get(tensor).unwrap();
        got.insert(Tensor::Y, of(Tensor::Y).iter().map(|v| v + 1e-13).collect());
        got.insert(Tensor::Dx, of(Tensor::Dx).iter().map(|v| v * (1.0 + 1e-13)).collect());
        got.insert(Tensor::Mean, of(Tensor::Mean).iter().map(|v| v * (1.0 + 1e-13)).collect());
        got.insert(Tensor::Dweight, of(Tensor::Dweight).iter().map(|v| v + 1e-13).collect());
        let rows = check(&case, &got);
        [Tensor::Y, Tensor::Dx, Tensor::Mean, Tensor::Dweight]
            .map(|t| rows.iter().find(|row| row.tensor == t).unwrap().error)
    };
    let want = errors(0);
    assert!(want.iter().all(|e| *e > 10.0), "{want:?}");
    // At 2⁻⁵⁰⁰ the variance is far below f64's least number's root, at 2¹⁰²⁰ its square is beyond the largest.
    for power in [-500, 600, 1020] {
        for (got, want) in errors(power).into_iter().zip(want) {
            assert!((got / want - 1.0).abs() < 1e-3, "2^{power}: {got}, not {want}");
        }
    }
}

#[test]
fn a_small_feature_beside_a_large_one_is_held_to_itself() {
    let entry = Entry { layout: Layout::ChannelsFirst, dims: &[8, 2] };
    let mut case = inputs::<f32>(entry, (X::Normal, Dy::Normal), 0);
    case.affine = [Some(vec![1e6, 1e-6]), Some(vec![0.0, 0.0])];
    case.expect = expected(&case);
    let mut y = case.expect.get(Tensor::Y).unwrap().to_vec();
    y[3] *= 1.01;
    let mut got = Results::default();
    got.insert(Tensor::Y, y);
    let rows = check(&case, &got);
    let worst = rows[0].worst.unwrap();
    assert_eq!((rows[0].tensor, worst.index, worst.feature), (Tensor::Y, 3, 1));
    assert!(rows[0].error > 1e4, "{}", rows[0].error);
}

fn unit(scale: f64, format: Format) -> Unit {
    Unit::new(ext::Ext::new(scale), format)
}

#[test]
fn infinity_is_right_where_the_value_may_round_to_it() {
    let format = Format::of::<f32>(Tensor::Y);
    let max = f64::from(f32::MAX);
    let (half_ulp, u) = (2f64.powi(103), 2f64.powi(-24));
    let unit_of_max = unit(max, format);
    let error = |got, want| unit_of_max.error(got, want, None);
    let inf = f64::INFINITY;
    // From the middle above the largest number on, ∞ is no error; below it the error is the way there.
    assert_eq!(error(inf, max + half_ulp), 0.0);
    assert!((error(inf, max + half_ulp - 3.0 * u * max) - 3.0).abs() < 1e-6);
    assert_eq!(error(inf, 1e39), 0.0);
    assert!(error(inf, -1e39) > 1e6 && error(inf, -1.0) > 1e6);
    // On either side: a scale may be far above the value.
    let far = unit(max / u, format);
    assert!(far.error(inf, -1.0, None) < 1.01 && far.error(-inf, 1.0, None) < 1.01);
    assert_eq!(error(-inf, -1e39), 0.0);
    assert!(error(inf, 1e38) > 1e6);
    // The largest number is right just above itself, and wrong far above.
    assert_eq!(error(max, max + half_ulp), 0.0);
    assert!((error(max, max + half_ulp + 3.0 * u * max) - 3.0).abs() < 1e-6);
    assert!(error(max, 1e39) > 1e6 && error(1.0, inf) == inf && error(1.0, max) > 1e6);
    assert_eq!((error(inf, inf), error(-inf, inf)), (0.0, inf));
}

#[test]
fn f64_references_reach_beyond_f64() {
    let unit = unit(f64::MAX, Format::of::<f64>(Tensor::Y));
    let inf = f64::INFINITY;
    let above = |units: f64| 2f64.powi(1024 - 2000) * (1.0 + units * 2f64.powi(-53));
    // ∞ with a rest is a finite number: 2¹⁰²⁴ and a little more.
    assert_eq!(unit.error(inf, inf, Some(above(2.0))), 0.0);
    assert!(unit.error(f64::MAX, inf, Some(above(2.0))) < 4.0);
    assert!((unit.error(f64::MAX, inf, Some(above(64.0))) - 64.0).abs() < 1.5);
    assert!(unit.error(-inf, inf, Some(above(2.0))) > 1e15);
    assert!((unit.error(1.0, inf, Some(above(0.0))) * 2f64.powi(-53) - 1.0).abs() < 1e-9);
    // Without one it is infinite, or beyond f64 if the reference was rounded.
    assert_eq!(unit.error(f64::MAX, inf, Some(0.0)), inf);
    assert!(unit.error(f64::MAX, inf, None) < 1.0 && unit.error(1e308, inf, None) > 1e9);
    // The rest counts near the other end as well: three quarters of the least subnormal, rounded to it.
    let tiny = Unit::new(ext::Ext::ZERO, Format::of::<f64>(Tensor::Y));
    assert_eq!(tiny.error(5e-324, 5e-324, Some(-2f64.powi(-1076 + 200))), 0.5);
    assert_eq!(tiny.error(0.0, 5e-324, Some(-2f64.powi(-1076 + 200))), 1.5);
}

#[test]
fn subnormals_are_rounded_and_not_lost() {
    let format = Format::of::<f32>(Tensor::Dx);
    let unit = unit(0.0, format);
    let least = f64::from(f32::from_bits(1));
    assert_eq!(unit.error(0.0, least / 2.0, None), 1.0);
    assert_eq!(unit.error(100.0 * least, 100.5 * least, None), 1.0);
    assert!(unit.error(0.0, 100.0 * least, None) > LIMIT_DX, "flushed to zero");
}

#[test]
fn nan_stands_where_it_is_expected() {
    let unit = unit(1.0, Format::of::<f32>(Tensor::Y));
    assert_eq!(unit.error(f64::NAN, f64::NAN, None), 0.0);
    for (got, want) in
        [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, f64::NAN), (f64::NAN, f64::INFINITY)]
    {
        assert_eq!(unit.error(got, want, None), f64::INFINITY, "{got} for {want}");
    }
}

/// A term that is not finite leaves the others as the scale of what is finite.
#[test]
fn finite_values_beside_an_infinite_term_are_held_to_the_finite_ones() {
    let mut case = case::<f32>(Mode::Eval, (2.0, 0.5), 0.0, 0.0);
    case.x[0] = f32::NAN;
    case.dy.as_mut().unwrap()[5] = f32::INFINITY;
    case.expect = expected(&case);
    let want = |tensor| case.expect.get(tensor).unwrap();
    assert_eq!(want(Tensor::Y).iter().filter(|v| v.is_nan()).count(), 1);
    assert_eq!(want(Tensor::Dx).iter().filter(|v| v.is_infinite()).count(), 1);
    assert!(want(Tensor::Dweight)[0].is_nan() && want(Tensor::Dbias)[0] == f64::INFINITY);
    assert!(check(&case, &case.expect).iter().all(|row| row.error == 0.0));
    let mut got = case.expect.clone();
    got.keep(&[Tensor::Dx]);
    let mut y = want(Tensor::Y).to_vec();
    y[7] += 1e-4;
    got.insert(Tensor::Y, y);
    let rows = check(&case, &got);
    assert!(rows[0].error > 10.0 && rows[0].error.is_finite(), "{}", rows[0].error);
    assert_eq!(rows[1].error, 0.0);
}

#[test]
fn a_constant_feature_is_exactly_the_bias() {
    let mut case = case::<f16>(Mode::Train, (1.5, 0.1), 0.0, 0.0);
    case.x.fill(f16::from_f32(3.0));
    case.expect = expected(&case);
    let error = |y: f64| {
        let mut got = Results::default();
        got.insert(Tensor::Y, vec![y; 40]);
        check(&case, &got)[0].error
    };
    let bias = f16::from_f32(0.1).to_f64();
    assert!(error(bias) <= HALF_LIMIT);
    assert_eq!(error(f16::from_bits(f16::from_f32(0.1).to_bits() + 1).to_f64()), f64::INFINITY);
    assert_eq!(error(0.1), f64::INFINITY, "the bias before it is rounded is no f16");
}

#[test]
fn limits_are_the_contracts() {
    let limits = |tensor| [limit::<f32>(tensor), limit::<f64>(tensor), limit::<f16>(tensor)];
    assert_eq!(limits(Tensor::Y), [4.01, 4.01, 1.001]);
    assert_eq!(limits(Tensor::Dx), [5.01, 5.01, 1.001]);
    assert_eq!(limits(Tensor::Dweight), [4.01; 3]);
    let mut case = case::<f64>(Mode::Train, (1.0, 0.0), 0.0, 0.0);
    assert_eq!((limit_of(&case, Tensor::Dx), limit_of(&case, Tensor::Var)), (5.01, 4.01));
    let rounded = case.expect.get(Tensor::Dx).unwrap().to_vec();
    case.expect.keep(&[Tensor::Var]);
    case.expect.insert(Tensor::Dx, rounded);
    assert_eq!((limit_of(&case, Tensor::Dx), limit_of(&case, Tensor::Var)), (6.01, 4.01));
}

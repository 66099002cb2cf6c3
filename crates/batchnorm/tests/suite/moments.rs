//! Statistics from elsewhere and for elsewhere: moments that merge, a forward and a backward with them.

use crate::common::message;
use batchnorm::functions::{self, Backward, Commit, Forward, Running};
use batchnorm::parts::{self, Moments, Part, PartialSums, Pooled};
use batchnorm::{
    BatchNorm, DefaultBackend, Error, OneValue, Real, Recalibrate, RunningVar, Saved, Shape, Workspace,
};
use ndarray::array;

const EPS: f64 = 1e-5;

fn noise(len: usize, seed: usize) -> Vec<f64> {
    (0..len).map(|i| ((i + seed) * 7919 % 4099) as f64 / 2049.5 - 1.0).collect()
}

fn of<T: Real>(features: usize, x: &[T]) -> Moments<T> {
    let shape = Shape::nc(x.len() / features, features).unwrap();
    Moments::of(&DefaultBackend::default(), Part::new(shape, x), &mut Workspace::default()).unwrap()
}

/// Of one feature, value by value in shards of the lengths `shards`.
fn merged<T: Real>(x: &[T], shards: impl IntoIterator<Item = usize>) -> Moments<T> {
    let (mut all, mut rest) = (Moments::default(), x);
    for len in shards {
        let (shard, behind) = rest.split_at(len.min(rest.len()));
        all.merge(&of(1, shard)).unwrap();
        rest = behind;
    }
    all.merge(&of(1, rest)).unwrap();
    all
}

#[test]
fn shards_of_any_size_have_the_moments_of_the_whole() {
    for centre in [0.0, 1e4, -3e6] {
        let x: Vec<f32> = noise(1000, 3).iter().map(|v| (*v + centre) as f32).collect();
        let n = x.len() as f64;
        let mean = x.iter().map(|v| f64::from(*v) - centre).sum::<f64>() / n;
        let var = x.iter().map(|v| (f64::from(*v) - centre - mean).powi(2)).sum::<f64>() / n;
        let ones = vec![1; 1000];
        let odd = vec![0, 1, 0, 0, 7, 600, 0, 2];
        for shards in [vec![], ones, odd, vec![999]] {
            let got = merged(&x, shards.clone());
            assert_eq!(got.count(), 1000);
            let apart = (got.mean()[0] - (centre + mean)).abs();
            assert!(apart <= 1e-12 * var.sqrt() + centre.abs() * 2e-16, "{centre} {shards:?}: {apart:e}");
            assert!((got.var()[0] / var - 1.0).abs() < 1e-12, "{centre} {shards:?}: {:?}", got.var());
        }
    }
}

#[test]
fn a_constant_stays_one_whatever_the_shards() {
    for value in [0.1, 1e4, 1e300, 5e-324, -0.0] {
        let got = merged(&[value; 100], [1, 2, 0, 50]);
        assert_eq!((got.mean(), got.var()), (vec![value], vec![0.0]));
    }
}

#[test]
fn f64_at_either_end_of_its_range_keeps_its_digits() {
    for scale in [1e300, 1e-160, 1e-300, f64::MIN_POSITIVE] {
        // Powers of two and whole numbers, so that the truth is exact: mean 3, variance 5.
        let scale = 2f64.powi(scale.log2() as i32);
        let x = [0.0, 2.0, 4.0, 6.0].map(|v| v * scale);
        for shards in [vec![], vec![1, 1, 1], vec![3], vec![0, 2]] {
            let moments = merged(&x, shards);
            assert_eq!(moments.mean(), [3.0 * scale]);
            let pooled = Pooled::<f64>::of(&moments, EPS).unwrap();
            let (mut y, mut saved) = ([0.0; 4], Saved::default());
            let shape = Shape::nc(4, 1).unwrap();
            let step = Forward { eps: EPS, ..Forward::new(shape, &x, &mut y[..]) };
            pooled.forward(&DefaultBackend::default(), step, &mut saved, &mut Workspace::default()).unwrap();
            let invstd = if scale > 1.0 { 1.0 / 5f64.sqrt() } else { scale / EPS.sqrt() };
            for (y, v) in y.into_iter().zip([-3.0, -1.0, 1.0, 3.0]) {
                let want = v * invstd;
                assert!((y - want).abs() <= 4.0 * f64::EPSILON * want.abs(), "{scale:e}: {y:e} {want:e}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_feature() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let a = [1.0, nan, inf, inf, 1.0];
    let b = [3.0, 1.0, 1.0, -inf, inf];
    let mut all = of(5, &a);
    all.merge(&of(5, &b)).unwrap();
    let (mean, var) = (all.mean(), all.var());
    assert_eq!((mean[0], var[0]), (2.0, 1.0));
    assert!(mean[1].is_nan() && mean[3].is_nan());
    assert_eq!((mean[2], mean[4]), (f64::INFINITY, f64::INFINITY));
    assert!(var[1..].iter().all(|v| v.is_nan()));
    let given = Moments::<f32>::new(2, &[1.0, f64::NAN, 1e300], &[1.0, 1.0, 1.0]).unwrap();
    assert_eq!(given.mean()[0], 1.0);
    assert!(given.mean()[1].is_nan() && given.mean()[2].is_infinite());
}

const WEIGHT: [f32; 3] = [1.5, 0.5, -1.0];

fn forward<'a>(shape: Shape, x: &'a [f32], y: &'a mut [f32]) -> Forward<'a, f32> {
    Forward { weight: Some(&WEIGHT), bias: Some(&[0.1, 0.0, 2.0]), eps: EPS, ..Forward::new(shape, x, y) }
}

/// A forward with moments from elsewhere saves what a commit and a backward need: the count of the whole.
#[test]
fn a_step_with_given_moments_is_that_of_the_whole() {
    let backend = DefaultBackend::default();
    let mut workspace = Workspace::default();
    let (features, samples) = (3, 40);
    let x: Vec<f32> = noise(features * samples, 1).iter().map(|v| *v as f32 + 5.0).collect();
    let dy: Vec<f32> = noise(features * samples, 8).iter().map(|v| *v as f32).collect();
    let whole = Shape::nc(samples, features).unwrap();
    let commit = |saved: &Saved<f32>| {
        let (mut mean, mut var) = ([0.0; 3], [1.0; 3]);
        let kind = RunningVar::Unbiased;
        let into = Commit { kind, ..Commit::new(&mut mean, &mut var) };
        functions::commit(&backend, saved, into).unwrap();
        (mean, var)
    };
    let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let (mut dweight, mut dbias, mut saved) = ([0.0; 3], [0.0; 3], Saved::default());
    functions::train(&backend, forward(whole, &x, &mut y), &mut saved, &mut workspace).unwrap();
    let running = commit(&saved);
    let step = Backward {
        weight: Some(&WEIGHT),
        dx: Some((&mut dx[..]).into()),
        dweight: Some(&mut dweight),
        dbias: Some(&mut dbias),
        ..Backward::new(&x, &dy)
    };
    functions::backward(&backend, step, &saved, &mut workspace).unwrap();

    // What a fused convolution and another machine know: numbers, and a forward's state.
    let cut = 3 * 7;
    let own = of(features, &x[..cut]);
    let mut moments = Moments::<f32>::new(7, &own.mean(), &own.var()).unwrap();
    moments.merge(&of(features, &x[cut..])).unwrap();
    let pooled = Pooled::<f32>::of(&moments, EPS).unwrap();
    let near = |got: &[f32], want: &[f32]| {
        got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-6 * w.abs().max(1.0))
    };
    let mut states = [Saved::default(), Saved::default()];
    let mut sums = PartialSums::default();
    for (part, (at, saved)) in
        [(0..cut, 0), (cut..x.len(), 7)].into_iter().zip(&mut states).map(|((r, f), s)| (r, (f, s)))
    {
        let shape = Shape::nc(part.len() / features, features).unwrap();
        let mut own = vec![0.0; part.len()];
        pooled.forward(&backend, forward(shape, &x[part.clone()], &mut own), saved, &mut workspace).unwrap();
        assert!(near(&own, &y[part.clone()]));
        let (mean, var) = commit(saved);
        assert!(near(&mean, &running.0) && near(&var, &running.1), "n/(n−1) of the whole");
        assert_eq!(Moments::of_saved(saved).unwrap().count(), samples);
        sums.merge(
            parts::sum_gradients(
                &backend,
                &Backward::new(&x[part.clone()], &dy[part]),
                at,
                saved,
                &mut workspace,
            )
            .unwrap(),
        )
        .unwrap();
    }
    // dx alone, then the parameters' gradients alone.
    let mut own = vec![0.0; cut];
    let step = Backward {
        weight: Some(&WEIGHT),
        dx: Some((&mut own[..]).into()),
        ..Backward::new(&x[..cut], &dy[..cut])
    };
    parts::backward(&backend, step, &sums, &states[0], &mut workspace).unwrap();
    assert!(near(&own, &dx[..cut]));
    let (mut own_dweight, mut own_dbias) = ([0.0; 3], [0.0; 3]);
    let step = Backward {
        weight: Some(&WEIGHT),
        dweight: Some(&mut own_dweight),
        dbias: Some(&mut own_dbias),
        ..Backward::new(&x[..cut], &dy[..cut])
    };
    parts::backward(&backend, step, &sums, &states[0], &mut workspace).unwrap();
    assert!(near(&own_dweight, &dweight) && near(&own_dbias, &dbias));
}

/// Gradients whose products leave f64, and a dy that is not finite, in two parts.
#[test]
fn gradient_sums_of_parts_keep_what_the_type_does_not_hold() {
    let backend = DefaultBackend::default();
    let mut workspace = Workspace::default();
    let x = [1e-300, 3e-300, 5e-300, 7e-300, 2e-300, 6e-300];
    for (dy, is_class) in [
        ([1e-20, -1e-20, 3e-20, 1e-20, 0.0, 2e-20], false),
        ([f64::INFINITY, 1.0, 1.0, 1.0, 2.0, 3.0], true),
        ([1.0, 1.0, f64::NAN, 1.0, 2.0, 3.0], true),
    ] {
        let (mut saved, mut y, mut dx) = (Saved::default(), [0.0; 6], [0.0; 6]);
        let (mut dweight, mut dbias) = ([0.0], [0.0]);
        let eps = f64::MIN_POSITIVE;
        let shape = Shape::nc(6, 1).unwrap();
        let step = Forward { eps, ..Forward::new(shape, &x, &mut y[..]) };
        functions::train(&backend, step, &mut saved, &mut workspace).unwrap();
        let step = Backward {
            dx: Some((&mut dx[..]).into()),
            dweight: Some(&mut dweight),
            dbias: Some(&mut dbias),
            ..Backward::new(&x, &dy)
        };
        functions::backward(&backend, step, &saved, &mut workspace).unwrap();

        let pooled = Pooled::<f64>::of(&merged(&x, [4]), eps).unwrap();
        let mut sums = PartialSums::default();
        let mut states = [Saved::default(), Saved::default()];
        for (part, saved) in [0..4, 4..6].into_iter().zip(&mut states) {
            let (shape, mut y) = (Shape::nc(part.len(), 1).unwrap(), vec![0.0; part.len()]);
            let step = Forward { eps, ..Forward::new(shape, &x[part.clone()], &mut y[..]) };
            pooled.forward(&backend, step, saved, &mut workspace).unwrap();
            let first = part.start;
            sums.merge(
                parts::sum_gradients(
                    &backend,
                    &Backward::new(&x[part.clone()], &dy[part]),
                    first,
                    saved,
                    &mut workspace,
                )
                .unwrap(),
            )
            .unwrap();
        }
        let near = |got: f64, want: f64| {
            got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= 1e-15 * want.abs()
        };
        for (part, saved) in [0..4, 4..6].into_iter().zip(&states) {
            let mut own = vec![0.0; part.len()];
            let (mut own_dweight, mut own_dbias) = ([0.0], [0.0]);
            let step = Backward {
                dx: Some((&mut own[..]).into()),
                dweight: Some(&mut own_dweight),
                dbias: Some(&mut own_dbias),
                ..Backward::new(&x[part.clone()], &dy[part.clone()])
            };
            parts::backward(&backend, step, &sums, saved, &mut workspace).unwrap();
            assert!(
                near(own_dweight[0], dweight[0]) && near(own_dbias[0], dbias[0]),
                "{own_dweight:?} {dweight:?}"
            );
            assert!(dweight[0] != 0.0 && (dweight[0].is_finite() != is_class));
            assert!(own.iter().zip(&dx[part]).all(|(g, w)| near(*g, *w)), "{own:?} {dx:?}");
        }
    }
}

#[test]
fn moments_that_do_not_fit_are_named() {
    assert_eq!(message(Moments::<f32>::new(2, &[0.0, 1.0], &[1.0])), "expected 2 elements in var, got 1");
    assert_eq!(
        message(Moments::<f32>::new(2, &[0.0], &[-1.0])),
        "expected variances of 0 and above, got -1 for feature 0"
    );
    assert_eq!(
        message(Moments::<f32>::new(0, &[1.0], &[0.0])),
        "expected means and variances of 0 where there is no value, got 1 and 0 for feature 0"
    );
    let mut a = Moments::<f32>::new(usize::MAX, &[0.0], &[1.0]).unwrap();
    let before = a.clone();
    assert_eq!(
        message(a.merge(&before)),
        format!("expected fewer values, got {} and {} per feature", usize::MAX, usize::MAX)
    );
    let two = Moments::new(2, &[0.0; 2], &[1.0; 2]).unwrap();
    assert_eq!(message(a.merge(&two)), "expected moments of 1 features, got moments of 2 features");
    assert_eq!(a, before);
    a.merge(&Moments::default()).unwrap();
    assert_eq!(a, before);
    let one = Moments::<f32>::new(1, &[0.0], &[0.0]).unwrap();
    let (shape, x, mut y) = (Shape::nc(1, 1).unwrap(), [1.0_f32], [0.0]);
    let mut forward = |pooled: Pooled<f32>| {
        let (step, workspace) =
            (Forward { eps: EPS, ..Forward::new(shape, &x, &mut y[..]) }, &mut Workspace::default());
        pooled.forward(&DefaultBackend::default(), step, &mut Saved::default(), workspace)
    };
    assert!(matches!(forward(Pooled::of(&one, EPS).unwrap()), Err(Error::OneValue { .. })));
    assert_eq!(forward(Pooled::of(&one, EPS).unwrap().one_value(OneValue::Bias)), Ok(()));
    assert!(matches!(Pooled::<f32>::of(&two, 0.0), Err(Error::Eps { .. })));
    let (mut y, mut saved, shape) = ([7.0; 6], Saved::default(), Shape::nc(3, 2).unwrap());
    let step = Forward { eps: EPS, ..Forward::new(shape, &[1.0; 6], &mut y[..]) };
    let pooled = Pooled::<f32>::of(&two, EPS).unwrap();
    assert_eq!(
        message(pooled.forward(&DefaultBackend::default(), step, &mut saved, &mut Workspace::default())),
        "expected at most the 2 values per feature of the statistics in x, got 3"
    );
    assert_eq!((y, saved), ([7.0; 6], Saved::default()));
    assert!(matches!(Moments::of_saved(&Saved::<f32>::default()), Err(Error::EmptySaved)));
    let (_, saved) = BatchNorm::<f32>::new(1).unwrap().forward_eval_saved(&array![[1.0], [2.0]]).unwrap();
    assert_eq!(
        message(Moments::of_saved(&saved)),
        "expected the saved state of a forward with its batch's statistics, got running ones"
    );
    let shape = Shape::nc(2, 1).unwrap();
    let short =
        Moments::of(&DefaultBackend::default(), Part::new(shape, &[1.0_f32]), &mut Workspace::default());
    assert_eq!(message(short), "expected 2 elements in x, got 1");
}

#[test]
fn empty_shards_are_nothing_and_an_empty_batch_is_ok() {
    let empty = of::<f32>(1, &[]);
    assert_eq!((empty.count(), empty.features(), empty.mean()), (0, 1, vec![0.0]));
    let mut all = empty.clone();
    all.merge(&of(1, &[3.0])).unwrap();
    all.merge(&empty).unwrap();
    assert_eq!((all.count(), all.mean(), all.var()), (1, vec![3.0], vec![0.0]));
    let pooled = Pooled::<f32>::of(&empty, EPS).unwrap();
    let (mut y, mut saved) = ([0.0; 0], Saved::default());
    let shape = Shape::nc(0, 1).unwrap();
    let step = Forward { eps: EPS, ..Forward::new(shape, &[], &mut y[..]) };
    pooled.forward(&DefaultBackend::default(), step, &mut saved, &mut Workspace::default()).unwrap();
    let mut recalibrate = Recalibrate::default();
    recalibrate.add(&saved).unwrap();
    assert_eq!(
        message(recalibrate.finish(RunningVar::Biased)),
        "expected batches to take running statistics of, got none with a value"
    );
}

#[test]
fn sums_that_are_not_finite_count_in_parts_as_in_the_whole() {
    let (backend, shape) = (DefaultBackend::default(), Shape::nc(1, 1).unwrap());
    for (x, dy) in
        [([1.0_f32, f32::NAN], [f32::INFINITY, 1.0]), ([1.0, f32::INFINITY], [f32::INFINITY, -1.0])]
    {
        let (running, mut workspace) = (Running { mean: &[0.0], var: &[1.0] }, Workspace::default());
        let (mut sums, mut y, mut saved) = (PartialSums::default(), [0.0], Saved::default());
        for i in 0..2 {
            let step = Forward::new(shape, &x[i..=i], &mut y[..]);
            functions::eval(&backend, step, Some(running), &mut saved, &mut workspace).unwrap();
            let inputs = [&x[i..=i], &dy[i..=i]];
            sums.merge(
                parts::sum_gradients(
                    &backend,
                    &Backward::new(inputs[0], inputs[1]),
                    i,
                    &saved,
                    &mut workspace,
                )
                .unwrap(),
            )
            .unwrap();
        }
        let mut dweight = [0.0];
        let (dx, dbias, weight) = (None, None, None);
        let step =
            Backward { weight, dx, dweight: Some(&mut dweight), dbias, ..Backward::new(&x[1..], &dy[1..]) };
        parts::backward(&backend, step, &sums, &saved, &mut workspace).unwrap();
        assert!(dweight[0].is_nan(), "{x:?} {dy:?}: {dweight:?}");
        let none = PartialSums::default();
        let step = Backward { weight, dweight: Some(&mut dweight), ..Backward::new(&x[1..], &dy[1..]) };
        let error = parts::backward(&backend, step, &none, &saved, &mut workspace).unwrap_err();
        assert!(error.to_string().contains("expected"), "{error}");
    }
}

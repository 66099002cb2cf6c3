//! A folded layer gives what the unfolded one gives, after linear layers and convolutions of every kind.

use batchnorm::{BatchNorm, Config, Element, Error, Real};
use ndarray::{Array1, Array2, Array4, ArrayView2, ArrayViewMut, Axis, ShapeBuilder, array, s};

/// Numbers from −1 to 1, the same for each seed.
fn numbers<R: Real>(seed: usize) -> impl FnMut() -> R {
    let mut state = seed * 7919 + 1;
    move || {
        state = (state * 16_807) % 2_147_483_647;
        R::from_f64(state as f64 / 1_073_741_823.5 - 1.0)
    }
}

/// A layer that was trained, its mean not at zero.
fn trained<R: Real>(features: usize, affine: bool) -> BatchNorm<R> {
    let config = Config::default().affine(affine).eps(1e-3);
    let mut bn = BatchNorm::with_config(features, config).expect("a layer");
    let mut number = numbers::<R>(features);
    bn.weight.mapv_inplace(|_| number() + number());
    bn.bias.mapv_inplace(|_| number());
    let running = bn.running.as_mut().expect("tracked");
    running.mean.mapv_inplace(|_| number() * R::from_f64(3.0));
    running.var.mapv_inplace(|_| R::from_f64(number().to_f64().powi(2) + 0.01));
    bn
}

/// As a convolution is defined, without padding and with a stride of 1: z is (N,I,H,W), weight (O,I/groups,K,K), z·weight (N,O,…).
fn convolved<R: Real>(
    z: &Array4<R>,
    weight: &Array4<R>,
    bias: Option<&Array1<R>>,
    groups: usize,
) -> Array4<R> {
    let ((n, inputs, h, w), (outputs, each, k, _)) = (z.dim(), weight.dim());
    assert_eq!(inputs, each * groups, "the test's own shapes");
    let group = |o: usize| o / (outputs / groups);
    Array4::from_shape_fn((n, outputs, h - k + 1, w - k + 1), |(n, o, y, x)| {
        let from = group(o) * each;
        let window = z.slice(s![n, from..from + each, y..y + k, x..x + k]);
        let sum = (&window * &weight.index_axis(Axis(0), o)).sum();
        sum + bias.map_or(R::default(), |bias| bias[o])
    })
}

/// As a transposed convolution is defined, with a stride of 1: every input adds its weights to a window of the output.
fn transposed<R: Real>(
    z: &Array4<R>,
    weight: &Array4<R>,
    bias: Option<&Array1<R>>,
    groups: usize,
) -> Array4<R> {
    let ((n, inputs, h, w), (_, each, k, _)) = (z.dim(), weight.dim());
    let outputs = each * groups;
    let mut out = Array4::from_shape_fn((n, outputs, h + k - 1, w + k - 1), |(_, o, _, _)| {
        bias.map_or(R::default(), |bias| bias[o])
    });
    for ((n, i, y, x), &v) in z.indexed_iter() {
        let from = i / (inputs / groups) * each;
        let mut window = out.slice_mut(s![n, from..from + each, y..y + k, x..x + k]);
        window.scaled_add(v, &weight.index_axis(Axis(0), i));
    }
    out
}

/// How far apart, in units of roundoff and of the sizes of the terms: those of the sum, of its bias, of the mean and of β.
fn assert_close<R: Real>(what: &str, got: &Array4<R>, want: &Array4<R>, size: &Array4<R>, terms: usize) {
    let unit = if R::NAME == "f32" { 2f64.powi(-24) } else { 2f64.powi(-53) };
    let limit = 2.0 * (terms as f64 + 6.0);
    for ((got, want), size) in got.iter().zip(want).zip(size) {
        let off = (got.to_f64() - want.to_f64()).abs() / (unit * size.to_f64());
        assert!(off <= limit, "{what}: got {got}, want {want}, {off} units apart, at most {limit}");
    }
}

type Convolution<R> = fn(&Array4<R>, &Array4<R>, Option<&Array1<R>>, usize) -> Array4<R>;

/// Folds into a convolution of these sizes, and compares.
fn folds<R: Real>(dims: [usize; 4], features: usize, groups: usize, is_transposed: bool) {
    for (affine, has_bias) in [(true, true), (true, false), (false, true), (false, false)] {
        let what = format!("{} {dims:?} {groups} {is_transposed} {affine} {has_bias}", R::NAME);
        let bn = trained::<R>(features, affine);
        let mut number = numbers::<R>(dims.iter().sum());
        let weight = Array4::from_shape_simple_fn(dims, &mut number);
        let inputs = if is_transposed { dims[0] } else { dims[1] * groups };
        let z = Array4::from_shape_simple_fn((2, inputs, 4, 5), &mut number);
        let bias = Array1::from_shape_simple_fn(features, &mut number);
        let bias = has_bias.then_some(&bias);
        let convolution: Convolution<R> = if is_transposed { transposed } else { convolved };

        let want = bn.forward_eval(&convolution(&z, &weight, bias, groups)).expect("as many features");
        let mut folded = weight.clone();
        let before = bias.map(|bias| &**bias);
        let new = match is_transposed {
            true => bn.fold_into_transposed(&mut folded, before, groups),
            false => bn.fold_into(&mut folded, before),
        };
        let new = new.expect("a weight of this layer");
        let got = convolution(&z, &folded, Some(&new), groups);
        // The sizes of all terms: a convolution of sizes, and what is added and subtracted per feature.
        let size = |array: &Array4<R>| array.mapv(|v| if v < R::default() { -v } else { v });
        let mut sizes = convolution(&size(&z), &size(&folded), None, groups);
        let fold = bn.fold().expect("a layer with statistics");
        for (f, mut of) in sizes.axis_iter_mut(Axis(1)).enumerate() {
            let mean = bn.running.as_ref().expect("tracked").mean[f];
            let beta = bn.bias.get(f).copied().unwrap_or_default();
            let terms =
                [mean * fold.scale[f], beta, bias.map_or(R::default(), |bias| bias[f]) * fold.scale[f]];
            let added = terms.iter().map(|v| v.to_f64().abs()).sum();
            of += R::from_f64(added);
        }
        assert_close(&what, &got, &want, &sizes, dims[1..].iter().product::<usize>() * dims[0]);
        // Nothing was compared with itself.
        assert_ne!(folded, weight, "{what}");
    }
}

#[test]
fn convolutions_fold() {
    for (dims, features, groups) in [
        ([6, 4, 3, 3], 6, 1),
        ([6, 2, 3, 3], 6, 2), // grouped
        ([6, 1, 2, 2], 6, 6), // a filter for each feature
        ([5, 3, 1, 1], 5, 1),
    ] {
        folds::<f32>(dims, features, groups, false);
        folds::<f64>(dims, features, groups, false);
    }
}

#[test]
fn transposed_convolutions_fold() {
    for (dims, features, groups) in [
        ([4, 6, 3, 3], 6, 1),
        ([4, 3, 2, 2], 6, 2),
        ([6, 1, 3, 3], 6, 6),
        ([6, 2, 2, 2], 4, 2), // more input features than output features
        ([3, 3, 2, 2], 9, 3), // and fewer
    ] {
        folds::<f32>(dims, features, groups, true);
        folds::<f64>(dims, features, groups, true);
    }
}

/// y of the linear layer and the batch normalization behind it.
fn linear<R: Real>(z: ArrayView2<'_, R>, weight: ArrayView2<'_, R>, bias: &Array1<R>) -> Array2<R> {
    z.dot(&weight.t()) + bias
}

#[test]
fn linear_layers_fold_in_any_order_of_memory() {
    let bn = trained::<f64>(3, true);
    let mut number = numbers::<f64>(1);
    let z = Array2::from_shape_simple_fn((7, 4), &mut number);
    let (weight, bias) = (Array2::from_shape_simple_fn((3, 4), &mut number), array![0.5, -1.0, 2.0]);
    let want = bn.forward_eval(&linear(z.view(), weight.view(), &bias)).unwrap();
    let close = |got: Array2<f64>| approx::assert_abs_diff_eq!(got, want, epsilon = 1e-12);

    let mut rows = weight.clone();
    let new = bn.fold_into(&mut rows, Some(&bias)).unwrap();
    close(linear(z.view(), rows.view(), &new));
    // As columns lie side by side, as the transpose of (I, O), and in a slice.
    let mut columns = Array2::zeros((3, 4).f());
    columns.assign(&weight);
    assert_eq!(bn.fold_into(&mut columns, Some(&bias)).unwrap(), new);
    assert_eq!(columns, rows);
    let mut turned = weight.t().to_owned();
    bn.fold_into(&mut turned.view_mut().reversed_axes(), None).unwrap();
    assert_eq!(turned.t(), rows);
    let mut slice = weight.iter().copied().collect::<Vec<_>>();
    bn.fold_into(&mut ArrayViewMut::from_shape((3, 4), &mut slice).unwrap(), None).unwrap();
    assert_eq!(slice, rows.into_raw_vec_and_offset().0);
}

/// A layer of half tensors has f32 parameters, and folds into f32 weights.
#[test]
fn scale_and_shift_are_the_evaluation() {
    fn check<T: Element>(unit: f64) {
        for affine in [true, false] {
            let of = trained::<T::Compute>(4, affine);
            let config = Config::default().affine(affine).eps(1e-3);
            let mut bn = BatchNorm::<T>::with_config(4, config).expect("a layer");
            (bn.weight, bn.bias, bn.running) = (of.weight.clone(), of.bias.clone(), of.running.clone());
            let folded = bn.fold().expect("a layer with statistics");
            let running = of.running.as_ref().expect("tracked");
            for f in 0..4 {
                let weight = of.weight.get(f).map_or(1.0, |v| v.to_f64());
                let bias = of.bias.get(f).map_or(0.0, |v| v.to_f64());
                let (mean, var) = (running.mean[f].to_f64(), running.var[f].to_f64());
                let scale = weight / (var + 1e-3).sqrt();
                let shift = bias - mean * scale;
                let (got, moved) = (folded.scale[f].to_f64(), folded.shift[f].to_f64());
                assert!((got - scale).abs() <= unit * scale.abs(), "{}: {got}, expected {scale}", T::NAME);
                let size = (mean * scale).abs() + bias.abs();
                assert!((moved - shift).abs() <= unit * size, "{}: {moved}, expected {shift}", T::NAME);
            }
        }
    }
    check::<f32>(2f64.powi(-24) * 1.01);
    check::<half::f16>(2f64.powi(-24) * 1.01);
    // The reference here is itself in f64.
    check::<f64>(2f64.powi(-53) * 6.0);
}

/// The scale is rounded once: γ/m where σ² = m² and eps is nothing beside it. γ·(1/m) in f64 would miss one in four.
#[test]
fn a_scale_is_the_nearest_number() {
    let config = Config::default().eps(1e-300);
    let mut bn = BatchNorm::<f64>::with_config(1000, config).unwrap();
    let mut number = numbers::<f64>(3);
    bn.weight.mapv_inplace(|_| number());
    let roots: Vec<f64> = (1..=1000).map(|m| f64::from(m) / 8.0).collect();
    bn.running.as_mut().unwrap().var = roots.iter().map(|m| m * m).collect();
    let quotients: Array1<f64> = bn.weight.iter().zip(&roots).map(|(weight, m)| weight / m).collect();
    assert_eq!(bn.fold().unwrap().scale, quotients);
}

#[test]
fn what_does_not_fold_is_told_in_the_callers_dimensions() {
    let bn = trained::<f32>(6, true);
    let weight = |dims: [usize; 4]| Array4::<f32>::ones(dims);
    let says = |dims| bn.fold_into(&mut weight(dims), None).unwrap_err().to_string();
    let first = "expected the preceding weight of the dimensions [6, 4, 3, 3], got [4, 4, 3, 3]";
    assert_eq!(says([4, 4, 3, 3]), first);
    let scalar = bn.fold_into(&mut ndarray::arr0(1.0), None).unwrap_err();
    let expected = vec![6];
    assert_eq!(scalar, Error::Dims { what: "the preceding weight", expected, got: vec![] });
    let short = bn.fold_into(&mut weight([6, 1, 1, 1]), Some(&Array1::ones(4))).unwrap_err();
    assert_eq!(short.to_string(), "expected 6 elements in the preceding bias, got 4");

    let turned =
        |dims, groups| bn.fold_into_transposed(&mut weight(dims), None, groups).unwrap_err().to_string();
    let second = "expected the preceding weight of the dimensions [4, 3, 2, 2], got [4, 6, 2, 2]";
    assert_eq!(turned([4, 6, 2, 2], 2), second);
    assert_eq!(
        turned([4, 6, 2, 2], 4),
        "expected features that fall into groups of one size, got 6 in 4 groups"
    );
    assert_eq!(
        turned([4, 6, 2, 2], 0),
        "expected features that fall into groups of one size, got 6 in 0 groups"
    );
    let inputs = "expected input features of the preceding weight that fall into groups of one size, got 5 in 2 groups";
    assert_eq!(turned([5, 3, 2, 2], 2), inputs);
    let flat = bn.fold_into_transposed(&mut Array1::ones(4), None, 1).unwrap_err().to_string();
    assert_eq!(flat, "expected the preceding weight of the dimensions [4, 6], got [4]");

    let still = BatchNorm::<f32>::with_config(6, Config::default().track_running_stats(false)).unwrap();
    let none = "expected running statistics to fold, got a layer that tracks none";
    assert_eq!(still.fold().unwrap_err().to_string(), none);
    assert_eq!(still.fold_into(&mut weight([6, 1, 1, 1]), None).unwrap_err().to_string(), none);
}

/// Finite numbers that would become infinite are an error, and the weight stays as it was; a NaN stays in its feature.
#[test]
fn what_overflows_is_refused_and_writes_nothing() {
    let mut bn = BatchNorm::<f32>::new(2).unwrap();
    bn.weight[1] = 1e20;
    let mut weight = array![[1.0, 2.0], [3.0, 1e20]];
    let error = bn.fold_into(&mut weight, None).unwrap_err().to_string();
    assert_eq!(weight, array![[1.0, 2.0], [3.0, 1e20]]);
    assert!(error.starts_with("expected a folded weight that f32 holds, got 9.9"), "{error}");
    assert!(error.ends_with("e39 for feature 1"), "{error}");
    let error = bn.fold_into_transposed(&mut weight, None, 1).unwrap_err().to_string();
    assert_eq!(weight, array![[1.0, 2.0], [3.0, 1e20]]);
    assert!(error.ends_with("e39 for feature 1"), "{error}");
    bn.weight[1] = 3e38;
    bn.running.as_mut().unwrap().var[1] = 0.0;
    let error = bn.fold().unwrap_err().to_string();
    assert!(error.starts_with("expected a folded scale that f32 holds, got 9.4"), "{error}");

    bn.weight[1] = f32::NAN;
    let bias = bn.fold_into(&mut weight, None).unwrap();
    assert!(weight.row(0).iter().all(|v| v.is_finite()) && weight.row(1).iter().all(|v| v.is_nan()));
    assert!(bias[0] == 0.0 && bias[1].is_nan());
}

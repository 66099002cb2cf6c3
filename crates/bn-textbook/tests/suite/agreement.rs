//! The strategies against each other and against the layer, and what they say to wrong input.

use approx::assert_relative_eq;
use batchnorm::{BatchNorm, Config};
use bn_conformance::data::{normal, rng};
use bn_conformance::tolerances::STRATEGIES_APART;
use bn_core::{Error, Layout, Mode, ShapeError, Single, Sizes};
use bn_textbook::{analytic, graph};
use ndarray::{Array, Array1, Array2, Array4, ArrayView, Axis, Dimension, array, s};

const EPS: f64 = 1e-5;

/// 5·randn + 12 and its gradient, γ and β, as the post tries its code.
fn inputs<D: Dimension>(dims: D) -> ([Array<f64, D>; 2], [Array1<f64>; 2]) {
    let mut rng = rng(2016);
    let features = dims[1];
    let mut random = |spread: f64, centre: f64| {
        Array::from_shape_simple_fn(dims.clone(), || spread * normal(&mut rng) + centre)
    };
    let tensors = [random(5.0, 12.0), random(1.0, 0.0)];
    let mut parameter = |centre: f64| Array1::from_shape_simple_fn(features, || normal(&mut rng) + centre);
    (tensors, [parameter(1.0), parameter(0.0)])
}

#[track_caller]
fn assert_close<D: Dimension>(got: ArrayView<'_, f64, D>, want: ArrayView<'_, f64, D>) {
    assert_eq!(got.shape(), want.shape());
    let apart = got.iter().zip(&want).fold(0.0, |m: f64, (a, b)| {
        // A NaN must not hide behind `max`.
        if (a - b).is_nan() { f64::INFINITY } else { m.max((a - b).abs()) }
    });
    assert!(apart <= STRATEGIES_APART, "{apart:e} apart");
}

fn all_agree<D: Dimension>(dims: D) {
    let ([x, dy], [weight, bias]) = inputs(dims);
    let (y, cache) = graph::forward(x.view(), weight.view(), bias.view(), EPS).unwrap();
    let by_node = graph::backward(dy.view(), &cache).unwrap();
    let (formula_y, cache) = analytic::forward(x.view(), weight.view(), bias.view(), EPS).unwrap();
    let by_formula = analytic::backward(dy.view(), &cache).unwrap();

    let mut bn = BatchNorm::<f64>::new(weight.len()).unwrap();
    (bn.weight, bn.bias) = (weight, bias);
    let (layer_y, saved) = bn.forward(&x).unwrap();
    let layer = bn.backward(&saved, &x, &dy).unwrap();

    for (y, g) in [(&formula_y, &by_formula), (&layer_y, &layer)] {
        assert_close(y.view(), formula_y.view());
        assert_close(g.dx.view(), by_node.dx.view());
        assert_close(g.dweight.view(), by_node.dweight.view());
        assert_close(g.dbias.view(), by_node.dbias.view());
    }
    assert_close(y.view(), layer_y.view());
    assert_relative_eq!(cache.mean, Array1::from(saved.mean().to_vec()), max_relative = 1e-13);
    assert_relative_eq!(cache.var, Array1::from(saved.var().to_vec()), max_relative = 1e-12);
}

#[test]
fn strategies_and_layer_agree_on_rows() {
    let shape: Array2<f64> = Array2::zeros((100, 500));
    all_agree(shape.raw_dim());
}

#[test]
fn strategies_and_layer_agree_on_images() {
    let shape: Array4<f64> = Array4::zeros((4, 7, 5, 3));
    all_agree(shape.raw_dim());
}

/// A view that does not lie in memory in its own order gives what its copy gives.
#[test]
fn strided_views_are_taken() {
    let ([x, dy], [weight, bias]) = inputs(Array4::<f64>::zeros((3, 4, 5, 2)).raw_dim());
    // (N,C,H,W) views of (N,H,W,C) memory.
    let turned = |a: &Array4<f64>| a.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let (x_last, dy_last) = (turned(&x), turned(&dy));
    let (x_view, dy_view) =
        (x_last.view().permuted_axes([0, 3, 1, 2]), dy_last.view().permuted_axes([0, 3, 1, 2]));

    let (want, cache) = graph::forward(x.view(), weight.view(), bias.view(), EPS).unwrap();
    let want_g = graph::backward(dy.view(), &cache).unwrap();
    let (got, cache) = graph::forward(x_view, weight.view(), bias.view(), EPS).unwrap();
    assert_eq!((&got, &graph::backward(dy_view, &cache).unwrap()), (&want, &want_g));

    // The parameters backwards in memory, and every other one of a longer array.
    let back = |p: &Array1<f64>| p.slice(s![..;-1]).iter().copied().collect::<Array1<f64>>();
    let (weight_back, bias_back) = (back(&weight), back(&bias));
    let (weight_view, bias_view) = (weight_back.slice(s![..;-1]), bias_back.slice(s![..;-1]));
    let (got, cache) = graph::forward(x_view, weight_view, bias_view, EPS).unwrap();
    assert_eq!((&got, graph::backward(dy_view, &cache).unwrap()), (&want, want_g));
    let spaced = Array1::from_shape_fn(8, |i| weight[i / 2]);
    let (want, _) = analytic::forward(x.view(), weight.view(), bias.view(), EPS).unwrap();
    let (got, _) = analytic::forward(x_view, spaced.slice(s![..;2]), bias.view(), EPS).unwrap();
    assert_eq!(got, want);
}

/// Both strategies' forward, as its error.
fn refused<D: Dimension>(x: &Array<f64, D>, weight: &Array1<f64>, bias: &Array1<f64>, eps: f64) -> Error {
    let by_node = graph::forward(x.view(), weight.view(), bias.view(), eps).map(|_| ()).unwrap_err();
    let by_formula = analytic::forward(x.view(), weight.view(), bias.view(), eps).map(|_| ()).unwrap_err();
    // Debug, because a NaN in an error is not equal to itself.
    assert_eq!(format!("{by_node:?}"), format!("{by_formula:?}"));
    by_node
}

fn sizes(dims: &[usize]) -> Sizes {
    Sizes::Array { dims: dims.to_vec(), layout: Layout::ChannelsFirst }
}

#[test]
fn wrong_input_is_refused_as_by_the_layer() {
    let x = Array2::<f64>::zeros((3, 2));
    let (two, three) = (Array1::<f64>::ones(2), Array1::<f64>::ones(3));
    let mut layer = BatchNorm::<f64>::new(2).unwrap();
    let mut layer_says = |x: &Array<f64, ndarray::IxDyn>| layer.forward(x).map(|_| ()).unwrap_err();

    let flat = Array1::<f64>::zeros(3);
    assert_eq!(refused(&flat, &two, &two, EPS), Error::Shape(ShapeError::Rank { got: 1 }));
    assert_eq!(refused(&flat, &two, &two, EPS), layer_says(&flat.into_dyn()));
    let wide = Array2::<f64>::zeros((4, 3));
    assert_eq!(
        refused(&wide, &two, &two, EPS),
        Error::Features { what: "x", expected: 2, got: sizes(&[4, 3]) }
    );
    assert_eq!(refused(&wide, &two, &two, EPS), layer_says(&wide.into_dyn()));
    let single = Array4::<f64>::zeros((1, 2, 1, 1));
    assert_eq!(
        refused(&single, &two, &two, EPS),
        Error::OneValue { mode: Mode::Train, of: Single::Batch, got: sizes(&[1, 2, 1, 1]) }
    );
    assert_eq!(refused(&single, &two, &two, EPS), layer_says(&single.into_dyn()));

    assert_eq!(refused(&x, &two, &three, EPS), Error::Length { what: "bias", expected: 2, got: 3 });
    for eps in [0.0, -1e-5, f64::NAN, f64::INFINITY] {
        let layer = BatchNorm::<f64>::with_config(2, Config::default().eps(eps)).map(|_| ());
        let got = refused(&x, &two, &two, eps);
        assert!(matches!(got, Error::Eps { .. }), "{eps}: {got:?}");
        assert_eq!(format!("{got:?}"), format!("{:?}", layer.unwrap_err()));
    }

    let dims = Error::Dims { what: "dy", expected: vec![3, 2], got: vec![2, 3] };
    let dy = Array2::<f64>::zeros((2, 3));
    let (_, cache) = graph::forward(x.view(), two.view(), two.view(), EPS).unwrap();
    assert_eq!(graph::backward(dy.view(), &cache).unwrap_err(), dims);
    // The same elements in dimensions of another rank.
    let raised = x.view().insert_axis(Axis(2));
    assert!(matches!(graph::backward(raised, &cache), Err(Error::Dims { what: "dy", .. })));
    let (_, cache) = analytic::forward(x.view(), two.view(), two.view(), EPS).unwrap();
    assert_eq!(analytic::backward(dy.view(), &cache).unwrap_err(), dims);
}

/// By hand: μ = 2, σ² = 1, and with γ = 2, dy = (1, 0): dβ = 1, dγ = x̂₀ ≈ −1, dx ≈ 0, since two values have no
/// freedom left beside mean and spread.
#[test]
fn two_values_by_hand() {
    let (x, dy) = (array![[1.0], [3.0]], array![[1.0], [0.0]]);
    let (weight, bias) = (array![2.0], array![0.5]);
    let invstd = 1.0 / (1.0f64 + EPS).sqrt();
    let (y, cache) = analytic::forward(x.view(), weight.view(), bias.view(), EPS).unwrap();
    let g = analytic::backward(dy.view(), &cache).unwrap();
    assert_relative_eq!(y, array![[0.5 - 2.0 * invstd], [0.5 + 2.0 * invstd]], max_relative = 1e-14);
    assert_relative_eq!(g.dbias, array![1.0]);
    assert_relative_eq!(g.dweight, array![-invstd], max_relative = 1e-14);
    // n·dy − x̂·dγ − dβ = 1 − invstd² = eps·invstd², of either sign.
    let dx = weight[0] * invstd / 2.0 * EPS * invstd * invstd;
    assert_relative_eq!(g.dx, array![[dx], [-dx]], max_relative = 1e-9);
}

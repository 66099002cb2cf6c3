//! Bad input gets an error that names what was expected and what came, and nothing is written.

use batchnorm::{BatchNorm, Config, Error, Grads, Saved, Shape, ShapeError, Workspace};
use ndarray::{Array1, Array2, Array3, ArrayD, IxDyn, array};

fn layer(features: usize) -> BatchNorm<f32> {
    BatchNorm::new(features).unwrap()
}

/// The message names both numbers.
fn names(error: &Error, expected: &str, got: &str) {
    let text = error.to_string();
    assert!(text.contains(expected) && text.contains(got), "{text:?} should name {expected:?} and {got:?}");
}

#[test]
fn settings_are_checked_when_the_layer_is_made() {
    for eps in [0.0, -1e-5, f64::NAN, f64::INFINITY] {
        let error = BatchNorm::<f32>::with_config(3, Config { eps, ..Config::default() }).unwrap_err();
        assert!(matches!(error, Error::Eps { .. }));
        names(&error, "greater than 0", &eps.to_string());
    }
    for momentum in [f64::NAN, f64::INFINITY] {
        let config = Config { momentum: Some(momentum), ..Config::default() };
        let error = BatchNorm::<f64>::with_config(3, config).unwrap_err();
        assert!(matches!(error, Error::Momentum { .. }));
        names(&error, "finite", &momentum.to_string());
    }
    // What no address space holds, and what no memory does.
    for features in [usize::MAX, 1 << 44] {
        let layer = BatchNorm::<f32>::new(features);
        assert!(matches!(layer, Err(Error::Shape(ShapeError::TooLarge { .. }))), "{features}");
    }
}

#[test]
fn arrays_of_another_rank_or_width() {
    let mut bn = layer(3);
    let untouched = bn.running.clone();
    for dims in [vec![], vec![3]] {
        let x = ArrayD::<f32>::zeros(IxDyn(&dims));
        let error = bn.forward(x.view()).unwrap_err();
        assert_eq!(error, Error::Shape(ShapeError::Rank { got: dims.len() }));
        names(&error, "2 or more", &format!("rank {}", dims.len()));
    }
    let error = bn.forward(Array2::zeros((8, 5)).view()).unwrap_err();
    names(&error, "expected 3", "got 5");
    let error = bn.forward(Array3::zeros((8, 5, 3)).view()).unwrap_err();
    names(&error, "expected 3", "got 5");
    assert_eq!(bn.running, untouched);
}

#[test]
fn one_value_per_feature_has_no_spread() {
    let mut bn = layer(3);
    let untouched = bn.running.clone();
    let error = bn.forward(Array2::zeros((1, 3)).view()).unwrap_err();
    assert!(matches!(error, Error::OneValue { .. }));
    names(&error, "more than 1", "got 1");
    assert_eq!(bn.running, untouched);
    // Evaluation has statistics of its own, unless none are tracked.
    assert!(bn.forward_eval(Array2::zeros((1, 3)).view()).is_ok());
    let config = Config { track_running_stats: false, ..Config::default() };
    let bn = BatchNorm::<f32>::with_config(3, config).unwrap();
    assert!(matches!(bn.forward_eval(Array2::zeros((1, 3)).view()), Err(Error::OneValue { .. })));
}

#[test]
fn an_empty_batch_is_no_error_and_leaves_the_statistics() {
    let mut bn = layer(3);
    let untouched = bn.running.clone();
    for dims in [vec![0, 3], vec![4, 3, 0], vec![0, 3, 5, 5]] {
        let x = ArrayD::<f32>::zeros(IxDyn(&dims));
        let (y, saved) = bn.forward(x.view()).unwrap();
        assert_eq!(y.shape(), dims);
        let g = bn.backward(&saved, x.view(), y.view()).unwrap();
        assert_eq!((g.dx.shape(), g.dweight, g.dbias), (&dims[..], Array1::zeros(3), Array1::zeros(3)));
    }
    assert_eq!(bn.running, untouched);
}

#[test]
fn buffers_of_the_wrong_length_stay_as_they_are() {
    let mut bn = layer(3);
    let untouched = bn.running.clone();
    let shape = Shape::nc(4, 3).unwrap();
    let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());

    let mut y = [7.0; 11];
    let error = bn.forward_into(shape, &x, &mut y, &mut saved, &mut workspace).unwrap_err();
    names(&error, "12 elements in y", "got 11");
    let error = bn.forward_into(shape, &x[..9], &mut [7.0; 12], &mut saved, &mut workspace).unwrap_err();
    names(&error, "12 elements in x", "got 9");
    let error = bn
        .forward_into(Shape::nc(3, 4).unwrap(), &x, &mut [7.0; 12], &mut saved, &mut workspace)
        .unwrap_err();
    names(&error, "expected 3", "got 4");
    assert_eq!((bn.running.clone(), y), (untouched, [7.0; 11]));

    let mut y = [0.0; 12];
    bn.forward_into(shape, &x, &mut y, &mut saved, &mut workspace).unwrap();
    let full = [12, 12, 12, 3, 3];
    for (what, wrong) in ["x", "dy", "dx", "dweight", "dbias"].into_iter().enumerate().map(|(i, what)| {
        let mut lengths = full;
        lengths[i] += 1;
        (what, lengths)
    }) {
        let buf = |len: usize| vec![7.0f32; len];
        let (mut dx, mut dweight, mut dbias) = (buf(wrong[2]), buf(wrong[3]), buf(wrong[4]));
        let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
        let error =
            bn.backward_into(&saved, &buf(wrong[0]), &buf(wrong[1]), grads, &mut workspace).unwrap_err();
        names(&error, what, "got");
        assert!(dx.iter().chain(&dweight).chain(&dbias).all(|&v| v == 7.0), "{what}: something was written");
    }
}

#[test]
fn gradients_of_another_shape_or_mode() {
    let mut bn = layer(3);
    let x = array![[1.0, 2.0, 3.0], [4.0, -5.0, 6.0], [0.5, 8.0, 9.0], [1.0, 1.0, 2.0]];
    let (y, saved) = bn.forward(x.view()).unwrap();

    let short = Array2::zeros((3, 3));
    names(&bn.backward(&saved, x.view(), short.view()).unwrap_err(), "[4, 3]", "[3, 3]");
    names(&bn.backward(&saved, short.view(), short.view()).unwrap_err(), "outer 4", "outer 3");

    let (_, frozen) = bn.forward_eval_saved(x.view()).unwrap();
    names(&bn.backward(&frozen, x.view(), y.view()).unwrap_err(), "training", "evaluation");
    names(&bn.backward_eval(&saved, x.view(), y.view()).unwrap_err(), "evaluation", "training");
    names(&bn.commit(&frozen).unwrap_err(), "training", "evaluation");

    let mut other = layer(4);
    let (_, of_other) = other.forward(Array2::zeros((4, 4)).view()).unwrap();
    names(&bn.backward(&of_other, x.view(), y.view()).unwrap_err(), "features 4", "features 3");
    names(&bn.commit(&of_other).unwrap_err(), "expected 3", "got 4");
}

#[test]
fn parameters_replaced_by_others_that_do_not_fit() {
    let mut bn = layer(3);
    let x = array![[1.0, 2.0, 3.0], [4.0, -5.0, 6.0]];
    bn.weight = Array1::zeros(2);
    names(&bn.forward(x.view()).unwrap_err(), "3 elements in weight", "got 2");
    bn.weight = Array1::zeros(6).slice_move(ndarray::s![..;2]);
    names(&bn.forward(x.view()).unwrap_err(), "weight in contiguous memory", "stride");
    bn.weight = Array1::ones(3);
    bn.running.as_mut().unwrap().var = Array1::zeros(7);
    names(&bn.forward(x.view()).unwrap_err(), "3 elements in running_var", "got 7");
    assert_eq!(bn.running.as_ref().unwrap().num_batches_tracked, 0);
}

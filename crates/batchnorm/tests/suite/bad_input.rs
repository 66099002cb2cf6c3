//! Bad input gets an error that names what was expected and what came, and nothing is written.

use batchnorm::functions::{self, Backward, Commit};
use batchnorm::{
    BatchNorm, Config, DefaultBackend, Error, Grads, Layout, Options, Saved, Shape, ShapeError, Workspace,
};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD, IxDyn, array};

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
        let error = BatchNorm::<f32>::with_config(3, Config::default().eps(eps)).unwrap_err();
        assert!(matches!(error, Error::Eps { .. }));
        names(&error, "greater than 0", &eps.to_string());
    }
    for momentum in [f64::NAN, f64::INFINITY, -0.1, 1.5] {
        let config = Config::default().momentum(Some(momentum));
        let error = BatchNorm::<f64>::with_config(3, config).unwrap_err();
        assert!(matches!(error, Error::Momentum { .. }));
        names(&error, "from 0 to 1", &momentum.to_string());
    }
    // What no address space holds, and what no memory does.
    for features in [usize::MAX, 1 << 44] {
        let layer = BatchNorm::<f32>::new(features);
        assert_eq!(layer.unwrap_err(), Error::TooManyFeatures { got: features });
    }
}

#[test]
fn arrays_of_another_rank_or_width() {
    let mut bn = layer(3);
    let untouched = bn.running.clone();
    for dims in [vec![], vec![3]] {
        let x = ArrayD::<f32>::zeros(IxDyn(&dims));
        let error = bn.forward(&x).unwrap_err();
        assert_eq!(error, Error::Shape(ShapeError::Rank { got: dims.len() }));
        names(&error, "2 or more", &format!("rank {}", dims.len()));
    }
    let error = bn.forward(&Array2::zeros((8, 5))).unwrap_err();
    names(&error, "expected 3", "got 5");
    let error = bn.forward(&Array3::zeros((8, 5, 3))).unwrap_err();
    names(&error, "expected 3", "got 5");
    assert_eq!(bn.running, untouched);
}

#[test]
fn one_value_per_feature_has_no_spread() {
    let mut bn = layer(3);
    let untouched = bn.running.clone();
    let error = bn.forward(&Array2::zeros((1, 3))).unwrap_err();
    assert!(matches!(error, Error::OneValue { .. }));
    names(&error, "more than 1", "got 1");
    assert_eq!(bn.running, untouched);
    // Evaluation has statistics of its own, unless none are tracked.
    assert!(bn.forward_eval(&Array2::zeros((1, 3))).is_ok());
    let config = Config::default().track_running_stats(false);
    let bn = BatchNorm::<f32>::with_config(3, config).unwrap();
    assert!(matches!(bn.forward_eval(&Array2::zeros((1, 3))), Err(Error::OneValue { .. })));
    // A mask and ghost batches leave one in their own ways.
    let of = |options| {
        let mut bn = layer(3);
        let untouched = bn.running.clone();
        let error = bn.forward_with(&Array2::zeros((5, 3)), options).unwrap_err();
        assert_eq!(bn.running, untouched);
        error
    };
    let valid = array![false, true, false, false, false];
    names(
        &of(Options::default().mask(valid.view())),
        "more than 1",
        "got 1 that the mask leaves in the dimensions [5, 3]",
    );
    names(
        &of(Options::default().ghost(1)),
        "more than 1",
        "got 1 in a ghost batch of 1 sample of the dimensions [5, 3]",
    );
}

#[test]
fn an_empty_batch_is_no_error_and_leaves_the_statistics() {
    let mut bn = layer(3);
    let untouched = bn.running.clone();
    for dims in [vec![0, 3], vec![4, 3, 0], vec![0, 3, 5, 5]] {
        let x = ArrayD::<f32>::zeros(IxDyn(&dims));
        let (y, saved) = bn.forward(&x).unwrap();
        assert_eq!(y.shape(), dims);
        let g = bn.backward(&saved, &x, &y).unwrap();
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
    let (y, saved) = bn.forward(&x).unwrap();

    let short = Array2::zeros((3, 3));
    names(&bn.backward(&saved, &x, &short).unwrap_err(), "[4, 3]", "[3, 3]");
    names(&bn.backward(&saved, &short, &short).unwrap_err(), "x of the dimensions [4, 3]", "[3, 3]");

    let (_, frozen) = bn.forward_eval_saved(&x).unwrap();
    names(&bn.backward(&frozen, &x, &y).unwrap_err(), "training", "evaluation");
    names(&bn.backward_eval(&saved, &x, &y).unwrap_err(), "evaluation", "training");
    names(&bn.commit(&frozen).unwrap_err(), "training", "evaluation");

    let mut other = layer(4);
    let (_, of_other) = other.forward(&Array2::zeros((4, 4))).unwrap();
    names(&bn.backward(&of_other, &x, &y).unwrap_err(), "expected 3", "got 4");
    names(&bn.commit(&of_other).unwrap_err(), "expected 3", "got 4");
}

#[test]
fn parameters_replaced_by_others_that_do_not_fit() {
    let mut bn = layer(3);
    let x = array![[1.0, 2.0, 3.0], [4.0, -5.0, 6.0]];
    bn.weight = Array1::zeros(2);
    names(&bn.forward(&x).unwrap_err(), "3 elements in weight", "got 2");
    bn.weight = Array1::zeros(6).slice_move(ndarray::s![..;2]);
    names(&bn.forward(&x).unwrap_err(), "weight in contiguous memory", "stride");
    bn.weight = Array1::ones(3);
    bn.running.as_mut().unwrap().var = Array1::zeros(7);
    names(&bn.forward(&x).unwrap_err(), "3 elements in running_var", "got 7");
    assert_eq!(bn.running.as_ref().unwrap().num_batches_tracked, 0);
}

/// The whole message, in the dimensions of the caller.
fn says(error: &Error, text: &str) {
    assert_eq!(error.to_string(), text);
}

#[test]
fn arrays_in_another_layout_are_told_which_one_fits() {
    let mut first = layer(64);
    says(
        &first.forward(&Array4::zeros((8, 28, 28, 64))).unwrap_err(),
        "expected 64 features in x, got 28 in the dimensions [8, 28, 28, 64] (channels first): \
         the last axis has 64, which `Layout::ChannelsLast` would take",
    );
    says(
        &first.forward(&Array3::zeros((64, 8, 5))).unwrap_err(),
        "expected 64 features in x, got 8 in the dimensions [64, 8, 5] (channels first): \
         axis 0 has 64, and `permuted_axes` would move it",
    );
    says(
        &first.forward(&Array3::zeros((2, 8, 5))).unwrap_err(),
        "expected 64 features in x, got 8 in the dimensions [2, 8, 5] (channels first)",
    );
    let config = Config::default().layout(Layout::ChannelsLast);
    let last = BatchNorm::<f32>::with_config(64, config).unwrap();
    says(
        &last.forward_eval(&Array4::zeros((8, 64, 28, 28))).unwrap_err(),
        "expected 64 features in x, got 28 in the dimensions [8, 64, 28, 28] (channels last): \
         axis 1 has 64, which `Layout::ChannelsFirst` would take",
    );

    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let shape = Shape::nchw(8, 28, 28, 64).unwrap();
    says(
        &first.forward_into(shape, &[], &mut [], &mut saved, &mut workspace).unwrap_err(),
        "expected 64 features in x, got 28 in the shape (outer 8, features 28, inner 1792): \
         if the features come last in memory, `Shape::nhwc` and its like describe it",
    );

    let x = Array4::zeros((2, 64, 3, 5));
    let (_, saved) = first.forward(&x).unwrap();
    says(
        &layer(5).commit(&saved).unwrap_err(),
        "expected 5 features in the saved state, got 64 in the dimensions [2, 64, 3, 5] (channels first): \
         is it another layer's?",
    );
    says(
        &first.backward(&saved, &x, &Array4::zeros((2, 3, 5, 64))).unwrap_err(),
        "expected dy of the dimensions [2, 64, 3, 5], got [2, 3, 5, 64]: its axes come in another order",
    );
    let other = Array4::zeros((1, 64, 3, 5));
    says(
        &first.backward(&saved, &other, &other).unwrap_err(),
        "expected x of the dimensions [2, 64, 3, 5] (channels first), as its forward had it, \
         got the dimensions [1, 64, 3, 5] (channels first)",
    );
}

#[test]
fn one_sample_is_told_what_to_do() {
    let mut bn = layer(3);
    says(
        &bn.forward(&Array4::zeros((1, 3, 1, 1))).unwrap_err(),
        "expected more than 1 value per feature to take batch statistics, got 1 in the dimensions \
         [1, 3, 1, 1] (channels first): use `forward_eval`, drop the last incomplete batch, or take y = β \
         with `OneValue::Bias`",
    );
    let untracked = Config::default().track_running_stats(false);
    let untracked = BatchNorm::<f32>::with_config(3, untracked).unwrap();
    says(
        &untracked.forward_eval(&Array2::zeros((1, 3))).unwrap_err(),
        "expected more than 1 value per feature to take batch statistics, got 1 in the dimensions \
         [1, 3] (channels first): without running statistics, evaluation takes the batch's, \
         and `OneValue::Bias` makes y = β of one value",
    );
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let (shape, mut y) = (Shape::nc(1, 3).unwrap(), [7.0; 3]);
    says(
        &bn.forward_into(shape, &[1.0; 3], &mut y, &mut saved, &mut workspace).unwrap_err(),
        "expected more than 1 value per feature to take batch statistics, got 1 in the shape \
         (outer 1, features 3, inner 1): use `forward_eval`, drop the last incomplete batch, or take y = β \
         with `OneValue::Bias`",
    );
    assert_eq!((y, saved), ([7.0; 3], Saved::default()));
}

#[test]
fn an_empty_state_is_told_from_one_of_a_forward() {
    let mut bn = layer(3);
    let (empty, x) = (Saved::default(), Array2::zeros((4, 3)));
    let text = "expected the state that a forward saved, got an empty `Saved`: \
                run the forward first, with this `Saved`";
    says(&bn.backward(&empty, &x, &x).unwrap_err(), text);
    says(&bn.backward_eval(&empty, &x, &x).unwrap_err(), text);
    says(&bn.commit(&empty).unwrap_err(), text);
    let grads = Grads { dx: &mut [], dweight: &mut [7.0; 3], dbias: &mut [7.0; 3] };
    says(&bn.backward_into(&empty, &[], &[], grads, &mut Workspace::default()).unwrap_err(), text);
    let backend = DefaultBackend::default();
    let step = Backward { ..Backward::new(&[], &[]) };
    says(&functions::backward(&backend, step, &empty, &mut Workspace::default()).unwrap_err(), text);
    let commit = Commit::new(&mut [], &mut []);
    says(&functions::commit(&backend, &empty, commit).unwrap_err(), text);

    // That of an empty batch is none.
    let x = Array2::zeros((0, 3));
    let (_, saved) = bn.forward(&x).unwrap();
    assert!(bn.backward(&saved, &x, &x).is_ok());
    // The call that would have been right.
    says(
        &bn.backward_eval(&saved, &x, &x).unwrap_err(),
        "expected the saved state of a forward in evaluation mode, got one of training mode: `backward` takes it",
    );
}

/// A copy in another order of memory is the same x.
#[test]
fn a_backward_takes_x_however_it_lies_in_memory() {
    let memory =
        Array4::from_shape_fn((2, 4, 5, 3), |(n, h, w, c)| ((n * 7 + h * 3 + w * 5 + c) % 11) as f32);
    let view = memory.view().permuted_axes([0, 3, 1, 2]); // (N,C,H,W) of (N,H,W,C)
    let copy = view.as_standard_layout().into_owned();
    let mut bn = layer(3);
    for (x, other) in [(&view, &copy.view()), (&copy.view(), &view)] {
        let (y, saved) = bn.forward(x).unwrap();
        let g = bn.backward(&saved, x, &y).unwrap();
        assert_eq!(bn.backward(&saved, other, &y).unwrap(), g);
    }
}

#[test]
fn another_array_of_as_many_values_per_feature_is_not_the_forwards() {
    let mut bn = BatchNorm::<f32>::new(3).unwrap();
    let x = Array3::from_shape_fn((4, 3, 1), |(n, c, _)| (n * 3 + c) as f32);
    let (_, saved) = bn.forward(&x).unwrap();
    // In memory as the forward's: (2, 2, 3) with the features last.
    let other = x.into_shape_with_order((2, 2, 3)).unwrap().permuted_axes([0, 2, 1]);
    let error = bn.backward(&saved, &other, &other).unwrap_err();
    assert!(matches!(error, Error::SavedShape { .. }), "{error}");
}

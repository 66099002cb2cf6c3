//! Options that are wrong, that do not go with others, or that a backward needs.

use crate::common::{Inputs, message};
use batchnorm::functions::{Backward, Forward};
use batchnorm::{Activation, BatchNorm, Config, Error, Kept, Mode, Options, Saved, Shape, Workspace};
use ndarray::{Array1, Array2, Array3, array};

#[test]
fn a_slope_is_finite_and_not_below_0() {
    let mut bn = BatchNorm::<f32>::new(1).unwrap();
    let (x, before) = (array![[1.0], [3.0]], bn.running.clone());
    // The largest of them f64 has and f32 has not.
    for slope in [-0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39] {
        let options = Options::default().activation(Activation::LeakyRelu(slope));
        let text =
            format!("expected a slope that is finite in the type of arithmetic and 0 or more, got {slope}");
        assert_eq!(message(bn.forward_with(&x, options)), text);
        assert_eq!(message(bn.forward_eval_with(&x, options)), text);
        let (mut y, mut saved) = ([7.0; 2], Saved::default());
        let options = Options::default().activation(Activation::LeakyRelu(slope));
        let step = Forward { options, ..Forward::new(Shape::nc(2, 1).unwrap(), &[1.0, 3.0], &mut y[..]) };
        assert_eq!(message(bn.forward_step(step, &mut saved, &mut Workspace::default())), text);
        assert_eq!((y, saved), ([7.0; 2], Saved::default()));
    }
    assert_eq!(bn.running, before);
    // Those of no slope are ReLU.
    for slope in [0.0, -0.0, 1e-320] {
        let options = Options::default().activation(Activation::LeakyRelu(slope));
        assert_eq!(bn.forward_with(&x, options).unwrap().0[[0, 0]], 0.0);
    }
}

#[test]
fn tensors_of_other_sizes_are_named() {
    let mut bn = BatchNorm::<f32>::new(3).unwrap();
    let (x, mask) = (Array3::<f32>::ones((2, 3, 4)), Array2::from_elem((2, 4), true));
    let before = bn.running.clone();
    let (residual, turned) = (Array3::ones((2, 3, 5)), Array3::ones((2, 4, 3)));
    let (wide, long) = (Array2::from_elem((2, 3), true), Array2::from_elem((4, 2), true));
    let of = |bn: &mut BatchNorm<f32>, options| message(bn.forward_with(&x, options));
    let none = Options::default();
    assert_eq!(
        of(&mut bn, none.residual(residual.view())),
        "expected the residual of the dimensions [2, 3, 4], got [2, 3, 5]"
    );
    assert_eq!(
        of(&mut bn, none.residual(turned.view())),
        "expected the residual of the dimensions [2, 3, 4], got [2, 4, 3]: its axes come in another order"
    );
    assert_eq!(of(&mut bn, none.mask(wide.view())), "expected the mask of the dimensions [2, 4], got [2, 3]");
    assert_eq!(
        of(&mut bn, none.mask(long.view())),
        "expected the mask of the dimensions [2, 4], got [4, 2]: its axes come in another order"
    );
    assert_eq!(bn.running, before);

    let options = Options::default().residual(x.view()).activation(Activation::Relu).mask(mask.view());
    let (y, saved) = bn.forward_with(&x, options).unwrap();
    let of = |kept| message(bn.backward_with(&saved, &x, &x, kept));
    let kept = || Kept::default().mask(mask.view());
    assert_eq!(of(kept().y(residual.view())), "expected y of the dimensions [2, 3, 4], got [2, 3, 5]");
    assert_eq!(
        of(kept().residual(residual.view())),
        "expected the residual of the dimensions [2, 3, 4], got [2, 3, 5]"
    );
    assert_eq!(
        of(Kept::default().y(y.view()).mask(wide.view())),
        "expected the mask of the dimensions [2, 4], got [2, 3]"
    );

    // Slices by their lengths.
    let (shape, x, before) = (Shape::new(2, 3, 4).unwrap(), [1.0; 24], Saved::default());
    let (mut y, mut saved, mut workspace) = ([7.0; 24], Saved::default(), Workspace::default());
    let short = Options::default().residual(&x[..23]);
    for (options, text) in [
        (short, "expected 24 elements in the residual, got 23"),
        (Options::default().mask(&[true; 9][..]), "expected 8 elements in the mask, got 9"),
    ] {
        let step = Forward { options, ..Forward::new(shape, &x, &mut y[..]) };
        assert_eq!(message(bn.forward_step(step, &mut saved, &mut workspace)), text);
        assert_eq!((&saved, y), (&before, [7.0; 24]));
    }
    let step = Forward {
        options: Options::default().activation(Activation::Relu),
        ..Forward::new(shape, &x, &mut y[..])
    };
    bn.forward_step(step, &mut saved, &mut workspace).unwrap();
    let kept = [
        (Kept::default().y(&x[..3]), "expected 24 elements in y, got 3"),
        (Kept::default().mask(&[true; 7][..]), "expected 8 elements in the mask, got 7"),
    ];
    for (kept, text) in kept {
        let step = Backward { kept, ..Backward::new(&x, &x) };
        assert_eq!(message(bn.backward_step(step, &saved, &mut workspace)), text);
    }
    let step = Backward { dresidual: Some(&mut [0.0; 25]), ..Backward::new(&x, &x) };
    assert_eq!(
        message(bn.backward_step(step, &saved, &mut workspace)),
        "expected 24 elements in dresidual, got 25"
    );
}

/// An error, and nothing is written.
#[test]
fn a_backward_without_what_it_needs_writes_nothing() {
    let bn = BatchNorm::<f32>::new(2).unwrap();
    let shape = Shape::nc(4, 2).unwrap();
    let x: [f32; 8] = [1.0, 2.0, -1.0, 5.0, 0.0, 1.0, 2.0, 2.0];
    let [four, three, other] = [[true; 4], [true, true, true, false], [false, true, true, true]];
    let back = |options: Options<&[f32], &[bool]>, kept: Kept<&[f32], &[bool]>| {
        let (mut y, mut saved, mut workspace) = ([0.0; 8], Saved::default(), Workspace::default());
        let step = Forward { options, ..Forward::new(shape, &x, &mut y[..]) };
        bn.forward_uncommitted_step(step, &mut saved, &mut workspace).unwrap();
        let (mut dx, mut dresidual, mut dweight, mut dbias) = ([7.0; 8], [7.0; 8], [7.0; 2], [7.0; 2]);
        let step = Backward {
            kept,
            dx: Some((&mut dx[..]).into()),
            dresidual: Some(&mut dresidual),
            dweight: Some(&mut dweight),
            dbias: Some(&mut dbias),
            ..Backward::new(&x, &x)
        };
        let result = bn.backward_step(step, &saved, &mut workspace);
        let untouched = dx.iter().chain(&dresidual).chain(&dweight).chain(&dbias).all(|v| *v == 7.0);
        assert_eq!(result.is_err(), untouched);
        if let Err(error) = &result {
            assert!(matches!(error, Error::Options { .. }), "{error:?}");
        }
        result.map_or_else(|error| error.to_string(), |()| "fine".into())
    };
    let (none, kept) = (Options::default(), Kept::default());
    let relu = none.activation(Activation::Relu);
    let neither = "expected y or the residual, as the forward had an activation and a residual, got neither";
    assert_eq!(back(relu.residual(&x), kept), neither);
    assert_eq!(back(none.residual(&x), kept), "fine");
    assert_eq!(back(relu, kept), "fine");
    assert_eq!(back(none.mask(&four), kept), "expected the mask of the forward, got none");
    assert_eq!(back(none, kept.mask(&four)), "expected no mask, as the forward had none, got one");
    let counts = "expected the mask of the forward, with 3 valid positions, got one with 4";
    assert_eq!(back(relu.mask(&three), kept.mask(&four)), counts);
    let counts = "expected the mask of the forward, with 4 valid positions, got one with 3";
    assert_eq!(back(none.mask(&four), kept.mask(&other)), counts);
    assert_eq!(back(none.mask(&three), kept.mask(&other)), "fine", "as many");
    // What was not added would tell another gate.
    let extra = "expected no residual, as the forward had none, got one";
    assert_eq!(back(relu, kept.residual(&x)), extra);
    assert_eq!(back(none, kept.residual(&x)), extra);
}

/// The backwards without options refuse what needs some.
#[test]
fn the_plain_backwards_take_what_needs_nothing_kept() {
    let mut bn = BatchNorm::<f32>::new(1).unwrap();
    let (x, mask) = (array![[1.0], [3.0], [5.0]], array![true, true, true]);
    let (y, saved) = bn.forward_with(&x, Options::default().activation(Activation::Relu)).unwrap();
    let want = bn.backward_with(&saved, &x, &x, Kept::default().y(y.view())).unwrap();
    assert_eq!(bn.backward(&saved, &x, &x).unwrap(), want);
    let (_, saved) = bn.forward_with(&x, Options::default().mask(mask.view())).unwrap();
    assert!(matches!(bn.backward(&saved, &x, &x), Err(Error::Options { .. })));
    let (_, saved) = bn.forward_eval_with(&x, Options::default().mask(mask.view())).unwrap();
    assert!(matches!(bn.backward_eval(&saved, &x, &x), Err(Error::Options { .. })));
}

/// What the layer is given may change between the steps. The gate is then that of what it is given.
#[test]
fn parameters_that_changed_are_taken_as_they_are() {
    let mut inputs = Inputs::<f32>::hard([9, 24, 5], Config::default());
    let (y, saved) = inputs.forward(Mode::Train, inputs.options(Activation::Relu6, [false, false]));
    inputs.bn.weight.mapv_inplace(|v| v * -1e30);
    inputs.bn.bias.fill(f32::NAN);
    let kept = Kept::default().residual(y.view());
    assert!(inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, Kept::default()).is_ok());
    assert!(inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, Kept::default().y(y.view())).is_ok());
    assert!(matches!(
        inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, kept),
        Err(Error::Options { .. })
    ));
    inputs.bn.bias = Array1::zeros(3);
    let text = message(inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, Kept::default()));
    assert_eq!(text, "expected 24 elements in bias, got 3");
}

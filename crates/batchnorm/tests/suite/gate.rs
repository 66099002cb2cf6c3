//! Gates of activations in particular: corners, what is not finite, what is asked for, and gradients by differences.

use crate::common::{Inputs, bits_of, exact, number, passed};
use batchnorm::functions::{Backward, Forward};
use batchnorm::{Activation, BatchNorm, Config, Element, Kept, Mode, Options, Saved, Shape, Workspace};
use half::{bf16, f16};
use ndarray::{Array1, Array2, Zip};

const SHAPES: [[usize; 3]; 4] = [[9, 13, 5], [41, 26, 1], [3, 12, 130], [2, 12, 2051]];

/// A layer in evaluation whose y is γ·x + β, to the last bit: running mean 0, and variance 1 − eps.
fn straight<T: Element>(weight: &[f64], bias: &[f64]) -> BatchNorm<T> {
    let config = Config::default().eps(0.5);
    let mut bn = BatchNorm::<T>::with_config(weight.len(), config).unwrap();
    let numbers = |of: &[f64]| of.iter().map(|v| number(*v)).collect();
    (bn.weight, bn.bias) = (numbers(weight), numbers(bias));
    bn.running.as_mut().unwrap().var.fill(number(0.5));
    bn
}

/// The dx of a dy of ones, told by y and computed again. γ and invstd are 1, so that it is what passes.
fn passes<T: Element>(bn: &BatchNorm<T>, activation: Activation, x: &Array2<T>) -> (Vec<f64>, Vec<f64>) {
    let (y, saved) = bn.forward_eval_with(x, Options::default().activation(activation)).unwrap();
    let ones = x.mapv(|_| number::<T>(1.0));
    let [by_y, again] = [Kept::default().y(y.view()), Kept::default()]
        .map(|kept| bn.backward_with(&saved, x, &ones, kept).unwrap().dx);
    assert_eq!(bits_of(&by_y), bits_of(&again), "{} {activation:?} at {x:?}", T::NAME);
    let exactly = |of: &Array2<T>| of.iter().map(|v| exact(*v)).collect();
    (exactly(&y), exactly(&again))
}

fn corners_are_closed<T: Element>() {
    let bn = straight::<T>(&[1.0], &[0.0]);
    let of = |values: &[f64]| {
        Array2::from_shape_vec((values.len(), 1), values.iter().map(|v| number(*v)).collect()).unwrap()
    };
    let x = of(&[-1.0, -0.0, 0.0, 0.5, 5.5, 6.0, 7.0]);
    assert_eq!(passes(&bn, Activation::Relu, &x).1, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], "{}", T::NAME);
    assert_eq!(passes(&bn, Activation::Relu6, &x).1, [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], "{}", T::NAME);
    let leaky = Activation::LeakyRelu(0.25);
    assert_eq!(passes(&bn, leaky, &x).1, [0.25, 0.25, 0.25, 1.0, 1.0, 1.0, 1.0], "{}", T::NAME);
}

#[test]
fn at_a_corner_the_gradient_is_that_of_the_side_cut_off() {
    corners_are_closed::<f32>();
    corners_are_closed::<f64>();
    corners_are_closed::<f16>();
    corners_are_closed::<bf16>();
}

/// `above` is the least number over 1 that f32 has next to half of the least number of T, times that.
///
/// x·γ + β in f32 that rounds to 0 or to 6 in the element type, and the next that does not.
fn rounded_corners<T: Element<Compute = f32>>(least: i32, step: i32, above: f64) {
    let (least, step) = (2f64.powi(least), 2f64.powi(step));
    let x = Array2::from_elem((3, 4), number::<T>(1.0));
    let weight = [0.5 * least, 0.5 * least * above, 0.25 * least, least];
    // Of what is so small, dx is 0 too: what passes is dresidual's.
    let bn = straight::<T>(&weight, &[0.0; 4]);
    for activation in [Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.5)] {
        let (y, saved) = bn.forward_eval_with(&x, Options::default().activation(activation)).unwrap();
        let open: Vec<bool> = y.row(0).iter().map(|y| exact(*y) > 0.0).collect();
        assert_eq!(open, [false, true, false, true], "{} {activation:?}: {y:?}", T::NAME);
        let ones = x.mapv(|_| number::<T>(1.0));
        for kept in [Kept::default().y(y.view()), Kept::default()] {
            let g = bn.backward_with(&saved, &x, &ones, kept).unwrap();
            let shut = if let Activation::LeakyRelu(slope) = activation { slope } else { 0.0 };
            let want = open.iter().map(|open| if *open { 3.0 } else { 3.0 * shut as f32 });
            assert_eq!(g.dbias, want.collect::<Array1<f32>>(), "{} {activation:?}", T::NAME);
        }
    }
    let x = Array2::from_elem((3, 4), number::<T>(0.0));
    let bias = [6.0 - step / 2.0, (6.0 - step / 2.0) * (1.0 - 2f64.powi(-23)), 6.0 + step, 6.0 - step];
    let bn = straight::<T>(&[1.0; 4], &bias);
    let (y, dx) = passes(&bn, Activation::Relu6, &x);
    assert_eq!(y[..4], [6.0, 6.0 - step, 6.0, 6.0 - step], "{}", T::NAME);
    assert_eq!(dx[..4], [0.0, 1.0, 0.0, 1.0], "{}", T::NAME);
}

#[test]
fn half_types_round_before_they_compare() {
    rounded_corners::<f16>(-24, -8, 1.0 + 2f64.powi(-23));
    rounded_corners::<bf16>(-133, -5, 1.0 + 2f64.powi(-15));
}

/// A slope above 1 makes a number of what rounds to 0. It stays on its side.
#[test]
fn a_steep_slope_tells_its_gate_by_y_as_by_x() {
    let x = Array2::from_elem((3, 3), f16::from_f32(1.0));
    let bn = straight::<f16>(&[2f64.powi(-26), -2f64.powi(-26), 2f64.powi(-24)], &[0.0; 3]);
    for slope in [1.0, 2.0, 1e3] {
        passes(&bn, Activation::LeakyRelu(slope), &x);
        let options = Options::default().activation(Activation::LeakyRelu(slope));
        let (y, saved) = bn.forward_eval_with(&x, options).unwrap();
        let ones = x.mapv(|_| f16::from_f32(1.0));
        let [by_y, again] = [Kept::default().y(y.view()), Kept::default()]
            .map(|kept| bn.backward_with(&saved, &x, &ones, kept).unwrap().dbias);
        assert_eq!(by_y, again, "{slope}: {y}");
    }
}

fn non_finite_values_stay_in_their_feature<T: Element>() {
    for mode in [Mode::Train, Mode::Eval] {
        for dims in SHAPES {
            let mut inputs = Inputs::<T>::plain(dims, Config::default());
            let options = inputs.options(Activation::Relu, [false, false]);
            let (clean, clean_saved) = inputs.forward(mode, options);
            let want = inputs.bn.backward_with(&clean_saved, &inputs.x, &inputs.dy, Kept::default()).unwrap();
            // Behind a gate that is shut a gradient may be anything.
            let mut dy = inputs.dy.clone();
            let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            let mut shut = 0;
            Zip::from(&mut dy).and(&clean).for_each(|dy, y| {
                if *y <= T::default() {
                    *dy = number(odd[shut % 3]);
                    shut += 1;
                }
            });
            assert!(shut > 10);
            for kept in [Kept::default(), Kept::default().y(clean.view())] {
                let g = inputs.bn.backward_with(&clean_saved, &inputs.x, &dy, kept).unwrap();
                assert_eq!(bits_of(&g.dx), bits_of(&want.dx), "{} {mode} {dims:?}", T::NAME);
                assert_eq!(bits_of(&g.dweight), bits_of(&want.dweight), "{} {mode} {dims:?}", T::NAME);
                assert_eq!(bits_of(&g.dbias), bits_of(&want.dbias), "{} {mode} {dims:?}", T::NAME);
            }
            // A NaN in x passes, in its feature alone.
            inputs.x[[1, 2, 0]] = number(f64::NAN);
            for activation in [Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.1)] {
                let (y, saved) = inputs.forward(mode, inputs.options(activation, [false, false]));
                assert!(exact(y[[1, 2, 0]]).is_nan(), "{} {activation:?} {mode}", T::NAME);
                for kept in [Kept::default(), Kept::default().y(y.view())] {
                    let g = inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, kept).unwrap();
                    for ((_, c, _), v) in y.indexed_iter().chain(g.dx.indexed_iter()) {
                        assert!(c == 2 || !exact(*v).is_nan(), "{} {activation:?} {mode} {c}", T::NAME);
                    }
                    // Its gate is open, as PyTorch has it: in training every dx of the feature is NaN.
                    let own = exact(g.dx[[1, 2, 0]]);
                    assert_eq!(own.is_nan(), mode == Mode::Train, "{} {activation:?} {mode}: {own}", T::NAME);
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_feature() {
    non_finite_values_stay_in_their_feature::<f32>();
    non_finite_values_stay_in_their_feature::<f64>();
    non_finite_values_stay_in_their_feature::<f16>();
    non_finite_values_stay_in_their_feature::<bf16>();
}

/// What slices of a backward hold, as bits, when only some are asked for. Of what is not asked for the mark stays.
type Slices = [Vec<u64>; 4];

fn slices<T: Element>(
    inputs: &Inputs<T>,
    mode: Mode,
    activation: Activation,
    [plus, masked, by_y]: [bool; 3],
    wanted: [bool; 4],
) -> Slices {
    let [x, dy, residual] = [&inputs.x, &inputs.dy, &inputs.residual].map(|of| of.as_slice().unwrap());
    let mask = masked.then(|| inputs.mask.as_slice().unwrap());
    let (n, c, l) = inputs.x.dim();
    let shape = Shape::new(n, c, l).unwrap();
    let mark = number::<T>(77.0);
    let (mut y, mut saved, mut workspace) = (vec![mark; x.len()], Saved::default(), Workspace::default());
    let mut options = Options::default().activation(activation);
    (options.residual, options.mask) = (plus.then_some(residual), mask);
    let step = Forward { options, ..Forward::new(shape, x, &mut y[..]) };
    match mode {
        Mode::Train => inputs.bn.forward_uncommitted_step(step, &mut saved, &mut workspace),
        Mode::Eval => inputs.bn.forward_eval_step(step, &mut saved, &mut workspace),
    }
    .unwrap();
    let mut kept = Kept::default();
    kept.mask = mask;
    if by_y {
        kept.y = Some(&y[..]);
    } else {
        kept.residual = plus.then_some(residual);
    }
    let (mut dx, mut dresidual) = (vec![mark; x.len()], vec![mark; x.len()]);
    let real = mark.to_compute();
    let (mut dweight, mut dbias) = (vec![real; c], vec![real; c]);
    let step = Backward {
        kept,
        dx: wanted[0].then_some((&mut dx[..]).into()),
        dresidual: wanted[1].then_some(&mut dresidual),
        dweight: wanted[2].then_some(&mut dweight),
        dbias: wanted[3].then_some(&mut dbias),
        ..Backward::new(x, dy)
    };
    inputs.bn.backward_step(step, &saved, &mut workspace).unwrap();
    [bits_of(&dx), bits_of(&dresidual), bits_of(&dweight), bits_of(&dbias)]
}

/// Each gradient has its bits whatever else is asked for, dresidual without a residual among them: it is what passes.
fn what_is_asked_for<T: Element>() {
    for dims in SHAPES {
        let inputs = Inputs::<T>::plain(dims, Config::default());
        let len = |i: usize| if i < 2 { inputs.x.len() } else { dims[1] };
        for (mode, activation) in [Mode::Train, Mode::Eval].into_iter().flat_map(|mode| {
            [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.1)].map(|of| (mode, of))
        }) {
            for options in 0..8 {
                let options = [0, 1, 2].map(|bit| options >> bit & 1 == 1);
                let [plus, masked, _] = options;
                let all = slices(&inputs, mode, activation, options, [true; 4]);
                let (y, _) = inputs.forward(mode, inputs.options(activation, [plus, masked]));
                let mut through = inputs.dy.clone();
                Zip::indexed(&mut through).and(&y).for_each(|(n, _, l), dy, y| {
                    *dy = if masked && !inputs.mask[[n, l]] {
                        T::default()
                    } else {
                        passed(activation, *y, *dy)
                    };
                });
                let name = format!("{} {dims:?} {mode} {activation:?} {options:?}", T::NAME);
                assert!(all[1] == bits_of(&through), "{name}: dresidual");
                for wanted in 0..16 {
                    let wanted = [0, 1, 2, 3].map(|bit| wanted >> bit & 1 == 1);
                    let own = slices(&inputs, mode, activation, options, wanted);
                    for i in 0..4 {
                        let mark = vec![77f64.to_bits(); len(i)];
                        let want = if wanted[i] { &all[i] } else { &mark };
                        assert!(own[i] == *want, "{name} {wanted:?}: {i}");
                    }
                }
            }
        }
    }
}

#[test]
fn each_gradient_has_its_bits_whatever_else_is_asked_for() {
    what_is_asked_for::<f32>();
    what_is_asked_for::<f64>();
    what_is_asked_for::<f16>();
}

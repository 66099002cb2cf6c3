//! Steps with an activation and a residual: the plain step, with the activation written down behind it.

use crate::common::{Inputs, activated, bits_of, exact, in_order, passed, tensor};
use batchnorm::{Activation, Config, Element, Kept, Layout, Mode, Options};
use half::{bf16, f16};
use ndarray::{Axis, Zip};

const ACTIVATIONS: [Activation; 5] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu(0.01),
    Activation::LeakyRelu(0.25),
    Activation::Identity,
];
const LAYOUTS: [Layout; 2] = [Layout::ChannelsFirst, Layout::ChannelsLast];
const MODES: [Mode; 2] = [Mode::Train, Mode::Eval];

/// Short and long runs, values side by side.
const SHAPES: [[usize; 3]; 4] = [[9, 13, 5], [41, 26, 1], [3, 12, 130], [2, 12, 2051]];

/// Every layer and tensor there is, in words, with each activation.
fn all<T: Element>(run: impl Fn(&Inputs<T>, Activation, Mode, &str)) {
    for layout in LAYOUTS {
        for dims in SHAPES {
            for eps in [1e-5, 1e-300] {
                let config = Config::default().layout(layout).eps(eps);
                for (inputs, kind) in
                    [(Inputs::plain(dims, config), "plain"), (Inputs::hard(dims, config), "hard")]
                {
                    for activation in ACTIVATIONS {
                        for mode in MODES {
                            let name =
                                format!("{} {kind} {activation:?} {mode} {dims:?} {layout} {eps}", T::NAME);
                            run(&inputs, activation, mode, &name);
                        }
                    }
                }
            }
        }
    }
}

/// Whether values are in a wider type where a slope comes: those of half types, and of hard features. They are rounded behind it.
fn is_wider<T: Element>(activation: Activation, name: &str) -> bool {
    (size_of::<T>() == 2 || name.contains("hard")) && matches!(activation, Activation::LeakyRelu(_))
}

fn forward_is_plain_then_activation<T: Element>() {
    all::<T>(|inputs, activation, mode, name| {
        for masked in [false, true] {
            let (plain, plain_saved) =
                inputs.forward(mode, inputs.options(Activation::Identity, [false, masked]));
            let (y, saved) = inputs.forward(mode, inputs.options(activation, [false, masked]));
            assert_eq!(bits_of(saved.mean()), bits_of(plain_saved.mean()), "{name}");
            assert_eq!(bits_of(saved.var()), bits_of(plain_saved.var()), "{name}");
            if !is_wider::<T>(activation, name) {
                assert_eq!(bits_of(&y), bits_of(&plain.mapv(|v| activated(activation, v))), "{name}");
            }
            // A residual is added to the same value, whatever comes after.
            let (plain, _) = inputs.forward(mode, inputs.options(Activation::Identity, [true, masked]));
            let (y, saved) = inputs.forward(mode, inputs.options(activation, [true, masked]));
            assert_eq!(bits_of(saved.mean()), bits_of(plain_saved.mean()), "{name}");
            if !is_wider::<T>(activation, name) {
                assert_eq!(bits_of(&y), bits_of(&plain.mapv(|v| activated(activation, v))), "{name}");
            }
        }
    });
}

#[test]
fn the_forward_is_the_plain_one_and_then_the_activation() {
    forward_is_plain_then_activation::<f32>();
    forward_is_plain_then_activation::<f64>();
    forward_is_plain_then_activation::<f16>();
    forward_is_plain_then_activation::<bf16>();
}

/// Half types round behind the slope: once, from the value that a layer of f32 has.
fn a_slope_comes_before_the_rounding<T: Element<Compute = f32>>() {
    for (dims, mode) in SHAPES.into_iter().flat_map(|dims| MODES.map(|mode| (dims, mode))) {
        let config = Config::default();
        let (inputs, mut wide) = (Inputs::<T>::plain(dims, config), Inputs::<f32>::plain(dims, config));
        wide.x = inputs.x.mapv(T::to_compute);
        wide.residual = inputs.residual.mapv(T::to_compute);
        for (slope, plus) in [(0.01, false), (0.25, true), (0.7, true), (0.0, false)] {
            let activation = Activation::LeakyRelu(slope);
            let (y, _) = inputs.forward(mode, inputs.options(activation, [plus, false]));
            let (want, _) = wide.forward(mode, wide.options(activation, [plus, false]));
            assert_eq!(bits_of(&y), bits_of(&want.mapv(T::from_compute)), "{} {dims:?} {slope}", T::NAME);
        }
    }
}

#[test]
fn half_types_round_once_behind_a_slope() {
    a_slope_comes_before_the_rounding::<f16>();
    a_slope_comes_before_the_rounding::<bf16>();
}

/// y + r is (x−k)·a + (b + r): within the contract's 4.01 units of the sizes of the terms, 1.001 where half types round.
/// The plain layer that it is held to is one of f64; for f64 it has an error of its own.
fn residual_is_added<T: Element>(unit: f64, limit: f64) {
    for (dims, mode) in SHAPES.into_iter().flat_map(|dims| MODES.map(|mode| (dims, mode))) {
        for layout in LAYOUTS {
            let config = Config::default().layout(layout);
            let (inputs, mut wide) = (Inputs::<T>::plain(dims, config), Inputs::<f64>::plain(dims, config));
            wide.x = inputs.x.mapv(exact);
            let numbers = |of: &ndarray::Array1<T::Compute>| of.mapv(exact);
            (wide.bn.weight, wide.bn.bias) = (numbers(&inputs.bn.weight), numbers(&inputs.bn.bias));
            let (running, own) = (wide.bn.running.as_mut().unwrap(), inputs.bn.running.as_ref().unwrap());
            (running.mean, running.var) = (numbers(&own.mean), numbers(&own.var));
            let (plain, _) = wide.forward(mode, Options::default());
            let (y, _) = inputs.forward(mode, inputs.options(Activation::Identity, [true, false]));
            let [plain, y, plus] = [plain, y.mapv(exact), inputs.residual.mapv(exact)];
            let [plain, y, plus] = [&plain, &y, &plus].map(|of| in_order(of, layout));
            for c in 0..dims[1] {
                let [plain, y, plus] = [&plain, &y, &plus].map(|of| of.index_axis(Axis(1), c));
                let most = |of: &mut dyn Iterator<Item = f64>| of.fold(0.0, |most: f64, v| most.max(v.abs()));
                let beta = wide.bn.bias[c];
                let scale =
                    most(&mut plain.iter().map(|v| v - beta)) + beta.abs() + most(&mut plus.iter().copied());
                let error = most(&mut (&(&plain + &plus) - &y).iter().copied()) / (unit * scale);
                assert!(error <= limit, "{} {dims:?} {mode} {layout}: {error} for feature {c}", T::NAME);
            }
        }
    }
}

#[test]
fn a_residual_is_added_before_the_activation() {
    residual_is_added::<f32>(2f64.powi(-24), 4.01);
    residual_is_added::<f64>(2f64.powi(-53), 8.02);
    residual_is_added::<f16>(2f64.powi(-11), 1.001);
    residual_is_added::<bf16>(2f64.powi(-8), 1.001);
}

/// The plain backward of what passes, whatever the gate is told by.
fn backward_is_plain_of_what_passes<T: Element>() {
    all::<T>(|inputs, activation, mode, name| {
        for masked in [false, true] {
            let kept = || {
                let mut kept = Kept::default();
                kept.mask = masked.then(|| inputs.mask.view());
                kept
            };
            let (_, plain) = inputs.forward(mode, inputs.options(Activation::Identity, [false, masked]));
            for plus in [false, true] {
                let (y, saved) = inputs.forward(mode, inputs.options(activation, [plus, masked]));
                let mut through = inputs.dy.clone();
                Zip::from(&mut through).and(&y).for_each(|dy, y| *dy = passed(activation, *y, *dy));
                let want = inputs.backward(&plain, &through, kept()).0;
                if masked {
                    let layout = inputs.bn.config().layout;
                    let turned = in_order(&through, layout).to_owned();
                    through = tensor(turned.dim().into(), layout, |n, c, l| {
                        if inputs.mask[[n, l]] { turned[[n, c, l]] } else { T::default() }
                    });
                }
                let through = plus.then(|| bits_of(&through));
                let by_y = inputs.backward(&saved, &inputs.dy, kept().y(y.view()));
                assert_eq!(by_y.0, want, "{name} residual {plus} mask {masked}: told by y");
                assert_eq!(by_y.1, through, "{name} mask {masked}: dresidual");
                let again = if plus { kept().residual(inputs.residual.view()) } else { kept() };
                let again = inputs.backward(&saved, &inputs.dy, again);
                assert_eq!(again, by_y, "{name} residual {plus} mask {masked}: told again");
            }
        }
    });
}

#[test]
fn the_backward_is_the_plain_one_of_what_passes_f32() {
    backward_is_plain_of_what_passes::<f32>();
}

#[test]
fn the_backward_is_the_plain_one_of_what_passes_f64() {
    backward_is_plain_of_what_passes::<f64>();
}

#[test]
fn the_backward_is_the_plain_one_of_what_passes_f16() {
    backward_is_plain_of_what_passes::<f16>();
}

#[test]
fn the_backward_is_the_plain_one_of_what_passes_bf16() {
    backward_is_plain_of_what_passes::<bf16>();
}

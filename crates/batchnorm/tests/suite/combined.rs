//! Options in every combination: gradients by differences, stored states, frozen layers, threads.

use crate::common::{Inputs, bits_of};
use batchnorm::parts::Moments;
use batchnorm::{
    Activation, BatchNorm, Config, Element, Frozen, Kept, Layout, Mode, Options, Recalibrate, Saved,
};
use half::{bf16, f16};
use ndarray::array;

const LAYOUTS: [Layout; 2] = [Layout::ChannelsFirst, Layout::ChannelsLast];
const MODES: [Mode; 2] = [Mode::Train, Mode::Eval];
const ACTIVATIONS: [Activation; 4] =
    [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.1)];

/// Σ w·y for the weights w = dy.
fn loss(inputs: &Inputs<f64>, mode: Mode, activation: Activation, with: [bool; 2]) -> f64 {
    let (y, _) = inputs.forward(mode, inputs.options(activation, with));
    (&y * &inputs.dy).sum()
}

/// The derivative along each number of what `of` finds: central differences of h = 10⁻⁶ are off by h²/6 of a third derivative, and
/// by 10⁻¹⁶/h of a loss of a few tens: together below 10⁻⁸ of numbers around 1, with room for γ/σ of a few.
fn by_differences(
    inputs: &mut Inputs<f64>,
    loss: impl Fn(&Inputs<f64>) -> f64,
    of: impl Fn(&mut Inputs<f64>) -> &mut [f64],
) -> Vec<f64> {
    const H: f64 = 1e-6;
    (0..of(inputs).len())
        .map(|i| {
            let v = of(inputs)[i];
            let at = |inputs: &mut Inputs<f64>, v: f64| {
                of(inputs)[i] = v;
                loss(inputs)
            };
            let (up, down) = (at(inputs, v + H), at(inputs, v - H));
            of(inputs)[i] = v;
            (up - down) / (2.0 * H)
        })
        .collect()
}

#[test]
fn gradients_are_those_of_differences() {
    for (dims, layout) in [
        ([6, 3, 1], Layout::ChannelsFirst),
        ([3, 2, 5], Layout::ChannelsFirst),
        ([3, 2, 5], Layout::ChannelsLast),
    ] {
        for (mode, activation) in MODES.into_iter().flat_map(|mode| ACTIVATIONS.map(|of| (mode, of))) {
            for with in [[false, false], [true, false], [false, true], [true, true]] {
                let mut inputs = Inputs::<f64>::plain(dims, Config::default().layout(layout));
                // Values on both sides of 6 as well.
                inputs.bn.bias += 2.0;
                inputs.bn.weight *= 3.0;
                let plain = inputs.forward(mode, inputs.options(Activation::Identity, with)).0;
                let near = |v: &f64| v.abs().min((v - 6.0).abs()) < 1e-4;
                assert!(activation == Activation::Identity || with[1] || !plain.iter().any(near));
                let (y, saved) = inputs.forward(mode, inputs.options(activation, with));
                let mut kept = Kept::default().y(y.view());
                kept.mask = with[1].then(|| inputs.mask.view());
                let g = inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, kept).unwrap();
                let name = format!("{activation:?} {dims:?} {layout} {mode} {with:?}");
                let of = |inputs: &Inputs<f64>| loss(inputs, mode, activation, with);
                let close = |what: &str, own: &[f64], want: Vec<f64>| {
                    let worst = own.iter().zip(&want).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
                    assert!(own.len() == want.len() && worst < 1e-6, "{name} {what}: {own:?} {want:?}");
                };
                close(
                    "dx",
                    g.dx.as_slice().unwrap(),
                    by_differences(&mut inputs, of, |i| i.x.as_slice_mut().unwrap()),
                );
                close(
                    "dγ",
                    g.dweight.as_slice().unwrap(),
                    by_differences(&mut inputs, of, |i| i.bn.weight.as_slice_mut().unwrap()),
                );
                close(
                    "dβ",
                    g.dbias.as_slice().unwrap(),
                    by_differences(&mut inputs, of, |i| i.bn.bias.as_slice_mut().unwrap()),
                );
                if let Some(dresidual) = &g.dresidual {
                    close(
                        "dresidual",
                        dresidual.as_slice().unwrap(),
                        by_differences(&mut inputs, of, |i| i.residual.as_slice_mut().unwrap()),
                    );
                }
            }
        }
    }
}

/// Saved, by way of formats, gives the same backward, whatever the forward had.
fn states_come_back<T: Element>() {
    for (layout, mode) in LAYOUTS.into_iter().flat_map(|layout| MODES.map(|mode| (layout, mode))) {
        for activation in ACTIVATIONS {
            for with in [[false, false], [true, false], [false, true], [true, true]] {
                let mut inputs = Inputs::<T>::hard([5, 12, 3], Config::default().layout(layout));
                for frozen in [Frozen::Nothing, Frozen::Statistics] {
                    inputs.bn.set_frozen(frozen).unwrap();
                    let (y, saved) = inputs.forward(mode, inputs.options(activation, with));
                    let text = serde_json::to_string(&saved).unwrap();
                    let of_json: Saved<T> = serde_json::from_str(&text).unwrap();
                    let of_bytes: Saved<T> =
                        postcard::from_bytes(&postcard::to_stdvec(&saved).unwrap()).unwrap();
                    let mut kept = Kept::default().y(y.view());
                    kept.mask = with[1].then(|| inputs.mask.view());
                    let want = inputs.backward(&saved, &inputs.dy, kept);
                    for back in [of_json, of_bytes] {
                        assert_eq!(serde_json::to_string(&back).unwrap(), text);
                        assert!(inputs.backward(&back, &inputs.dy, kept) == want, "{activation:?} {with:?}");
                        let without = inputs.bn.backward_with(&back, &inputs.x, &inputs.dy, Kept::default());
                        let needs = with[1] || with[0] && activation != Activation::Identity;
                        assert_eq!(without.is_err(), needs, "{activation:?} {with:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_state_comes_back_with_its_options() {
    states_come_back::<f32>();
    states_come_back::<f64>();
    states_come_back::<f16>();
    states_come_back::<bf16>();
}

/// Frozen statistics make a training step an evaluation's, and leave the running ones, with any options.
fn frozen_is_evaluation<T: Element>() {
    for (layout, activation) in LAYOUTS.into_iter().flat_map(|layout| ACTIVATIONS.map(|of| (layout, of))) {
        for with in [[false, false], [true, false], [false, true], [true, true]] {
            let mut inputs = Inputs::<T>::hard([41, 13, 3], Config::default().layout(layout));
            let kept = |inputs: &Inputs<T>, saved: &Saved<T>| {
                let mut kept = Kept::default();
                kept.residual = with[0].then(|| inputs.residual.view());
                kept.mask = with[1].then(|| inputs.mask.view());
                inputs.backward(saved, &inputs.dy, kept)
            };
            let (want, saved) = inputs.forward(Mode::Eval, inputs.options(activation, with));
            let want = (bits_of(&want), kept(&inputs, &saved));
            inputs.bn.set_frozen(Frozen::Statistics).unwrap();
            let (y, saved) = inputs.forward(Mode::Train, inputs.options(activation, with));
            let own = (bits_of(&y), kept(&inputs, &saved));
            assert!(own == want, "{} {activation:?} {with:?} {layout}", T::NAME);
            let before = inputs.bn.running.clone();
            inputs.bn.commit(&saved).unwrap();
            assert_eq!(inputs.bn.running, before);
        }
    }
}

#[test]
fn frozen_statistics_make_a_training_step_an_evaluations() {
    frozen_is_evaluation::<f32>();
    frozen_is_evaluation::<f64>();
    frozen_is_evaluation::<f16>();
}

/// What is recalibrated from a masked forward counts the valid values.
#[test]
fn moments_of_a_masked_forward_count_what_is_valid() {
    let mut bn = BatchNorm::<f64>::new(1).unwrap();
    let (x, mask) = (array![[1.0], [f64::NAN], [5.0]], array![true, false, true]);
    let (_, saved) = bn.forward_with(&x, Options::default().mask(mask.view())).unwrap();
    let (_, other) = bn.forward(&array![[3.0], [3.0], [3.0], [3.0]]).unwrap();
    let moments = Moments::of_saved(&saved).unwrap();
    assert_eq!((moments.count(), moments.mean()), (2, vec![3.0]));
    let mut all = Recalibrate::default();
    all.add(&saved).unwrap();
    all.add(&other).unwrap();
    let mut moments = moments;
    moments.merge(&Moments::of_saved(&other).unwrap()).unwrap();
    assert_eq!(moments.var(), [8.0 / 6.0]);
}

/// Tensors that are shared out, by features and by rows, with features of every kind: threads change no bit.
fn threads_change_nothing<T: Element>() {
    let all = [
        ([8, 96, 400], Layout::ChannelsFirst),
        ([8, 100, 196], Layout::ChannelsLast),
        ([1500, 160, 1], Layout::ChannelsFirst),
        ([60_000, 2, 1], Layout::ChannelsFirst),
    ];
    let pools =
        [1, 2, 3, 7].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for (dims, layout) in all {
        let inputs = Inputs::<T>::hard(dims, Config::default().layout(layout));
        for (i, (activation, masked)) in
            ACTIVATIONS.into_iter().flat_map(|of| [false, true].map(|masked| (of, masked))).enumerate()
        {
            let (plus, mode) = (i % 3 != 1, MODES[i % 2]);
            let step = || {
                let (y, saved) = inputs.forward(mode, inputs.options(activation, [plus, masked]));
                let mut kept = Kept::default();
                kept.residual = plus.then(|| inputs.residual.view());
                kept.mask = masked.then(|| inputs.mask.view());
                (bits_of(&y), bits_of(saved.invstd()), inputs.backward(&saved, &inputs.dy, kept))
            };
            let [one, others @ ..] = pools.each_ref().map(|pool| pool.install(step));
            for own in others {
                assert!(own == one, "{} {dims:?} {activation:?} residual {plus} mask {masked}", T::NAME);
            }
        }
    }
}

#[test]
fn threads_change_no_bit_of_a_step_with_options() {
    threads_change_nothing::<f32>();
    threads_change_nothing::<f64>();
    threads_change_nothing::<f16>();
}

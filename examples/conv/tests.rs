use super::*;
use crate::conv::Conv;
use crate::network::ResNet;
use examples::softmax::cross_entropy;
use examples::stopwatch::Stopwatch;
use examples::train::{Model, weights_rng};
use ndarray::{Array4, ArrayD};

/// Small whole numbers, whose sums and products are exact.
fn whole_numbers(dim: (usize, usize, usize, usize), step: usize) -> Array4<f32> {
    let mut n = 0;
    Array4::from_shape_simple_fn(dim, || {
        n += step;
        (n % 11) as f32 - 5.0
    })
}

fn dot<'a>(a: impl IntoIterator<Item = &'a f32>, b: impl IntoIterator<Item = &'a f32>) -> f64 {
    a.into_iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// A convolution whose weights are small whole numbers, and these.
fn conv(shape: [usize; 4]) -> (Conv, ArrayD<f32>) {
    let mut conv = Conv::new(shape, false, &mut weights_rng(1));
    let mut n = 0;
    let mut params = Vec::new();
    conv.push_params(&mut params);
    params[0].mapv_inplace(|_| {
        n += 7;
        (n % 5) as f32 - 2.0
    });
    let weight = params[0].to_owned();
    (conv, weight)
}

const SHAPES: [[usize; 4]; 4] = [[3, 4, 3, 1], [3, 4, 3, 2], [2, 5, 1, 1], [2, 5, 1, 2]];

#[test]
fn a_convolution_is_its_sum() {
    for shape @ [inputs, outputs, kernel, stride] in SHAPES {
        let (conv, weight) = conv(shape);
        let x = whole_numbers((2, 5, 6, inputs), 3);
        let (y, _) = conv.forward(&x);
        assert_eq!(y.dim(), (2, 5usize.div_ceil(stride), 6usize.div_ceil(stride), outputs));
        for ((n, i, j, o), &y) in y.indexed_iter() {
            let mut sum = 0.0;
            for (ky, kx, c) in ndarray::indices((kernel, kernel, inputs)) {
                // Outside of the image there are zeros.
                let at = [i * stride + ky, j * stride + kx].map(|at| at.wrapping_sub(kernel / 2));
                let pixel = x.get((n, at[0], at[1], c)).copied().unwrap_or(0.0);
                sum += pixel * weight[[(ky * kernel + kx) * inputs + c, o]];
            }
            assert_eq!(y, sum, "{shape:?} at {:?}", (n, i, j, o));
        }
    }
}

/// A convolution is linear in its input and in its weights, so its gradients are its adjoints: ⟨dy, y⟩ is both
/// ⟨dx, x⟩ and ⟨dw, w⟩.
#[test]
fn gradients_of_a_convolution_are_its_adjoints() {
    for shape @ [inputs, ..] in SHAPES {
        let (conv, weight) = conv(shape);
        let x = whole_numbers((2, 5, 6, inputs), 3);
        let (y, tape) = conv.forward(&x);
        let dy = whole_numbers(y.dim(), 4);
        let mut grads = Vec::new();
        let dx = conv.backward(&tape, dy.clone(), &mut grads);
        let expected = dot(&dy, &y);
        assert_eq!((dx.dim(), grads.len()), (x.dim(), 1));
        assert_eq!((dot(&dx, &x), dot(&grads[0], &weight)), (expected, expected), "{shape:?}");
    }
}

/// The slope of the loss along the gradient is the gradient's square, but for f32 and the bend of the loss.
#[test]
fn gradients_of_the_network_are_the_slope_of_its_loss() {
    let samples = data::load(1).expect("the digits").train.select(&(0..32).collect::<Vec<_>>());
    for normalized in [true, false] {
        let mut network = ResNet::new(1, normalized, &mut weights_rng(1)).expect("a network");
        let loss = |network: &mut ResNet| {
            let (logits, tape) =
                network.forward(samples.images.clone(), &mut Stopwatch::default()).expect("logits");
            let (loss, dlogits) = cross_entropy(&logits, &samples.labels);
            (loss, dlogits, tape)
        };
        let (_, dlogits, tape) = loss(&mut network);
        let grads = network.backward(tape, &dlogits, &mut Stopwatch::default()).expect("gradients");
        let shift = |network: &mut ResNet, by: f32| {
            let params = network.params_mut();
            assert_eq!(params.len(), grads.len());
            params.into_iter().zip(&grads).for_each(|(mut param, grad)| param.scaled_add(by, grad));
        };
        let square: f64 = grads.iter().map(|grad| dot(grad, grad)).sum();
        let step = (1e-3 / square.sqrt()) as f32;
        shift(&mut network, step);
        let (after, ..) = loss(&mut network);
        shift(&mut network, -2.0 * step);
        let (before, ..) = loss(&mut network);
        let slope = (after - before) / (2.0 * f64::from(step));
        assert!(
            (slope / square - 1.0).abs() < 5e-3,
            "normalized {normalized}: slope {slope}, square {square}"
        );
    }
}

fn program(options: &[&str]) -> std::result::Result<Args, clap::Error> {
    Args::try_parse_from(["conv"].iter().chain(options))
}

#[test]
fn a_short_run_draws() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("new/conv.svg");
    let args = ["--quick", "--epochs", "1", "--blocks", "1", "--svg", svg.to_str().expect("a path")];
    compare(&program(&args).expect("valid options")).expect("trained");
    assert!(std::fs::read_to_string(svg).expect("a picture").starts_with("<svg"));
}

#[test]
fn divergence_is_a_result() {
    let settings = Settings { learning_rate: 1e30, epochs: 2, blocks: 1, ..Settings::CHOSEN };
    let mut contenders = run::contenders(settings);
    let bar = progress::bar(6, "epochs").expect("a bar");
    run::train(&mut contenders, settings, &data::load(1).expect("the digits"), &bar).expect("trained");
    assert!(contenders[1].diverged && contenders[1].epochs_to_goal().is_none());
    figure::conv(&contenders, settings);
    table(&contenders, settings);
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (option, bad, expected) in [
        ("--batch", "1", "expected a whole number from 2 to 1348, got \"1\""),
        ("--blocks", "0", "expected a whole number from 1 to 50, got \"0\""),
        ("--epochs", "0", "expected a whole number from 1 to 1000000, got \"0\""),
        ("--learning-rate", "-1", "expected a finite number greater than 0, got \"-1\""),
    ] {
        // One argument, since -1 alone would be an option.
        let Err(error) = program(&[&format!("{option}={bad}")]) else { panic!("expected a refusal") };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

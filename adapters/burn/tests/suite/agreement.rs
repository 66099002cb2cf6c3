//! Outputs, gradients and running statistics are those of burn's own layer, but for rounding.

use crate::{apart, pair, random, values};
use burn::module::{Module, Param, RunningState};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor};

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-13 } else { 1e-5 }
}

/// y, the gradients of x, γ and β as far as there are any, and the statistics after a step.
fn step<const D: usize>(
    (x, dy): (&Tensor<D>, &Tensor<D>),
    of: impl Fn(Tensor<D>) -> Tensor<D>,
    [gamma, beta]: [&Param<Tensor<1>>; 2],
    running: [&RunningState<Tensor<1>>; 2],
) -> Vec<Option<Vec<f64>>> {
    let x = x.clone().detach().require_grad();
    let y = of(x.clone());
    let gradients = (y.clone() * dy.clone()).sum().backward();
    let mut all = vec![Some(values(&y)), x.grad(&gradients).map(|g| values(&g))];
    all.extend([gamma, beta].map(|p| p.val().grad(&gradients).map(|g| values(&g))));
    all.extend(running.map(|state| Some(values(&state.value_sync()))));
    all
}

macro_rules! both {
    ($ours:expr, $theirs:expr, $pair:expr, $f:expr, $g:expr) => {{
        let got = step($pair, $f, [&$ours.gamma, &$ours.beta], [&$ours.running_mean, &$ours.running_var]);
        let want =
            step($pair, $g, [&$theirs.gamma, &$theirs.beta], [&$theirs.running_mean, &$theirs.running_var]);
        (got, want)
    }};
}

fn agree(got: &[Option<Vec<f64>>], want: &[Option<Vec<f64>>], tolerance: f64, what: &str) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        match (got, want) {
            (Some(got), Some(want)) => {
                let apart = apart(got, want);
                assert!(apart < tolerance, "{what}, tensor {i}: {apart}");
            }
            (got, want) => assert_eq!(got.is_some(), want.is_some(), "{what}, tensor {i}"),
        }
    }
}

fn of_shape<const D: usize>(dims: [usize; D]) {
    for dtype in [DType::F32, DType::F64] {
        let (x, dy) = (random(1, dims, 0.5, dtype), random(2, dims, 0.1, dtype));
        let (ours, theirs) = pair(dims[1], dtype);
        let (got, want) = both!(ours, theirs, (&x, &dy), |x| ours.forward(x), |x| theirs.forward(x));
        agree(&got, &want, tolerance(dtype), &format!("{dims:?} {dtype:?}"));
        // Frozen: the running statistics are constants, and stay.
        let (ours, theirs) = (ours.freeze(), theirs.freeze());
        let (got, want) = both!(ours, theirs, (&x, &dy), |x| ours.forward(x), |x| theirs.forward(x));
        assert!(got[1].is_some() && got[2].is_none());
        agree(&got, &want, tolerance(dtype), &format!("{dims:?} {dtype:?} frozen"));
        // Validation: no graph.
        let (ours, theirs) = (ours.valid(), theirs.valid());
        let x = x.inner();
        let apart = apart(&values(&ours.forward(x.clone())), &values(&theirs.forward(x)));
        assert!(apart < tolerance(dtype), "{dims:?} {dtype:?} valid: {apart}");
    }
}

#[test]
fn steps_are_those_of_burns_layer() {
    of_shape([7, 5]);
    of_shape([4, 3, 9]);
    of_shape([3, 6, 5, 4]);
    of_shape([2, 3, 2, 3, 4]);
    of_shape([1, 2, 3]);
}

#[test]
fn one_value_per_channel_is_beta() {
    let (ours, theirs) = pair(3, DType::F64);
    let (x, dy) = (random(1, [1, 3], 0.5, DType::F64), random(2, [1, 3], 0.1, DType::F64));
    let (got, want) = both!(ours, theirs, (&x, &dy), |x| ours.forward(x), |x| theirs.forward(x));
    agree(&got, &want, 1e-13, "one value");
}

#[test]
fn memory_may_be_permuted() {
    for order in [[0, 3, 1, 2], [3, 2, 1, 0]] {
        let dims = match order {
            [0, ..] => [2, 4, 5, 3],
            _ => [5, 4, 3, 2],
        };
        let x = random(1, dims, 0.5, DType::F64).permute(order.map(|axis| axis as isize));
        let dy = random(2, [2, 4, 5, 3], 0.1, DType::F64).permute([0, 3, 1, 2]);
        let (ours, theirs) = pair(x.dims()[1], DType::F64);
        let dy = if x.dims() == dy.dims() { dy } else { random(2, x.dims(), 0.1, DType::F64) };
        let (got, want) = both!(ours, theirs, (&x, &dy), |x| ours.forward(x), |x| theirs.forward(x));
        agree(&got, &want, 1e-13, &format!("{order:?}"));
    }
}

#[test]
fn fused_calls_are_the_three_in_a_row() {
    let dtype = DType::F64;
    for last in [false, true] {
        let (ours, theirs) = pair(3, dtype);
        let make = |seed, mean| match last {
            true => random(seed, [4, 5, 2, 3], mean, dtype).permute([0, 3, 1, 2]),
            false => random(seed, [4, 3, 5, 2], mean, dtype),
        };
        let (x, dy) = (make(1, 0.5), make(2, 0.1));
        let (got, want) =
            both!(ours, theirs, (&x, &dy), |x| ours.forward_relu(x), |x| relu(theirs.forward(x)));
        agree(&got, &want, 1e-13, "relu");
        let skips = [(); 2].map(|()| make(7, 0.0).detach().require_grad());
        let [skip, other] = &skips;
        let y = ours.forward_add_relu(x.clone(), skip.clone());
        let z = relu(theirs.forward(x) + other.clone());
        assert!(apart(&values(&y), &values(&z)) < 1e-13);
        let (got, want) = ((y * dy.clone()).sum().backward(), (z * dy).sum().backward());
        let of = |tensor: Option<Tensor<4>>| values(&tensor.expect("a gradient"));
        assert!(apart(&of(skip.grad(&got)), &of(other.grad(&want))) < 1e-13);
        let of = |tensor: Option<Tensor<1>>| values(&tensor.expect("a gradient"));
        let [g, h] = [of(ours.gamma.val().grad(&got)), of(theirs.gamma.val().grad(&want))];
        assert!(apart(&g, &h) < 1e-13);
    }
}

/// The running variance is PyTorch's by default: n−1 below it.
#[test]
fn the_running_variance_is_unbiased_by_default() {
    let device = Device::default().autodiff();
    let ours = bn_burn::BatchNormConfig::new(1).with_momentum(1.0).init(&device);
    let _ = ours.forward(Tensor::<2>::from_floats([[1.0], [3.0]], &device));
    assert_eq!(values(&ours.running_var.value_sync()), [2.0]);
}

/// Half types go through f32.
#[test]
fn half_types_train() {
    for (dtype, unit) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        let (x, dy) = (random(1, [16, 5, 3], 0.5, dtype), random(2, [16, 5, 3], 0.1, dtype));
        let (half, _) = pair(5, dtype);
        let (mut wide, _) = pair(5, DType::F32);
        let float = burn::tensor::FloatDType::F32;
        wide.gamma = Param::from_tensor(half.gamma.val().cast(float).detach());
        wide.beta = Param::from_tensor(half.beta.val().cast(float).detach());
        wide.running_mean = RunningState::new(half.running_mean.value_sync().cast(float));
        wide.running_var = RunningState::new(half.running_var.value_sync().cast(float));
        let got = step(
            (&x, &dy),
            |x| half.forward(x),
            [&half.gamma, &half.beta],
            [&half.running_mean, &half.running_var],
        );
        let (x, dy) = (x.cast(float), dy.cast(float));
        let want = step(
            (&x, &dy),
            |x| wide.forward(x),
            [&wide.gamma, &wide.beta],
            [&wide.running_mean, &wide.running_var],
        );
        agree(&got, &want, 1.01 * unit, &format!("{dtype:?}"));
    }
}

#[test]
fn checkpointed_graphs_have_the_same_gradients() {
    let plain = Device::default().autodiff();
    let [one, other] = [plain.clone(), plain.gradient_checkpointing()].map(|device| {
        let norm = bn_burn::BatchNormConfig::new(3).init(&device);
        let x =
            Tensor::<3>::from_data(random(1, [4, 3, 5], 0.5, DType::F32).to_data(), &device).require_grad();
        let y = norm.forward_add_relu(x.clone() * 2.0, x.clone());
        values(&x.grad(&y.powi_scalar(2).sum().backward()).expect("a gradient"))
    });
    assert_eq!(one, other);
}

//! Through whole networks: gradients are those of differences, and two models train side by side as one after the other.

use crate::{random, values};
use bn_candle::{BatchNorm, batch_norm};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Conv2d, Linear, Module, Optimizer, SGD, VarBuilder, VarMap, conv2d, linear, loss};

/// A convolution, the layer and ReLU, another one around which a residual goes, and a linear layer.
struct Network {
    convs: [Conv2d; 2],
    norms: [BatchNorm; 2],
    head: Linear,
}

impl Network {
    fn new(vars: &VarMap, dtype: DType) -> Result<Self> {
        let vb = VarBuilder::from_varmap(vars, dtype, &Device::Cpu);
        let same = candle_nn::Conv2dConfig { padding: 1, ..Default::default() };
        let convs = [conv2d(1, 4, 3, same, vb.pp("conv1"))?, conv2d(4, 4, 3, same, vb.pp("conv2"))?];
        let norms = [batch_norm(4, 1e-5, vb.pp("bn1"))?, batch_norm(4, 1e-5, vb.pp("bn2"))?];
        let network = Self { convs, norms, head: linear(4 * 36, 3, vb.pp("head"))? };
        // candle's own initial weights are not seeded.
        let data = vars.data().lock().expect("nobody panicked");
        let mut names: Vec<&String> = data.keys().collect();
        names.sort();
        for (seed, name) in names.into_iter().enumerate() {
            if !name.contains("running") {
                data[name].set(&(random(seed as u64, data[name].shape(), 0.0, dtype) * 0.5)?)?;
            }
        }
        Ok(network)
    }

    fn loss(&self, x: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let [conv1, conv2] = &self.convs;
        let [bn1, bn2] = &self.norms;
        let skip = bn1.forward_t_relu(&conv1.forward(x)?, true)?;
        let y = bn2.forward_t_add_relu(&conv2.forward(&skip)?, &skip, true)?;
        loss::cross_entropy(&self.head.forward(&y.flatten_from(1)?)?, labels)
    }
}

fn batch(dtype: DType) -> Result<(Tensor, Tensor)> {
    Ok((random(50, (5, 1, 6, 6), 0.0, dtype), Tensor::new(&[0u32, 1, 2, 1, 0], &Device::Cpu)?))
}

#[test]
fn gradients_through_a_network_are_those_of_differences() -> Result<()> {
    let (dtype, vars) = (DType::F64, VarMap::new());
    let network = Network::new(&vars, dtype)?;
    let (x, labels) = batch(dtype)?;
    let gradients = network.loss(&x, &labels)?.backward()?;
    let data = vars.data().lock().expect("nobody panicked");
    let loss = || network.loss(&x, &labels)?.to_scalar::<f64>();
    let mut checked = 0;
    for (name, var) in data.iter().filter(|(name, _)| !name.contains("running")) {
        let gradient = values(gradients.get(var).expect("a gradient"));
        let own = var.as_tensor().copy()?;
        let moved = |i: usize, by: f64| -> Result<f64> {
            let mut at = values(&own);
            at[i] += by;
            var.set(&Tensor::from_vec(at, own.shape(), &Device::Cpu)?)?;
            loss()
        };
        for i in (0..gradient.len()).step_by(gradient.len().div_ceil(5)) {
            let slope = (moved(i, 1e-5)? - moved(i, -1e-5)?) / 2e-5;
            assert!((slope - gradient[i]).abs() < 1e-7, "{name}[{i}]: {slope}, got {}", gradient[i]);
            checked += 1;
        }
        var.set(&own)?;
    }
    assert!(checked > 30, "{checked}");
    Ok(())
}

/// The losses of a few steps of training.
fn train() -> Result<Vec<f32>> {
    let (dtype, vars) = (DType::F32, VarMap::new());
    let network = Network::new(&vars, dtype)?;
    let ((x, labels), mut losses) = (batch(dtype)?, Vec::new());
    let mut sgd = SGD::new(vars.all_vars(), 0.1)?;
    for _ in 0..8 {
        let loss = network.loss(&x, &labels)?;
        sgd.backward_step(&loss)?;
        losses.push(loss.to_scalar()?);
    }
    Ok(losses)
}

#[test]
fn two_models_train_at_once_as_one_after_the_other() -> Result<()> {
    let alone = train()?;
    assert!(alone[7] < 0.5 * alone[0], "{alone:?}");
    let both = std::thread::scope(|scope| {
        [scope.spawn(train), scope.spawn(train)].map(|thread| thread.join().expect("no panic"))
    });
    for losses in both {
        assert_eq!(losses?, alone);
    }
    Ok(())
}

/// Threads that share a layer lose no batch: each of 400 weighs a mean of 1 in by 1/1000.
#[test]
fn threads_that_share_a_layer_lose_no_batch() -> Result<()> {
    let of = |value: f64| Tensor::full(value, 64, &Device::Cpu);
    let norm = BatchNorm::new_no_bias_with_momentum(64, of(0.0)?, of(1.0)?, 1e-5, 1e-3)?;
    let x = Tensor::ones((64, 64, 1), DType::F64, &Device::Cpu)?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| drop(norm.forward_train(&x).expect("a step"))));
        }
    });
    let (got, want) = (values(norm.running_mean())[0], 1.0 - 0.999f64.powi(400));
    assert!((got - want).abs() < 1e-12, "{got}, expected {want}");
    Ok(())
}

/// A parameter that moves between a forward and its backward does not move the gate.
#[test]
fn gradients_are_those_of_the_parameters_of_the_forward() -> Result<()> {
    let (vars, x) = (VarMap::new(), random(1, (6, 4), 0.0, DType::F64));
    let norm = batch_norm(4, 1e-5, VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu))?;
    let (weight, bias) = norm.weight_and_bias().expect("γ and β");
    let gradient = |moved: f64| -> Result<Vec<f64>> {
        let loss = norm.forward_t_relu(&x, true)?.sum_all()?;
        bias.zeros_like().and_then(|zeros| candle_core::Var::from_tensor(bias)?.set(&(zeros + moved)?))?;
        let gradients = loss.backward()?;
        candle_core::Var::from_tensor(bias)?.set(&bias.zeros_like()?)?;
        Ok([weight, bias].iter().flat_map(|of| gradients.get(of).map(values).expect("a gradient")).collect())
    };
    assert_eq!(gradient(0.0)?, gradient(1.0)?);
    Ok(())
}

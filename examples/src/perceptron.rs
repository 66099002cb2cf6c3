//! A deep perceptron: hidden layers of fifty units, each linear → (batch normalization) → `ReLU`, and a linear
//! layer to the logits.

use crate::Result;
use crate::data::{CLASSES, PIXELS};
use crate::stopwatch::Stopwatch;
use crate::train::Model;
use batchnorm::{BatchNorm, Saved};
use ndarray::{Array, Array1, Array2, ArrayD, ArrayViewMutD, Axis, Zip};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// The units of a hidden layer.
pub const HIDDEN_UNITS: usize = 50;

/// How a layer's weights begin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Init {
    /// N(0, s²) for this s, and no bias.
    Scale(f32),
    /// N(0, 2/inputs) and no bias: the variance is kept through `ReLU` layers (He et al.,
    /// <https://arxiv.org/abs/1502.01852>).
    He,
    /// What PyTorch's `nn.Linear` does by itself: weights and bias uniform within ±1/√inputs.
    PyTorch,
}

/// The network.
#[derive(Serialize, Deserialize)]
pub struct Perceptron {
    hidden: Vec<Hidden>,
    output: Linear,
}

#[derive(Serialize, Deserialize)]
struct Hidden {
    linear: Linear,
    norm: Option<BatchNorm<f32>>,
}

/// y = x·W + b, for x of shape (N, inputs).
#[derive(Serialize, Deserialize)]
struct Linear {
    /// W, shape (inputs, outputs).
    weight: Array2<f32>,
    /// b, shape (outputs,). A normalized layer has none: the mean takes it out again, and β is its bias.
    bias: Option<Array1<f32>>,
}

/// What a forward keeps for its backward.
pub struct Tape {
    hidden: Vec<HiddenTape>,
    /// The input of the output layer.
    last: Array2<f32>,
}

struct HiddenTape {
    /// The layer's input x.
    input: Array2<f32>,
    /// The batch norm's input x·W and what it saved.
    norm: Option<(Array2<f32>, Saved<f32>)>,
}

impl Perceptron {
    /// A network of `depth` hidden layers.
    ///
    /// # Errors
    /// Where memory is short.
    pub fn new(normalized: bool, depth: usize, init: Init, rng: &mut impl Rng) -> Result<Self> {
        let mut hidden = Vec::with_capacity(depth);
        for layer in 0..depth {
            let inputs = if layer == 0 { PIXELS } else { HIDDEN_UNITS };
            hidden.push(Hidden {
                linear: Linear::new(inputs, HIDDEN_UNITS, !normalized, init, rng),
                norm: if normalized { Some(BatchNorm::new(HIDDEN_UNITS)?) } else { None },
            });
        }
        Ok(Self { hidden, output: Linear::new(HIDDEN_UNITS, CLASSES, true, init, rng) })
    }
}

impl Model for Perceptron {
    type Tape = Tape;

    fn forward(&mut self, x: Array2<f32>, watch: &mut Stopwatch) -> Result<(Array2<f32>, Tape)> {
        let mut tape = Vec::with_capacity(self.hidden.len());
        let mut x = x;
        for Hidden { linear, norm } in &mut self.hidden {
            let z = linear.forward(&x);
            let (y, norm) = match norm {
                Some(bn) => {
                    let (y, saved) = watch.norm(|| bn.forward(&z))?;
                    (y, Some((z, saved)))
                }
                None => (z, None),
            };
            tape.push(HiddenTape { input: x, norm });
            x = relu(y);
        }
        Ok((self.output.forward(&x), Tape { hidden: tape, last: x }))
    }

    fn forward_eval(&self, x: &Array2<f32>) -> Result<Array2<f32>> {
        let mut x = x.clone();
        for Hidden { linear, norm } in &self.hidden {
            let z = linear.forward(&x);
            x = relu(match norm {
                Some(bn) => bn.forward_eval(&z)?,
                None => z,
            });
        }
        Ok(self.output.forward(&x))
    }

    fn backward(&self, tape: Tape, dlogits: &Array2<f32>, watch: &mut Stopwatch) -> Result<Vec<ArrayD<f32>>> {
        let mut grads = Vec::new();
        self.output.param_grads(&tape.last, dlogits, &mut grads);
        let mut dx = self.output.input_grad(dlogits);
        let mut output = tape.last;
        for (layer, (Hidden { linear, norm }, kept)) in self.hidden.iter().zip(tape.hidden).enumerate().rev()
        {
            // `ReLU` passes the gradient where it passed the value.
            Zip::from(&mut dx).and(&output).for_each(|d, &y| *d = if y > 0.0 { *d } else { 0.0 });
            if let (Some(bn), Some((z, saved))) = (norm, &kept.norm) {
                let g = watch.norm(|| bn.backward(saved, z, &dx))?;
                grads.extend([g.dweight.into_dyn(), g.dbias.into_dyn()]);
                dx = g.dx;
            }
            linear.param_grads(&kept.input, &dx, &mut grads);
            if layer > 0 {
                dx = linear.input_grad(&dx);
            }
            output = kept.input;
        }
        Ok(grads)
    }

    /// From the output back to the input, as the backward comes upon them.
    fn params_mut(&mut self) -> Vec<ArrayViewMutD<'_, f32>> {
        let mut params = Vec::new();
        self.output.push_params(&mut params);
        for Hidden { linear, norm } in self.hidden.iter_mut().rev() {
            if let Some(bn) = norm {
                params.extend([bn.weight.view_mut().into_dyn(), bn.bias.view_mut().into_dyn()]);
            }
            linear.push_params(&mut params);
        }
        params
    }
}

impl Linear {
    fn new(inputs: usize, outputs: usize, bias: bool, init: Init, rng: &mut impl Rng) -> Self {
        let mut value = || -> f32 {
            let mut normal = || -> f32 { StandardNormal.sample(rng) };
            match init {
                Init::Scale(scale) => scale * normal(),
                Init::He => (2.0 / inputs as f32).sqrt() * normal(),
                Init::PyTorch => rng.random_range(-1.0..=1.0) / (inputs as f32).sqrt(),
            }
        };
        Self {
            weight: Array::from_shape_simple_fn((inputs, outputs), &mut value),
            bias: bias.then(|| match init {
                Init::PyTorch => Array1::from_shape_simple_fn(outputs, &mut value),
                _ => Array1::zeros(outputs),
            }),
        }
    }

    fn forward(&self, x: &Array2<f32>) -> Array2<f32> {
        let mut y = x.dot(&self.weight);
        if let Some(bias) = &self.bias {
            y += bias;
        }
        y
    }

    /// dW = xᵀ·dy, db = Σdy over the batch.
    fn param_grads(&self, x: &Array2<f32>, dy: &Array2<f32>, grads: &mut Vec<ArrayD<f32>>) {
        grads.push(x.t().dot(dy).into_dyn());
        if self.bias.is_some() {
            grads.push(dy.sum_axis(Axis(0)).into_dyn());
        }
    }

    /// dx = dy·Wᵀ
    fn input_grad(&self, dy: &Array2<f32>) -> Array2<f32> {
        dy.dot(&self.weight.t())
    }

    fn push_params<'a>(&'a mut self, params: &mut Vec<ArrayViewMutD<'a, f32>>) {
        params.push(self.weight.view_mut().into_dyn());
        params.extend(self.bias.as_mut().map(|bias| bias.view_mut().into_dyn()));
    }
}

/// max(x, 0), but for a NaN, which stays one so that it is seen in the loss.
fn relu(mut x: Array2<f32>) -> Array2<f32> {
    x.mapv_inplace(|v| if v < 0.0 { 0.0 } else { v });
    x
}

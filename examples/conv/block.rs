//! A residual block, and the pair of layers it is made of.

use crate::conv::{Conv, ConvTape};
use batchnorm::{BatchNorm, Config, Layout, Saved};
use examples::Result;
use examples::stopwatch::Stopwatch;
use ndarray::{Array4, ArrayD, ArrayViewMutD, Zip};
use rand::Rng;

/// Convolution → (batch normalization).
pub(crate) struct ConvNorm {
    conv: Conv,
    norm: Option<BatchNorm<f32>>,
}

/// What a forward keeps for its backward.
pub(crate) struct ConvNormTape {
    conv: ConvTape,
    /// The batch norm's input and what it saved.
    norm: Option<(Array4<f32>, Saved<f32>)>,
}

impl ConvNorm {
    /// `shape`: inputs, outputs, edge of the kernel, stride.
    pub(crate) fn new(shape: [usize; 4], normalized: bool, rng: &mut impl Rng) -> Result<Self> {
        let config = Config::default().layout(Layout::ChannelsLast);
        let norm = if normalized { Some(BatchNorm::with_config(shape[1], config)?) } else { None };
        Ok(Self { conv: Conv::new(shape, !normalized, rng), norm })
    }

    pub(crate) fn forward(
        &mut self,
        x: &Array4<f32>,
        watch: &mut Stopwatch,
    ) -> Result<(Array4<f32>, ConvNormTape)> {
        let (z, conv) = self.conv.forward(x);
        Ok(match &mut self.norm {
            Some(bn) => {
                let (y, saved) = watch.norm(|| bn.forward(&z))?;
                (y, ConvNormTape { conv, norm: Some((z, saved)) })
            }
            None => (z, ConvNormTape { conv, norm: None }),
        })
    }

    pub(crate) fn forward_eval(&self, x: &Array4<f32>) -> Result<Array4<f32>> {
        let (z, _) = self.conv.forward(x);
        Ok(match &self.norm {
            Some(bn) => bn.forward_eval(&z)?,
            None => z,
        })
    }

    /// As [`Conv::backward`]; the layers' parameters come in the order of `push_params`.
    pub(crate) fn backward(
        &self,
        tape: &ConvNormTape,
        dy: Array4<f32>,
        watch: &mut Stopwatch,
        grads: &mut Vec<ArrayD<f32>>,
    ) -> Result<Array4<f32>> {
        let dz = match (&self.norm, &tape.norm) {
            (Some(bn), Some((z, saved))) => {
                let g = watch.norm(|| bn.backward(saved, z, &dy))?;
                grads.extend([g.dweight.into_dyn(), g.dbias.into_dyn()]);
                g.dx
            }
            _ => dy,
        };
        Ok(self.conv.backward(&tape.conv, dz, grads))
    }

    pub(crate) fn push_params<'a>(&'a mut self, params: &mut Vec<ArrayViewMutD<'a, f32>>) {
        if let Some(bn) = &mut self.norm {
            params.extend([bn.weight.view_mut().into_dyn(), bn.bias.view_mut().into_dyn()]);
        }
        self.conv.push_params(params);
    }
}

/// y = ReLU(x + f(x)), f being two convolutions with a `ReLU` between them; where f changes the shape, x goes through
/// a convolution of one pixel (He et al., <https://arxiv.org/abs/1512.03385>).
pub(crate) struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

/// What a forward keeps for its backward.
pub(crate) struct BlockTape {
    first: ConvNormTape,
    /// The `ReLU` between.
    middle: Array4<f32>,
    second: ConvNormTape,
    shortcut: Option<ConvNormTape>,
}

impl Block {
    pub(crate) fn new(
        [inputs, outputs, stride]: [usize; 3],
        normalized: bool,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let changes = inputs != outputs || stride != 1;
        Ok(Self {
            first: ConvNorm::new([inputs, outputs, 3, stride], normalized, rng)?,
            second: ConvNorm::new([outputs, outputs, 3, 1], normalized, rng)?,
            shortcut: match changes {
                true => Some(ConvNorm::new([inputs, outputs, 1, stride], normalized, rng)?),
                false => None,
            },
        })
    }

    pub(crate) fn forward(
        &mut self,
        x: &Array4<f32>,
        watch: &mut Stopwatch,
    ) -> Result<(Array4<f32>, BlockTape)> {
        let (z, first) = self.first.forward(x, watch)?;
        let middle = relu(z);
        let (mut y, second) = self.second.forward(&middle, watch)?;
        let shortcut = match &mut self.shortcut {
            Some(layer) => {
                let (z, tape) = layer.forward(x, watch)?;
                y += &z;
                Some(tape)
            }
            None => {
                y += x;
                None
            }
        };
        Ok((relu(y), BlockTape { first, middle, second, shortcut }))
    }

    pub(crate) fn forward_eval(&self, x: &Array4<f32>) -> Result<Array4<f32>> {
        let middle = relu(self.first.forward_eval(x)?);
        let mut y = self.second.forward_eval(&middle)?;
        match &self.shortcut {
            Some(layer) => y += &layer.forward_eval(x)?,
            None => y += x,
        }
        Ok(relu(y))
    }

    /// The gradient of the input, from that of the output `y`.
    pub(crate) fn backward(
        &self,
        tape: &BlockTape,
        y: &Array4<f32>,
        dy: Array4<f32>,
        watch: &mut Stopwatch,
        grads: &mut Vec<ArrayD<f32>>,
    ) -> Result<Array4<f32>> {
        let dy = relu_grad(y, dy);
        let dmiddle = self.second.backward(&tape.second, dy.clone(), watch, grads)?;
        let dmiddle = relu_grad(&tape.middle, dmiddle);
        let dx = self.first.backward(&tape.first, dmiddle, watch, grads)?;
        let skipped = match (&self.shortcut, &tape.shortcut) {
            (Some(layer), Some(tape)) => layer.backward(tape, dy, watch, grads)?,
            _ => dy,
        };
        Ok(dx + skipped)
    }

    pub(crate) fn push_params<'a>(&'a mut self, params: &mut Vec<ArrayViewMutD<'a, f32>>) {
        self.second.push_params(params);
        self.first.push_params(params);
        if let Some(layer) = &mut self.shortcut {
            layer.push_params(params);
        }
    }
}

/// max(x, 0), but for a NaN, which stays one so that it is seen in the loss.
pub(crate) fn relu(mut x: Array4<f32>) -> Array4<f32> {
    x.mapv_inplace(|v| if v < 0.0 { 0.0 } else { v });
    x
}

/// `ReLU` passes the gradient where it passed the value.
pub(crate) fn relu_grad(y: &Array4<f32>, mut dy: Array4<f32>) -> Array4<f32> {
    Zip::from(&mut dy).and(y).for_each(|d, &y| *d = if y > 0.0 { *d } else { 0.0 });
    dy
}

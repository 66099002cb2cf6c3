//! The network: two hidden layers of four maps of 8×8 units, each linear → batch normalization over its map → `ReLU`, and a linear
//! layer to the logits.
//!
//! What a matrix product gives for some samples must not depend on which others are there. So they go in chunks of a fixed number of
//! samples, and a gradient is the sum of those of its chunks, in order and in f64.

use batchnorm::functions::{Backward, Forward};
use batchnorm::ranks::{Communicator, Ranks};
use batchnorm::{Activation, BatchNorm, Kept, Options, Saved, Shape, Workspace};
use examples::Result;
use examples::data::{CLASSES, PIXELS};
use ndarray::{Array, Array2, ArrayD, ArrayViewMutD, Axis, concatenate};
use rand::{Rng, RngExt};

/// The maps of a hidden layer, and the units of one.
const MAPS: usize = 4;
const UNITS: usize = MAPS * PIXELS;
/// The samples of a chunk: a leaf of the layer's sums at this shape, which begins every share as well.
pub(crate) const CHUNK: usize = 32;

pub(crate) struct Network {
    hidden: [(Array2<f32>, BatchNorm<f32>); 2],
    output: Array2<f32>,
    workspace: Workspace<f32>,
}

/// What a forward keeps for its backward, by hidden layer.
pub(crate) struct Tape(Vec<HiddenTape>);

struct HiddenTape {
    /// The layer's input.
    x: Array2<f32>,
    /// Input and output of the normalization, and what that saved.
    z: Array2<f32>,
    y: Array2<f32>,
    saved: Saved<f32>,
}

/// The gradients of the weights by chunk, and those of γ and β.
pub(crate) struct Gradients {
    pub(crate) chunks: Vec<Vec<f32>>,
    norms: Vec<Vec<f32>>,
}

fn by_chunks(x: &Array2<f32>, weight: &Array2<f32>) -> Result<Array2<f32>> {
    let products: Vec<_> = x.axis_chunks_iter(Axis(0), CHUNK).map(|x| x.dot(weight)).collect();
    match products.is_empty() {
        true => Ok(Array2::zeros((0, weight.ncols()))),
        false => Ok(concatenate(Axis(0), &products.iter().map(|of| of.view()).collect::<Vec<_>>())?),
    }
}

impl Network {
    pub(crate) fn new(rng: &mut impl Rng) -> Result<Self> {
        let mut weight = |inputs: usize, outputs: usize| {
            let scale = (6.0 / inputs as f32).sqrt();
            Array::from_shape_simple_fn((inputs, outputs), || scale * rng.random_range(-1.0..=1.0))
        };
        let hidden =
            [(weight(PIXELS, UNITS), BatchNorm::new(MAPS)?), (weight(UNITS, UNITS), BatchNorm::new(MAPS)?)];
        Ok(Self { hidden, output: weight(UNITS, CLASSES), workspace: Workspace::default() })
    }

    /// The logits of a share.
    pub(crate) fn forward(
        &mut self,
        x: Array2<f32>,
        ranks: &mut Ranks<impl Communicator>,
    ) -> Result<(Array2<f32>, Tape)> {
        let shape = Shape::nchw(x.nrows(), MAPS, 8, 8)?;
        let (mut x, mut tape) = (x, Vec::new());
        for (number, (weight, bn)) in (0..).zip(&mut self.hidden) {
            let z = by_chunks(&x, weight)?;
            let (mut y, mut saved) = (Array2::zeros(z.dim()), Saved::default());
            let (from, to) = (z.as_slice().ok_or("rows")?, y.as_slice_mut().ok_or("rows")?);
            let options = Options::default().activation(Activation::Relu);
            let step = Forward { options, ..Forward::new(shape, from, to) };
            bn.forward_ranks(step, ranks.layer(number), &mut saved, &mut self.workspace)?;
            tape.push(HiddenTape { x, z, y: y.clone(), saved });
            x = y;
        }
        Ok((by_chunks(&x, &self.output)?, Tape(tape)))
    }

    pub(crate) fn forward_eval(&self, x: &Array2<f32>) -> Result<Array2<f32>> {
        let mut x = x.clone();
        for (weight, bn) in &self.hidden {
            let z = x.dot(weight).into_shape_with_order((x.nrows(), MAPS, 8, 8))?;
            let options = Options::default().activation(Activation::Relu);
            x = bn.forward_eval_with(&z, options)?.0.into_shape_with_order((x.nrows(), UNITS))?;
        }
        Ok(x.dot(&self.output))
    }

    pub(crate) fn backward(
        &mut self,
        Tape(tape): Tape,
        dlogits: &Array2<f32>,
        ranks: &mut Ranks<impl Communicator>,
    ) -> Result<Gradients> {
        let mut chunks = vec![Vec::new(); dlogits.nrows().div_ceil(CHUNK)];
        let mut push = |x: &Array2<f32>, dy: &Array2<f32>| {
            let both = x.axis_chunks_iter(Axis(0), CHUNK).zip(dy.axis_chunks_iter(Axis(0), CHUNK));
            chunks.iter_mut().zip(both).for_each(|(to, (x, dy))| to.extend(x.t().dot(&dy)));
        };
        push(&tape[tape.len() - 1].y, dlogits);
        let (mut dy, mut norms) = (by_chunks(dlogits, &self.output.t().to_owned())?, Vec::new());
        for (number, ((weight, bn), HiddenTape { x, z, y, saved })) in
            self.hidden.iter().zip(&tape).enumerate().rev()
        {
            let (mut dz, mut dweight, mut dbias) = (Array2::zeros(z.dim()), vec![0.0; MAPS], vec![0.0; MAPS]);
            let [z, y, from] = [z, y, &dy].map(|of| of.as_slice().unwrap_or_default());
            let step = Backward {
                kept: Kept::default().y(y),
                dx: Some(dz.as_slice_mut().ok_or("rows")?.into()),
                dweight: Some(&mut dweight),
                dbias: Some(&mut dbias),
                ..Backward::new(z, from)
            };
            bn.backward_ranks(step, ranks.layer(number as u64), saved, &mut self.workspace)?;
            push(x, &dz);
            norms.extend([dweight, dbias]);
            dy = by_chunks(&dz, &weight.t().to_owned())?;
        }
        Ok(Gradients { chunks, norms })
    }

    /// In the order of [`Gradients`]: weights from the output on, then γ and β.
    pub(crate) fn params_mut(&mut self) -> Vec<ArrayViewMutD<'_, f32>> {
        let (mut weights, mut norms) = (vec![self.output.view_mut().into_dyn()], Vec::new());
        for (weight, bn) in self.hidden.iter_mut().rev() {
            weights.push(weight.view_mut().into_dyn());
            norms.extend([bn.weight.view_mut().into_dyn(), bn.bias.view_mut().into_dyn()]);
        }
        weights.extend(norms);
        weights
    }
}

impl Gradients {
    /// The gradients of the parameters, from the sums of all chunks.
    pub(crate) fn summed(self, sums: &[f64], params: &[ArrayViewMutD<'_, f32>]) -> Result<Vec<ArrayD<f32>>> {
        let (mut sums, mut norms) = (sums.iter().map(|v| *v as f32), self.norms.into_iter());
        let each = params.iter().map(|param| match param.ndim() {
            1 => ArrayD::from_shape_vec(param.raw_dim(), norms.next().unwrap_or_default()),
            _ => ArrayD::from_shape_vec(param.raw_dim(), sums.by_ref().take(param.len()).collect()),
        });
        Ok(each.collect::<std::result::Result<_, _>>()?)
    }
}

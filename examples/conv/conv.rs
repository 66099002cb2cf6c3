//! A convolution over images with the channels last, as a matrix product.

use ndarray::{Array, Array1, Array2, Array4, ArrayD, ArrayViewMutD, Axis, s};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// With a square kernel of odd edge and zeros around the image, so that stride 1 keeps its size.
pub(crate) struct Conv {
    /// Shape (kernel·kernel·inputs, outputs).
    weight: Array2<f32>,
    /// Shape (outputs,). Before a batch norm there is none: the mean takes it out again, and β is the bias.
    bias: Option<Array1<f32>>,
    kernel: usize,
    stride: usize,
}

/// What a forward keeps for its backward.
pub(crate) struct ConvTape {
    /// A row for each pixel of the output: what the kernel sees there.
    columns: Array2<f32>,
    /// The shape of the input.
    input: (usize, usize, usize, usize),
}

impl Conv {
    pub(crate) fn new([inputs, outputs, kernel, stride]: [usize; 4], bias: bool, rng: &mut impl Rng) -> Self {
        let seen = kernel * kernel * inputs;
        // He's scale keeps the variance through `ReLU` layers (<https://arxiv.org/abs/1502.01852>).
        let scale = (2.0 / seen as f32).sqrt();
        let mut normal = || -> f32 { StandardNormal.sample(rng) };
        Self {
            weight: Array::from_shape_simple_fn((seen, outputs), || scale * normal()),
            bias: bias.then(|| Array1::zeros(outputs)),
            kernel,
            stride,
        }
    }

    /// From shape (N, H, W, inputs) to (N, H/stride, W/stride, outputs), rounded up.
    pub(crate) fn forward(&self, x: &Array4<f32>) -> (Array4<f32>, ConvTape) {
        let (n, h, w, c) = x.dim();
        let [oh, ow] = [h, w].map(|edge| edge.div_ceil(self.stride));
        let pad = self.kernel / 2;
        let mut padded = Array4::zeros((n, h + 2 * pad, w + 2 * pad, c));
        padded.slice_mut(s![.., pad..pad + h, pad..pad + w, ..]).assign(x);
        let mut columns = Array4::zeros((n, oh, ow, self.weight.nrows()));
        for (at, ky, kx) in self.taps() {
            let seen = padded.slice(s![.., ky..ky + h;self.stride, kx..kx + w;self.stride, ..]);
            columns.slice_mut(s![.., .., .., at * c..(at + 1) * c]).assign(&seen);
        }
        let columns = flat(columns);
        let mut y = columns.dot(&self.weight);
        if let Some(bias) = &self.bias {
            y += bias;
        }
        (image(y, (n, oh, ow)), ConvTape { columns, input: (n, h, w, c) })
    }

    /// The gradient of the input; those of weight and bias are pushed.
    pub(crate) fn backward(
        &self,
        tape: &ConvTape,
        dy: Array4<f32>,
        grads: &mut Vec<ArrayD<f32>>,
    ) -> Array4<f32> {
        let (n, h, w, c) = tape.input;
        let (_, oh, ow, _) = dy.dim();
        let dy = flat(dy);
        grads.push(tape.columns.t().dot(&dy).into_dyn());
        if self.bias.is_some() {
            grads.push(dy.sum_axis(Axis(0)).into_dyn());
        }
        let dcolumns = image(dy.dot(&self.weight.t()), (n, oh, ow));
        let pad = self.kernel / 2;
        let mut padded = Array4::zeros((n, h + 2 * pad, w + 2 * pad, c));
        for (at, ky, kx) in self.taps() {
            let mut seen = padded.slice_mut(s![.., ky..ky + h;self.stride, kx..kx + w;self.stride, ..]);
            seen += &dcolumns.slice(s![.., .., .., at * c..(at + 1) * c]);
        }
        padded.slice(s![.., pad..pad + h, pad..pad + w, ..]).to_owned()
    }

    /// The kernel's pixels: number, row and column.
    fn taps(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let kernel = self.kernel;
        (0..kernel * kernel).map(move |at| (at, at / kernel, at % kernel))
    }

    pub(crate) fn push_params<'a>(&'a mut self, params: &mut Vec<ArrayViewMutD<'a, f32>>) {
        params.push(self.weight.view_mut().into_dyn());
        params.extend(self.bias.as_mut().map(|bias| bias.view_mut().into_dyn()));
    }
}

/// A row for each pixel.
fn flat(x: Array4<f32>) -> Array2<f32> {
    let (n, h, w, c) = x.dim();
    x.into_shape_with_order((n * h * w, c)).expect("an array of its own, in standard order")
}

/// Pixels in rows back to images.
fn image(x: Array2<f32>, (n, h, w): (usize, usize, usize)) -> Array4<f32> {
    let channels = x.ncols();
    x.into_shape_with_order((n, h, w, channels)).expect("an array of its own, in standard order")
}

//! What several files of these tests need.

use batchnorm::{Activation, BatchNorm, Config, Element, Error, Kept, Layout, Mode, Options, Real, Saved};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3};

/// Numbers that look random: the same for the same seed, within 1.7 of `centre`.
pub(crate) fn values(len: usize, seed: usize, centre: f32) -> Vec<f32> {
    (0..len).map(|i| (((i + seed) * 7919 % 4099) as f32 / 2049.5 - 1.0) * 1.7 + centre).collect()
}

/// The bits of values, which compare where NaN does not.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The bits of values of any type, as f64; all NaN count as one.
pub(crate) fn bits_of<'a, T: Element>(values: impl IntoIterator<Item = &'a T>) -> Vec<u64> {
    let canonical = |v: f64| if v.is_nan() { f64::NAN } else { v };
    values.into_iter().map(|v| canonical(exact(*v)).to_bits()).collect()
}

/// What an error says.
pub(crate) fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

/// The nearest value of a type.
pub(crate) fn number<T: Element>(v: f64) -> T {
    T::from_compute(T::Compute::from_f64(v))
}

/// A value, which f64 holds whatever the type.
pub(crate) fn exact<T: Element>(v: T) -> f64 {
    v.to_compute().to_f64()
}

/// An activation as one writes it down, of values of its own element type.
pub(crate) fn activated<T: Element>(activation: Activation, v: T) -> T {
    let zero = T::default();
    match activation {
        Activation::Relu if v <= zero => zero,
        Activation::Relu6 if v <= zero => zero,
        Activation::Relu6 if v >= number(6.0) => number(6.0),
        Activation::LeakyRelu(slope) if v <= zero => sloped(slope, v),
        _ => v,
    }
}

/// What of dy passes an activation whose output is y.
pub(crate) fn passed<T: Element>(activation: Activation, y: T, dy: T) -> T {
    let zero = T::default();
    match activation {
        Activation::Relu | Activation::Relu6 if y <= zero => zero,
        Activation::Relu6 if y >= number(6.0) => zero,
        Activation::LeakyRelu(slope) if y <= zero => sloped(slope, dy),
        _ => dy,
    }
}

/// A product that is rounded once to the type of arithmetic: that of two f32 is exact in f64.
fn sloped<T: Element>(slope: f64, v: T) -> T {
    T::from_compute(T::Compute::from_f64(exact(T::Compute::from_f64(slope)) * exact(v)))
}

/// A tensor of `of(sample, feature, position)`, its feature axis where the layout has it.
pub(crate) fn tensor<V>(
    [n, c, l]: [usize; 3],
    layout: Layout,
    of: impl Fn(usize, usize, usize) -> V,
) -> Array3<V> {
    match layout {
        Layout::ChannelsFirst => Array3::from_shape_fn((n, c, l), |(n, c, l)| of(n, c, l)),
        Layout::ChannelsLast => Array3::from_shape_fn((n, l, c), |(n, l, c)| of(n, c, l)),
    }
}

/// A tensor in the order (sample, feature, position).
pub(crate) fn in_order<V>(tensor: &Array3<V>, layout: Layout) -> ArrayView3<'_, V> {
    match layout {
        Layout::ChannelsFirst => tensor.view(),
        Layout::ChannelsLast => tensor.view().permuted_axes([0, 2, 1]),
    }
}

/// A layer, and what a step with options works on.
pub(crate) struct Inputs<T: Element> {
    pub(crate) bn: BatchNorm<T>,
    pub(crate) x: Array3<T>,
    pub(crate) dy: Array3<T>,
    pub(crate) residual: Array3<T>,
    /// Of samples and positions.
    pub(crate) mask: Array2<bool>,
}

/// How many kinds of features [`Inputs::hard`] has.
const KINDS: usize = 12;

impl<T: Element> Inputs<T> {
    /// Ordinary features.
    pub(crate) fn plain(dims: [usize; 3], config: Config) -> Self {
        let [n, c, l] = dims;
        let random = |seed: usize, centre: f32| {
            let all = values(n * c * l, seed, centre);
            tensor(dims, config.layout, |n, c1, l1| number((all[(n * c + c1) * l + l1]).into()))
        };
        let mut bn = BatchNorm::with_config(c, config).unwrap();
        let parameters = |seed, centre| values(c, seed, centre).iter().map(|&v| number(v.into())).collect();
        (bn.weight, bn.bias) = (parameters(3, 1.0), parameters(8, 1.2));
        if let Some(running) = &mut bn.running {
            (running.mean, running.var) = (parameters(5, 0.2), parameters(6, 2.5));
        }
        let mask = Array2::from_shape_fn((n, l), |(n, l)| (n * 31 + l * 17) % 7 > 1);
        Self { bn, x: random(0, 0.3), dy: random(31, 0.1), residual: random(77, 0.0), mask }
    }

    /// Features of many kinds side by side: ordinary, out of the kernels' range, non-finite, far from zero, exactly at a corner.
    pub(crate) fn hard(dims: [usize; 3], config: Config) -> Self {
        let mut own = Self::plain(dims, config);
        let huge = if T::NAME == "f16" { 2e4 } else { 1e30 };
        let layout = config.layout;
        let change = |of: &mut Array3<T>, to: &dyn Fn(usize, usize, usize, f64) -> f64| {
            let now = in_order(of, layout).to_owned();
            *of = tensor(dims, layout, |n, c, l| number(to(n, c % KINDS, l, exact(now[[n, c, l]]))));
        };
        let first = |n: usize, l: usize| n == 1 && l == 0;
        change(&mut own.x, &|n, kind, l, v| match kind {
            2 => v * huge,
            3 if first(n, l) => f64::NAN,
            5 | 7 => 3.0,
            6 => v + 300.0,
            8 => v * 1e-30,
            10 if first(n, l) => f64::INFINITY,
            _ => v,
        });
        change(&mut own.dy, &|n, kind, l, v| match kind {
            4 if (n + l) % 4 == 0 => f64::NAN,
            9 => v * huge,
            11 if (n + l) % 5 == 0 => f64::NEG_INFINITY,
            _ => v,
        });
        change(&mut own.residual, &|n, kind, l, v| match kind {
            1 => v * 1e-33,
            4 if first(n, l) => f64::NAN,
            5 if l % 2 == 0 => 0.0,
            _ => v,
        });
        let real = T::Compute::from_f64;
        for (c, (weight, bias)) in own.bn.weight.iter_mut().zip(&mut own.bn.bias).enumerate() {
            match c % KINDS {
                1 => (*weight, *bias) = (real(1e-33), real(0.0)),
                5 => *bias = real(0.0),
                7 => *bias = real(6.0),
                8 => *bias = real(-1e-36),
                _ => {}
            }
        }
        own
    }

    /// What is done beside normalizing: an activation, perhaps with a residual, perhaps with a mask.
    pub(crate) fn options(
        &self,
        activation: Activation,
        [plus, masked]: [bool; 2],
    ) -> Options<ArrayView3<'_, T>, ArrayView2<'_, bool>> {
        let mut options = Options::default().activation(activation);
        options.residual = plus.then(|| self.residual.view());
        options.mask = masked.then(|| self.mask.view());
        options
    }

    /// A forward in either mode.
    pub(crate) fn forward(
        &self,
        mode: Mode,
        options: Options<ArrayView3<'_, T>, ArrayView2<'_, bool>>,
    ) -> (Array3<T>, Saved<T>) {
        match mode {
            Mode::Train => self.bn.forward_uncommitted_with(&self.x, options).unwrap(),
            Mode::Eval => self.bn.forward_eval_with(&self.x, options).unwrap(),
        }
    }

    /// The bits of dx, dγ and dβ, and those of dresidual.
    pub(crate) fn backward(
        &self,
        saved: &Saved<T>,
        dy: &Array3<T>,
        kept: Kept<ArrayView3<'_, T>, ArrayView2<'_, bool>>,
    ) -> ([Vec<u64>; 3], Option<Vec<u64>>) {
        let g = self.bn.backward_with(saved, &self.x, dy, kept).unwrap();
        let all = [bits_of(&g.dx), bits_of(&g.dweight), bits_of(&g.dbias)];
        (all, g.dresidual.as_ref().map(bits_of))
    }
}

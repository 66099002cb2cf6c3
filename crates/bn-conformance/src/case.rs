//! A case: inputs of one step and what a reference computed from them.

use crate::exact::Exact;
use bn_core::{Activation, Config, Kept, Options, Renorm};
use bn_core::{Element, Layout, Mode, Real, Shape};
use std::fmt;

/// A result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as in cases/README.md")]
pub enum Tensor {
    Y,
    Dx,
    Dresidual,
    Dweight,
    Dbias,
    DdDy,
    DdX,
    DdWeight,
    Mean,
    Var,
    RunningMean,
    RunningVar,
}

impl Tensor {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Y,
        Self::Dx,
        Self::Dresidual,
        Self::Dweight,
        Self::Dbias,
        Self::DdDy,
        Self::DdX,
        Self::DdWeight,
        Self::Mean,
        Self::Var,
        Self::RunningMean,
        Self::RunningVar,
    ];

    /// Whether it has the input's dimensions; the others have a value per feature.
    #[must_use]
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Y | Self::Dx | Self::Dresidual | Self::DdDy | Self::DdX)
    }

    /// The name that files and reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Y => "y",
            Self::Dx => "dx",
            Self::Dresidual => "dresidual",
            Self::Dweight => "dweight",
            Self::Dbias => "dbias",
            Self::DdDy => "dd.dy",
            Self::DdX => "dd.x",
            Self::DdWeight => "dd.weight",
            Self::Mean => "mean",
            Self::Var => "var",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
        }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Results by tensor; f64 holds values of every element type exactly, and a reference may tell more digits.
#[derive(Clone, Debug, Default)]
pub struct Results(Vec<Values>);

#[derive(Clone, Debug)]
struct Values {
    tensor: Tensor,
    near: Vec<f64>,
    /// As in [`Exact`]; none where the values are not known beyond f64.
    rest: Option<Vec<f64>>,
}

impl Results {
    /// Adds a tensor.
    pub fn insert(&mut self, tensor: Tensor, values: Vec<f64>) {
        self.0.push(Values { tensor, near: values, rest: None });
    }

    /// Adds a tensor whose values are known beyond f64.
    pub fn insert_exact(&mut self, tensor: Tensor, values: &[Exact]) {
        let near = values.iter().map(|v| v.near).collect();
        self.0.push(Values { tensor, near, rest: Some(values.iter().map(|v| v.rest).collect()) });
    }

    /// Adds those of others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Leaves out all tensors but these.
    pub fn keep(&mut self, tensors: &[Tensor]) {
        self.0.retain(|v| tensors.contains(&v.tensor));
    }

    /// A tensor's values.
    #[must_use]
    pub fn get(&self, tensor: Tensor) -> Option<&[f64]> {
        self.0.iter().find(|v| v.tensor == tensor).map(|v| v.near.as_slice())
    }

    /// What f64 leaves off of a tensor's values, as [`Exact`] has it, where that is known.
    #[must_use]
    pub fn rests(&self, tensor: Tensor) -> Option<&[f64]> {
        self.0.iter().find(|v| v.tensor == tensor)?.rest.as_deref()
    }

    /// All tensors.
    pub fn iter(&self) -> impl Iterator<Item = (Tensor, &[f64])> {
        self.0.iter().map(|v| (v.tensor, v.near.as_slice()))
    }
}

/// What the gradients are multiplied with: the double backward is that of ⟨dx,dx⟩ + ⟨dweight,dγ⟩ + ⟨dbias,dβ⟩. What is absent is 0.
#[derive(Clone, Debug, Default)]
pub struct Cotangents<T: Element> {
    /// Of dx.
    pub dx: Option<Vec<T>>,
    /// Of dγ.
    pub dweight: Option<Vec<T::Compute>>,
    /// Of dβ.
    pub dbias: Option<Vec<T::Compute>>,
}

/// Inputs of one step, and its expected results.
#[derive(Clone, Debug, Default)]
pub struct Case<T: Element> {
    /// What reports call it.
    pub name: String,
    /// The dimensions of x, in the order of `config.layout`.
    pub dims: Vec<usize>,
    /// Training or evaluation.
    pub mode: Mode,
    /// The layer's settings.
    pub config: Config,
    /// How many batches came before.
    pub num_batches_tracked: i64,
    /// The input.
    pub x: Vec<T>,
    /// The gradient of the output; absent where only the forward is checked.
    pub dy: Option<Vec<T>>,
    /// γ and β, where the layer has them.
    pub affine: [Option<Vec<T::Compute>>; 2],
    /// What comes after normalize.
    pub activation: Activation,
    /// What is added before that.
    pub residual: Option<Vec<T>>,
    /// Which samples and positions are valid; absent: all.
    pub mask: Option<Vec<bool>>,
    /// RMAX and DMAX of batch renormalization; absent: none.
    pub renorm: Option<[f64; 2]>,
    /// The running mean and variance before the step.
    pub running: Option<[Vec<T::Compute>; 2]>,
    /// Of the double backward, where it is checked.
    pub cotangents: Option<Cotangents<T>>,
    /// What the step must give.
    pub expect: Results,
    /// (rtol, atol), where the source's own values are rounded.
    pub rounded: Option<(f64, f64)>,
}

impl<T: Element> Case<T> {
    /// The shape as the layer sees it.
    ///
    /// # Errors
    /// As [`Shape::from_dims`].
    pub fn shape(&self) -> Result<Shape, bn_core::Error> {
        Ok(Shape::from_dims(&self.dims, self.config.layout)?)
    }

    /// The inputs with a value per feature, by the names that files use.
    pub fn per_feature(&self) -> impl Iterator<Item = (&'static str, &[T::Compute])> {
        let [weight, bias] = self.affine.each_ref().map(Option::as_deref);
        let running = |i: usize| self.running.as_ref().map(|pair| &pair[i][..]);
        let names = ["weight", "bias", "running_mean", "running_var"];
        let values = [weight, bias, running(0), running(1)];
        names.into_iter().zip(values).filter_map(|(name, values)| Some((name, values?)))
    }

    /// Whether the step uses the batch's statistics.
    #[must_use]
    pub fn from_batch(&self) -> bool {
        self.mode == Mode::Train || self.running.is_none()
    }

    /// RMAX and DMAX, where the step is renormalized by them.
    #[must_use]
    pub fn renormed(&self) -> Option<[f64; 2]> {
        self.renorm.filter(|_| self.mode == Mode::Train && self.running.is_some())
    }

    /// γ and β of feature `f`.
    #[must_use]
    pub fn params(&self, f: usize) -> (f64, f64) {
        let [weight, bias] = self.affine.each_ref().map(|p| p.as_ref().map(|p| p[f].to_f64()));
        (weight.unwrap_or(1.0), bias.unwrap_or(0.0))
    }

    /// The options of its forward.
    #[must_use]
    pub fn options(&self) -> Options<&[T], &[bool]> {
        let mut options = Options::default().activation(self.activation);
        (options.residual, options.mask) = (self.residual.as_deref(), self.mask.as_deref());
        options.renorm = self.renorm.map(|[r_max, d_max]| Renorm { r_max, d_max });
        options
    }

    /// What is kept of it for the backward, beside the output.
    #[must_use]
    pub fn kept(&self) -> Kept<&[T], &[bool]> {
        let mut kept = Kept::default();
        (kept.residual, kept.mask) = (self.residual.as_deref(), self.mask.as_deref());
        kept
    }

    /// The activation, its slope as the type that is computed in has it.
    #[must_use]
    pub fn rounded_activation(&self) -> Activation {
        match self.activation {
            Activation::LeakyRelu(slope) => Activation::LeakyRelu(T::Compute::from_f64(slope).to_f64()),
            other => other,
        }
    }

    /// What of a dy passes on the lower side of the activation: it is rounded to the type, as behind a layer of its own.
    #[must_use]
    pub fn below(&self, dy: f64) -> f64 {
        let number = T::Compute::from_f64;
        match self.activation {
            Activation::LeakyRelu(slope) if slope != 0.0 => {
                T::from_compute(number(dy) * number(slope)).to_compute().to_f64()
            }
            _ => 0.0,
        }
    }

    /// Of the values of a feature those that are valid.
    pub fn valid<V>(&self, values: Vec<V>) -> Vec<V> {
        match &self.mask {
            Some(mask) => values.into_iter().zip(mask).filter(|(_, valid)| **valid).map(|(v, _)| v).collect(),
            None => values,
        }
    }

    /// Puts the valid values of a feature back among the others, which are `absent`.
    pub fn spread<V: Copy>(&self, valid: Vec<V>, absent: V) -> Vec<V> {
        let Some(mask) = &self.mask else { return valid };
        let mut valid = valid.into_iter();
        mask.iter().map(|&is| is.then(|| valid.next()).flatten().unwrap_or(absent)).collect()
    }

    /// Whether element `index` of a whole tensor is valid.
    #[must_use]
    pub fn is_valid(&self, index: usize) -> bool {
        let (inner, features) = (self.inner().max(1), self.features().max(1));
        let position = index / (inner * features) * inner + index % inner;
        self.mask.as_ref().is_none_or(|mask| mask[position])
    }

    /// The valid values of a feature.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.mask {
            Some(mask) => mask.iter().filter(|valid| **valid).count(),
            None => self.x.len() / self.features().max(1),
        }
    }

    /// The values of `tensor`, one feature after the other.
    #[must_use]
    pub fn by_feature(&self, tensor: &[T]) -> Vec<Vec<f64>> {
        let features = self.features();
        let inner = self.inner();
        let mut split = vec![Vec::with_capacity(tensor.len() / features.max(1)); features];
        for (i, run) in tensor.chunks(inner.max(1)).enumerate() {
            split[i % features].extend(run.iter().map(|v| v.to_compute().to_f64()));
        }
        split
    }

    /// How many values of a feature stand in a row.
    #[must_use]
    pub fn inner(&self) -> usize {
        match self.config.layout {
            Layout::ChannelsFirst => self.dims.get(2..).unwrap_or_default().iter().product(),
            Layout::ChannelsLast => 1,
        }
    }

    /// C.
    #[must_use]
    pub fn features(&self) -> usize {
        self.dims.get(self.axis()).copied().unwrap_or(0)
    }

    /// The place of C among the dimensions.
    #[must_use]
    pub fn axis(&self) -> usize {
        match self.config.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => self.dims.len().saturating_sub(1),
        }
    }

    /// Puts values that stand one feature after the other back into the tensor's order.
    #[must_use]
    pub fn by_position<V: Copy>(&self, split: &[Vec<V>]) -> Vec<V> {
        let inner = self.inner();
        let outer = split.first().map_or(0, |f| f.len() / inner.max(1));
        let mut tensor = Vec::with_capacity(self.x.len());
        for o in 0..outer {
            for feature in split {
                tensor.extend_from_slice(&feature[o * inner..(o + 1) * inner]);
            }
        }
        tensor
    }
}

//! A case: inputs of one step and what a reference computed from them.

use bn_core::Config;
use bn_core::{Element, Layout, Mode, Real, Shape};
use std::fmt;

/// A result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as in cases/README.md")]
pub enum Tensor {
    Y,
    Dx,
    Dweight,
    Dbias,
    Mean,
    Var,
    RunningMean,
    RunningVar,
}

impl Tensor {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Y,
        Self::Dx,
        Self::Dweight,
        Self::Dbias,
        Self::Mean,
        Self::Var,
        Self::RunningMean,
        Self::RunningVar,
    ];

    /// The name that files and reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Y => "y",
            Self::Dx => "dx",
            Self::Dweight => "dweight",
            Self::Dbias => "dbias",
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

/// Results by tensor; f64 holds values of every element type exactly.
#[derive(Clone, Debug, Default)]
pub struct Results(Vec<(Tensor, Vec<f64>)>);

impl Results {
    /// Adds a tensor.
    pub fn insert(&mut self, tensor: Tensor, values: Vec<f64>) {
        self.0.push((tensor, values));
    }

    /// Leaves out all tensors but these.
    pub fn keep(&mut self, tensors: &[Tensor]) {
        self.0.retain(|(t, _)| tensors.contains(t));
    }

    /// A tensor's values.
    #[must_use]
    pub fn get(&self, tensor: Tensor) -> Option<&[f64]> {
        self.0.iter().find(|(t, _)| *t == tensor).map(|(_, v)| v.as_slice())
    }

    /// All tensors.
    pub fn iter(&self) -> impl Iterator<Item = (Tensor, &[f64])> {
        self.0.iter().map(|(t, v)| (*t, v.as_slice()))
    }
}

/// Inputs of one step, and its expected results.
#[derive(Clone, Debug)]
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
    /// γ and β.
    pub affine: Option<[Vec<T::Compute>; 2]>,
    /// The running mean and variance before the step.
    pub running: Option<[Vec<T::Compute>; 2]>,
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

    /// Whether the step uses the batch's statistics.
    #[must_use]
    pub fn from_batch(&self) -> bool {
        self.mode == Mode::Train || self.running.is_none()
    }

    /// γ and β of feature `f`.
    #[must_use]
    pub fn params(&self, f: usize) -> (f64, f64) {
        self.affine.as_ref().map_or((1.0, 0.0), |[w, b]| (w[f].to_f64(), b[f].to_f64()))
    }

    /// The values of `tensor`, one feature after the other.
    #[must_use]
    pub fn by_feature(&self, tensor: &[T]) -> Vec<Vec<f64>> {
        let features = self.features();
        let inner: usize = match self.config.layout {
            Layout::ChannelsFirst => self.dims.get(2..).unwrap_or_default().iter().product(),
            Layout::ChannelsLast => 1,
        };
        let mut split = vec![Vec::with_capacity(tensor.len() / features.max(1)); features];
        for (i, run) in tensor.chunks(inner.max(1)).enumerate() {
            split[i % features].extend(run.iter().map(|v| v.to_compute().to_f64()));
        }
        split
    }

    /// C.
    #[must_use]
    pub fn features(&self) -> usize {
        let axis = match self.config.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => self.dims.len().saturating_sub(1),
        };
        self.dims.get(axis).copied().unwrap_or(0)
    }

    /// Puts values that stand one feature after the other back into the tensor's order.
    #[must_use]
    pub fn by_position(&self, split: &[Vec<f64>]) -> Vec<f64> {
        let inner: usize = match self.config.layout {
            Layout::ChannelsFirst => self.dims[2..].iter().product(),
            Layout::ChannelsLast => 1,
        };
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

//! The module: burn's interface and fields.

use crate::call::Call;
use crate::ops::{Committer, NormOps, Residual, Tensors};
use burn::backend::{Dispatch, DispatchDevice};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param, RunningState};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, assert_shape};
use std::sync::{Mutex, PoisonError};

/// The settings of a [`BatchNorm`], as burn's.
#[derive(Config, Debug)]
pub struct BatchNormConfig {
    /// The number of features, greater than 0.
    pub num_features: usize,
    /// Added to the variance: finite, greater than 0. Default: 10⁻⁵.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// The weight of a batch's statistic in the running one, r ← (1−m)·r + m·s: from 0 to 1. Default: 0.1.
    #[config(default = 0.1)]
    pub momentum: f64,
    /// Whether the running variance takes Σ(x−μ)²/(n−1), as PyTorch does, or Σ(x−μ)²/n, as burn does; `None` for the first. A file of
    /// burn's own config has no such field, and loads.
    pub unbiased: Option<bool>,
}

/// Batch normalization over axis 1 of tensors of shape (N, C, ...), as [`burn::nn::BatchNorm`]: made by
/// [`BatchNormConfig::init`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BatchNorm {
    /// γ, shape (C,).
    pub gamma: Param<Tensor<1>>,
    /// β, shape (C,).
    pub beta: Param<Tensor<1>>,
    /// Whether the layer takes part in training.
    pub training: Param<Flag>,
    /// The running mean, shape (C,).
    pub running_mean: RunningState<Tensor<1>>,
    /// The running variance, shape (C,).
    pub running_var: RunningState<Tensor<1>>,
    /// The weight of a batch's statistic in the running one.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether the running variance takes Σ(x−μ)²/(n−1). It is in no record.
    #[module(skip)]
    pub unbiased: bool,
}

impl BatchNormConfig {
    /// A layer on a device: γ = 1, β = 0, running mean 0 and variance 1.
    ///
    /// # Panics
    /// Where a setting is outside of its range, as burn's.
    #[must_use]
    pub fn init(&self, device: &Device) -> BatchNorm {
        let own = burn::nn::BatchNormConfig::new(self.num_features)
            .with_epsilon(self.epsilon)
            .with_momentum(self.momentum)
            .init(device);
        BatchNorm {
            gamma: own.gamma,
            beta: own.beta,
            training: own.training,
            running_mean: own.running_mean,
            running_var: own.running_var,
            momentum: own.momentum,
            epsilon: own.epsilon,
            unbiased: self.unbiased.unwrap_or(true),
        }
    }
}

impl BatchNorm {
    /// y = γ·x̂ + β of an input of shape (N, C, ...). On an autodiff device, and unless the layer is frozen, with the batch's
    /// statistics, which go into the running ones; else with the running ones.
    ///
    /// # Panics
    /// Where the input has another shape or type than the layer, as burn's.
    #[must_use]
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.call(input, None, false)
    }

    /// As [`forward`](Self::forward), then ReLU, in the same sweeps.
    ///
    /// # Panics
    /// Likewise.
    #[must_use]
    pub fn forward_relu<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.call(input, None, true)
    }

    /// As [`forward`](Self::forward), then a residual added and ReLU, in the same sweeps: the end of a residual block. The
    /// residual has the input's shape.
    ///
    /// # Panics
    /// Likewise, and where the residual has another shape or type.
    #[must_use]
    pub fn forward_add_relu<const D: usize>(&self, input: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        self.call(input, Some(residual), true)
    }

    fn call<const D: usize>(&self, input: Tensor<D>, residual: Option<Tensor<D>>, relu: bool) -> Tensor<D> {
        let [features] = self.gamma.shape().dims();
        assert_shape!(input, [_, features, ..]);
        if let Some(residual) = &residual {
            assert_eq!(residual.dims(), input.dims(), "batch norm expected a residual of the input's shape");
            assert_eq!(residual.dtype(), input.dtype(), "batch norm expected a residual of the input's type");
        }
        let device = input.device();
        let train = device.is_autodiff() && self.training.is_enabled();
        if !is_flex(&device) {
            return self.by_burn(input, residual, (train, relu));
        }
        let (momentum, unbiased) = (self.momentum, self.unbiased);
        let call = Call { train, relu, epsilon: self.epsilon, momentum, unbiased };
        let [mean, variance] =
            [&self.running_mean, &self.running_var].map(|state| state.value().to_device(&device));
        let [gamma, beta, mean, variance] =
            [self.gamma.val(), self.beta.val(), mean, variance].map(Tensor::into_dispatch);
        let residual = residual.map_or(Residual::None, |residual| Residual::Added(residual.into_dispatch()));
        let tensors = Tensors { x: input.into_dispatch(), gamma, beta, mean, variance, residual };
        let done = Dispatch::norm(tensors, call);
        if train {
            self.commit(&done.committer, &device);
        }
        Tensor::from_dispatch(done.output)
    }

    /// Weighs the statistics of a call into the running ones: threads that share a layer one after the other.
    fn commit(&self, committer: &Committer, device: &Device) {
        static COMMITTING: Mutex<()> = Mutex::new(());
        let _alone = COMMITTING.lock().unwrap_or_else(PoisonError::into_inner);
        let states = [&self.running_mean, &self.running_var];
        let committed = committer.commit(states.map(|state| state.value_sync().to_data()));
        for (state, data) in states.into_iter().zip(committed) {
            let dtype = data.dtype();
            state.update(Tensor::from_data(data, (device, dtype)).detach());
            // Now: burn's update waits for the next call of this thread, and other threads would not see it.
            let _ = state.value_sync();
        }
    }

    /// What other devices do.
    fn by_burn<const D: usize>(
        &self,
        input: Tensor<D>,
        residual: Option<Tensor<D>>,
        (train, with_relu): (bool, bool),
    ) -> Tensor<D> {
        let count = input.shape().num_elements() / self.gamma.shape().num_elements();
        let own = burn::nn::BatchNorm {
            gamma: self.gamma.clone(),
            beta: self.beta.clone(),
            training: self.training.clone(),
            running_mean: self.running_mean.clone(),
            running_var: self.running_var.clone(),
            momentum: self.momentum,
            epsilon: self.epsilon,
        };
        let before = self.running_var.value_sync();
        let y = own.forward(input);
        if train {
            let after = own.running_var.value_sync();
            self.running_mean.update(own.running_mean.value_sync());
            // burn's variance has n below it: what was added to the running one is put right.
            let bessel = if self.unbiased && count > 1 { count as f64 / (count - 1) as f64 } else { 1.0 };
            let kept = before.mul_scalar(1.0 - self.momentum);
            self.running_var.update((after - kept.clone()).mul_scalar(bessel) + kept);
        }
        let y = match residual {
            Some(residual) => y + residual,
            None => y,
        };
        if with_relu { relu(y) } else { y }
    }
}

/// Whether a tensor there is one of Flex.
fn is_flex(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Autodiff(device) => matches!(device.clone().inner(), DispatchDevice::Flex(_)),
        #[allow(unreachable_patterns, reason = "a program may have other backends")]
        _ => false,
    }
}

impl ModuleDisplay for BatchNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [features] = self.beta.shape().dims();
        let content = content
            .add("num_features", &features)
            .add("momentum", &self.momentum)
            .add("epsilon", &self.epsilon)
            .add("unbiased", &self.unbiased);
        match self.training.is_enabled() {
            true => content.optional(),
            false => content.add("training", &self.training).optional(),
        }
    }
}

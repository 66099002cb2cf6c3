//! The module: candle's interface and fields.

use crate::float::Float;
use crate::op;
use batchnorm::{Activation, RunningVar, Shape};
use bn_adapter::{Order, Step};
use candle_core::{DType, Error, Result, Tensor, Var, bail};
use candle_nn::{BatchNormConfig, ModuleT, VarBuilder};
use half::{bf16, f16};
use std::sync::{Arc, Mutex, PoisonError};

/// Batch normalization over axis 1 of (N, C), (N, C, L), (N, C, H, W) and so on, as [`candle_nn::BatchNorm`].
///
/// Constructors take what candle's take: running mean, running variance, weight γ and bias β of shape (C,), and eps, which is added to
/// the variance. Variables stay variables: what a training step makes of the running statistics is in the `VarMap` they come from.
/// Clones share them.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    theirs: candle_nn::BatchNorm,
    remove_mean: bool,
}

/// A layer for `num_features` channels, with its variables `running_mean`, `running_var`, `weight` and `bias` from `vb`, as
/// [`candle_nn::batch_norm()`].
///
/// # Errors
/// candle's own: an eps below 0, a variable of another shape.
pub fn batch_norm<C: Into<BatchNormConfig>>(
    num_features: usize,
    config: C,
    vb: VarBuilder<'_>,
) -> Result<BatchNorm> {
    let config = config.into();
    let theirs = candle_nn::batch_norm(num_features, config, vb)?;
    Ok(BatchNorm { theirs, remove_mean: config.remove_mean })
}

/// What a call does beside normalizing.
#[derive(Clone, Copy)]
struct Call<'t> {
    train: bool,
    residual: Option<&'t Tensor>,
    relu: bool,
}

impl BatchNorm {
    /// With γ, β and momentum 0.1.
    ///
    /// # Errors
    /// candle's own: an eps below 0, a tensor of another shape than (C,).
    pub fn new(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
    ) -> Result<Self> {
        candle_nn::BatchNorm::new(num_features, running_mean, running_var, weight, bias, eps).map(Self::of)
    }

    /// Without γ and β, and with momentum 0.1.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_no_bias(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        eps: f64,
    ) -> Result<Self> {
        candle_nn::BatchNorm::new_no_bias(num_features, running_mean, running_var, eps).map(Self::of)
    }

    /// With γ and β; the momentum is the weight of the new statistic.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for a momentum outside of 0 to 1.
    pub fn new_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        let own = candle_nn::BatchNorm::new_with_momentum;
        own(num_features, running_mean, running_var, weight, bias, eps, momentum).map(Self::of)
    }

    /// Without γ and β; the momentum is the weight of the new statistic.
    ///
    /// # Errors
    /// As [`new_with_momentum`](Self::new_with_momentum).
    pub fn new_no_bias_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        let own = candle_nn::BatchNorm::new_no_bias_with_momentum;
        own(num_features, running_mean, running_var, eps, momentum).map(Self::of)
    }

    fn of(theirs: candle_nn::BatchNorm) -> Self {
        Self { theirs, remove_mean: true }
    }

    /// The running mean, shape (C,): a variable.
    pub fn running_mean(&self) -> &Tensor {
        self.theirs.running_mean()
    }

    /// The running variance, shape (C,): a variable.
    pub fn running_var(&self) -> &Tensor {
        self.theirs.running_var()
    }

    /// What is added to the variance.
    pub fn eps(&self) -> f64 {
        self.theirs.eps()
    }

    /// γ and β, each of shape (C,), where there are.
    pub fn weight_and_bias(&self) -> Option<(&Tensor, &Tensor)> {
        self.theirs.weight_and_bias()
    }

    /// The weight of a batch's statistic in the running one: r ← (1−m)·r + m·s.
    pub fn momentum(&self) -> f64 {
        self.theirs.momentum()
    }

    /// The batch's statistics normalize, and go into the running ones, the variance with n/(n−1).
    ///
    /// # Errors
    /// Where the input has not at least two axes with C on axis 1, is of another type than the layer, or has a single value per
    /// channel. The running statistics are then as before.
    pub fn forward_train(&self, x: &Tensor) -> Result<Tensor> {
        self.call(x, Call { train: true, residual: None, relu: false })
    }

    /// As [`forward_t`](ModuleT::forward_t), then ReLU, in the same sweeps.
    ///
    /// # Errors
    /// As [`forward_train`](Self::forward_train).
    pub fn forward_t_relu(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.call(x, Call { train, residual: None, relu: true })
    }

    /// As [`forward_t`](ModuleT::forward_t), then a residual added and ReLU, in the same sweeps: the end of a residual block.
    /// The residual has x's shape and type.
    ///
    /// # Errors
    /// As [`forward_train`](Self::forward_train), and where the residual is of another shape or type than x.
    pub fn forward_t_add_relu(&self, x: &Tensor, residual: &Tensor, train: bool) -> Result<Tensor> {
        self.call(x, Call { train, residual: Some(residual), relu: true })
    }

    fn call(&self, x: &Tensor, call: Call<'_>) -> Result<Tensor> {
        let features = self.running_mean().dim(0)?;
        if x.rank() < 2 {
            bail!("batch-norm input tensor must have at least two dimensions ({:?})", x.shape())
        }
        if x.dim(1)? != features {
            bail!(
                "batch-norm input doesn't have the expected number of features ({:?} <> {features})",
                x.shape()
            )
        }
        if let Some(residual) = call.residual {
            check_same(x, residual)?;
        }
        if !(0.0..=1.0).contains(&self.momentum()) {
            bail!("batch-norm momentum must be between 0 and 1, is {}", self.momentum())
        }
        let count = x.elem_count() / features.max(1);
        if call.train && count == 1 {
            bail!("batch-norm expected more than one value per channel in training, got {:?}", x.shape())
        }
        let ours = x.device().is_cpu() && self.remove_mean && self.eps() != 0.0;
        match x.dtype() {
            DType::F32 if ours => self.step::<f32>(x, call),
            DType::F64 if ours => self.step::<f64>(x, call),
            DType::F16 if ours => self.step::<f16>(x, call),
            DType::BF16 if ours => self.step::<bf16>(x, call),
            _ => self.by_candle(x, call),
        }
    }

    /// candle's own layer. It would move the running statistics before it fails, and make NaN of them where there is no sample.
    fn by_candle(&self, x: &Tensor, Call { train, residual, relu }: Call<'_>) -> Result<Tensor> {
        for tensor in self.tensors() {
            if tensor.dtype() != x.dtype() {
                let (lhs, rhs) = (x.dtype(), tensor.dtype());
                return Err(Error::DTypeMismatchBinaryOp { lhs, rhs, op: "batch-norm" }.bt());
            }
        }
        if train && matches!(x.dtype(), DType::F16 | DType::BF16) {
            bail!("batch-norm on this device, without the mean, or with eps 0 trains no {:?}", x.dtype())
        }
        if x.elem_count() == 0 {
            return Ok(x.clone());
        }
        let y = self.theirs.forward_t(x, train)?;
        let y = residual.map_or_else(|| Ok(y.clone()), |residual| &y + residual)?;
        if relu { y.relu() } else { Ok(y) }
    }

    /// Running statistics and parameters.
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let affine = self.weight_and_bias().map(|(weight, bias)| [weight, bias]);
        [self.running_mean(), self.running_var()].into_iter().chain(affine.into_iter().flatten())
    }

    fn step<T: Float>(&self, x: &Tensor, Call { train, residual, relu }: Call<'_>) -> Result<Tensor> {
        let rank = x.rank();
        let order = Order::of(rank, |axes| x.permute(axes).is_ok_and(|view| view.is_contiguous()));
        // Not for the tensor's own order: candle would take the gradient through a node of its own.
        let permuted = |tensor: &Tensor, axes: Vec<usize>| match order {
            Order::Own => Ok(tensor.clone()),
            Order::Last => tensor.permute(axes),
        };
        let into = |tensor: &Tensor| permuted(tensor, order.axes(rank))?.contiguous();
        let (x, residual) = (into(x)?, residual.map(into).transpose()?);
        let shape = Shape::from_dims(x.dims(), order.layout()).map_err(Error::wrap)?;
        self.tensors().try_for_each(check_type::<T>)?;
        let eps = self.eps();
        let step = match train {
            true => Step::<T>::train(shape, eps),
            false => Step::eval(shape, eps, self.running::<T>()?),
        };
        let step = Arc::new(step.activation(if relu { Activation::Relu } else { Activation::Identity }));
        let affine = match self.weight_and_bias() {
            Some((weight, bias)) => Some([wide::<T>(weight)?, wide::<T>(bias)?]),
            None => None,
        };
        let y = op::apply(&step, &x, affine.as_ref(), residual.as_ref())?;
        if train {
            self.commit(&step)?;
        }
        permuted(&y, order.back(rank))
    }

    /// Weighs the statistics of a step into the running ones: threads that share a layer one after the other.
    fn commit<T: Float>(&self, step: &Step<T>) -> Result<()> {
        static COMMITTING: Mutex<()> = Mutex::new(());
        let _alone = COMMITTING.lock().unwrap_or_else(PoisonError::into_inner);
        let [mut mean, mut var] = self.running::<T>()?;
        step.commit(RunningVar::Unbiased, &mut mean, &mut var, self.momentum()).map_err(Error::wrap)?;
        set(self.running_mean(), mean)?;
        set(self.running_var(), var)
    }

    /// The running mean and variance.
    fn running<T: Float>(&self) -> Result<[Vec<T::Compute>; 2]> {
        let values = |tensor: &Tensor| wide::<T>(&tensor.detach())?.to_vec1();
        Ok([values(self.running_mean())?, values(self.running_var())?])
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.call(x, Call { train, residual: None, relu: false })
    }
}

/// Whether a parameter or a statistic is in a type that goes with the tensors: theirs, or f32 for half types.
fn check_type<T: Float>(tensor: &Tensor) -> Result<()> {
    let (own, wide) = (tensor.dtype(), <T::Compute as candle_core::WithDType>::DTYPE);
    if own != wide && own != T::DTYPE {
        return Err(Error::DTypeMismatchBinaryOp { lhs: T::DTYPE, rhs: own, op: "batch-norm" }.bt());
    }
    Ok(())
}

/// A parameter or a statistic in the type that the layer computes in, contiguous.
fn wide<T: Float>(tensor: &Tensor) -> Result<Tensor> {
    tensor.to_dtype(<T::Compute as candle_core::WithDType>::DTYPE)?.contiguous()
}

/// Puts values into a variable, in its type.
fn set<R: candle_core::WithDType>(variable: &Tensor, values: Vec<R>) -> Result<()> {
    let values = Tensor::from_vec(values, variable.shape(), variable.device())?;
    Var::from_tensor(variable)?.set(&values.to_dtype(variable.dtype())?)
}

/// Whether a residual goes with x.
fn check_same(x: &Tensor, residual: &Tensor) -> Result<()> {
    const OP: &str = "batch-norm add";
    if x.shape() != residual.shape() {
        let (lhs, rhs) = (x.shape().clone(), residual.shape().clone());
        return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: OP }.bt());
    }
    if x.dtype() != residual.dtype() {
        return Err(Error::DTypeMismatchBinaryOp { lhs: x.dtype(), rhs: residual.dtype(), op: OP }.bt());
    }
    Ok(())
}

//! A step of the layer over tensors of Flex, and what its backward needs.

use crate::call::Call;
use crate::float::{Float, elements, per_feature, pooled, wide};
use crate::pool;
use batchnorm::{Activation, Layout, OneValue, RunningVar, Shape};
use bn_adapter::{Inputs, Step, Wanted};
use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::{bf16, f16};
use std::fmt::Debug;
use std::sync::Arc;

/// What a forward reads.
pub(crate) struct Read<'t> {
    pub(crate) x: &'t FlexTensor,
    pub(crate) gamma: &'t FlexTensor,
    pub(crate) beta: &'t FlexTensor,
    /// The running mean and variance.
    pub(crate) running: [&'t FlexTensor; 2],
    pub(crate) residual: Option<&'t FlexTensor>,
}

/// What it gives.
pub(crate) struct Done {
    pub(crate) output: FlexTensor,
    /// The running mean and variance afterwards.
    pub(crate) running: [FlexTensor; 2],
    pub(crate) node: Arc<dyn Node>,
}

/// A forward that waits for its backward.
pub(crate) trait Node: Debug + Send + Sync {
    /// The gradients that are wanted, in the order x, γ, β and residual; `y` is the output, where a residual was added.
    fn backward(
        &self,
        read: [&FlexTensor; 3],
        y: Option<&FlexTensor>,
        dy: &FlexTensor,
        wanted: Wanted,
    ) -> [Option<FlexTensor>; 4];
}

/// # Panics
/// Where a parameter is of another type or a tensor of another shape, as burn's own operations do.
pub(crate) fn forward(read: &Read<'_>, call: Call) -> Done {
    match read.x.dtype() {
        DType::F32 => typed::<f32>(read, call),
        DType::F64 => typed::<f64>(read, call),
        DType::F16 => typed::<f16>(read, call),
        DType::BF16 => typed::<bf16>(read, call),
        other => panic!("batch norm expected an input of F32, F64, F16 or BF16, got {other:?}"),
    }
}

#[derive(Debug)]
struct Typed<T: Float> {
    step: Step<T>,
    order: Order,
}

fn typed<T: Float>(read: &Read<'_>, call: Call) -> Done {
    let order = Order::of(read.x);
    let (x, residual) = (order.into(read.x), read.residual.map(|residual| order.into(residual)));
    let dims: Vec<usize> = x.layout().shape().iter().copied().collect();
    let shape = Shape::from_dims(&dims, order.layout()).unwrap_or_else(|error| panic!("{error}"));
    let [mean, var] = read.running.map(|tensor| wide::<T>(tensor).into_owned());
    let step = match call.train {
        true => Step::<T>::train(shape, call.epsilon),
        false => Step::eval(shape, call.epsilon, [mean.clone(), var.clone()]),
    };
    let activation = if call.relu { Activation::Relu } else { Activation::Identity };
    let step = step.activation(activation).one_value(OneValue::Bias);
    let (gamma, beta) = (wide::<T>(read.gamma), wide::<T>(read.beta));
    let inputs = Inputs {
        x: elements(&x),
        weight: Some(&gamma),
        bias: Some(&beta),
        residual: residual.as_ref().map(elements),
    };
    let y = step
        .forward_in(pool::take(x.layout().num_elements()), inputs)
        .unwrap_or_else(|error| panic!("batch norm: {error}"));
    let (mut mean, mut var) = (mean, var);
    if call.train {
        let kind = if call.unbiased { RunningVar::Unbiased } else { RunningVar::Biased };
        step.commit_as(kind, &mut mean, &mut var, call.momentum)
            .unwrap_or_else(|error| panic!("batch norm: {error}"));
    }
    let [of_mean, of_var] = read.running.map(FlexTensor::dtype);
    Done {
        output: order.back(pooled(y, &dims)),
        running: [per_feature::<T>(mean, of_mean), per_feature::<T>(var, of_var)],
        node: Arc::new(Typed { step, order }),
    }
}

impl<T: Float> Node for Typed<T> {
    fn backward(
        &self,
        [x, gamma, beta]: [&FlexTensor; 3],
        y: Option<&FlexTensor>,
        dy: &FlexTensor,
        wanted: Wanted,
    ) -> [Option<FlexTensor>; 4] {
        let (x, dy, y) = (self.order.into(x), self.order.into(dy), y.map(|y| self.order.into(y)));
        let (weight, bias) = (wide::<T>(gamma), wide::<T>(beta));
        let inputs = Inputs { weight: Some(&weight), bias: Some(&bias), ..Inputs::new(elements(&x)) };
        let of = self
            .step
            .backward_in(pool::take, inputs, y.as_ref().map(elements), elements(&dy), wanted)
            .unwrap_or_else(|error| panic!("batch norm: {error}"));
        let dims: Vec<usize> = x.layout().shape().iter().copied().collect();
        let whole = |values: Option<Vec<T>>| values.map(|values| self.order.back(pooled(values, &dims)));
        [
            whole(of.dx),
            of.dweight.map(|values| per_feature::<T>(values, gamma.dtype())),
            of.dbias.map(|values| per_feature::<T>(values, beta.dtype())),
            whole(of.dresidual),
        ]
    }
}

/// In what order the memory of a tensor has its axes.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// That of the tensor, or of a copy.
    Own,
    /// Channels last.
    Last,
}

impl Order {
    fn of(x: &FlexTensor) -> Self {
        if !x.is_contiguous() && Self::Last.view(x).is_contiguous() { Self::Last } else { Self::Own }
    }

    fn layout(self) -> Layout {
        match self {
            Self::Own => Layout::ChannelsFirst,
            Self::Last => Layout::ChannelsLast,
        }
    }

    /// The tensor with its axes in this order.
    fn view(self, x: &FlexTensor) -> FlexTensor {
        match self {
            Self::Own => x.clone(),
            Self::Last => {
                x.permute(&[&[0], &(2..x.layout().num_dims()).collect::<Vec<_>>()[..], &[1]].concat())
            }
        }
    }

    /// The same, contiguous.
    fn into(self, x: &FlexTensor) -> FlexTensor {
        let view = self.view(x);
        if view.is_contiguous() { view } else { view.to_contiguous() }
    }

    /// From this order to the tensor's.
    fn back(self, y: FlexTensor) -> FlexTensor {
        match self {
            Self::Own => y,
            Self::Last => {
                let last = y.layout().num_dims() - 1;
                y.permute(&[&[0, last], &(1..last).collect::<Vec<_>>()[..]].concat())
            }
        }
    }
}

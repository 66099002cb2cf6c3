//! A step of the layer over tensors of Flex, and what its backward needs.

use crate::call::Call;
use crate::float::{Float, elements, per_feature, pooled, wide};
use crate::pool;
use batchnorm::{Activation, OneValue, RunningVar, Shape};
use bn_adapter::{Inputs, Order, Step, Wanted};
use burn::tensor::{DType, TensorData};
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

/// A forward that waits for its commit and its backward.
pub(crate) trait Node: Debug + Send + Sync {
    /// The running mean and variance, with the statistics of the forward weighed in.
    fn commit(&self, running: [TensorData; 2]) -> [TensorData; 2];

    /// The gradients that are wanted, in the order x, γ, β and residual; `y` is the output, where a residual was added.
    fn backward(
        &self,
        x: &FlexTensor,
        y: Option<&FlexTensor>,
        dy: &FlexTensor,
        wanted: Wanted,
    ) -> [Option<FlexTensor>; 4];
}

/// The output, and what waits.
pub(crate) type Done = (FlexTensor, Arc<dyn Node>);

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
    call: Call,
    /// The types of γ and β, which their gradients have.
    params: [DType; 2],
}

fn typed<T: Float>(read: &Read<'_>, call: Call) -> Done {
    let order = Order::of(read.x.layout().num_dims(), |axes| read.x.permute(axes).is_contiguous());
    let (x, residual) = (into(order, read.x), read.residual.map(|residual| into(order, residual)));
    let dims = dims_of(&x);
    let shape = Shape::from_dims(&dims, order.layout()).unwrap_or_else(|error| panic!("{error}"));
    let step = match call.train {
        true => Step::<T>::train(shape, call.epsilon),
        false => Step::eval(shape, call.epsilon, read.running.map(|tensor| wide::<T>(tensor).into_owned())),
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
        .forward_in(pool::take(shape.len()), inputs)
        .unwrap_or_else(|error| panic!("batch norm: {error}"));
    let params = [read.gamma.dtype(), read.beta.dtype()];
    (back(order, pooled(y, &dims)), Arc::new(Typed { step, order, call, params }))
}

impl<T: Float> Node for Typed<T> {
    fn commit(&self, running: [TensorData; 2]) -> [TensorData; 2] {
        let kind = if self.call.unbiased { RunningVar::Unbiased } else { RunningVar::Biased };
        let of = running.each_ref().map(TensorData::dtype);
        let [mut mean, mut var] = running.map(|data| data.iter::<T::Compute>().collect::<Vec<_>>());
        self.step
            .commit(kind, &mut mean, &mut var, self.call.momentum)
            .unwrap_or_else(|error| panic!("batch norm: {error}"));
        let data = |values: Vec<T::Compute>, dtype| {
            let features = values.len();
            TensorData::new(values, [features]).convert_dtype(dtype)
        };
        [data(mean, of[0]), data(var, of[1])]
    }

    fn backward(
        &self,
        x: &FlexTensor,
        y: Option<&FlexTensor>,
        dy: &FlexTensor,
        wanted: Wanted,
    ) -> [Option<FlexTensor>; 4] {
        let Self { step, order, params: [of_gamma, of_beta], .. } = self;
        let (x, dy, y) = (into(*order, x), into(*order, dy), y.map(|y| into(*order, y)));
        let of = step
            .backward_in(pool::take, elements(&x), y.as_ref().map(elements), elements(&dy), wanted)
            .unwrap_or_else(|error| panic!("batch norm: {error}"));
        let dims = dims_of(&x);
        let whole = |values: Option<Vec<T>>| values.map(|values| back(*order, pooled(values, &dims)));
        [
            whole(of.dx),
            of.dweight.map(|values| per_feature::<T>(values, *of_gamma)),
            of.dbias.map(|values| per_feature::<T>(values, *of_beta)),
            whole(of.dresidual),
        ]
    }
}

fn dims_of(tensor: &FlexTensor) -> Vec<usize> {
    tensor.layout().shape().iter().copied().collect()
}

/// A tensor with its axes in this order, contiguous.
fn into(order: Order, tensor: &FlexTensor) -> FlexTensor {
    let view = tensor.permute(&order.axes(tensor.layout().num_dims()));
    if view.is_contiguous() { view } else { view.to_contiguous() }
}

/// From this order to its own.
fn back(order: Order, tensor: FlexTensor) -> FlexTensor {
    tensor.permute(&order.back(tensor.layout().num_dims()))
}

//! The layer as operations of burn's backends: Flex, and the autodiff that wraps it.

use crate::call::Call;
use crate::node::{self, Node, Read};
use bn_adapter::Wanted;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, ExtensionType, Flex, backend_extension};
use burn_flex::FlexTensor;
use std::sync::Arc;

/// What a call gives.
#[derive(ExtensionType)]
pub struct Normed<B: Backend> {
    /// y = act(γ·x̂ + β + residual), of x's shape.
    pub output: FloatTensor<B>,
    /// The running mean afterwards, shape (C,).
    pub mean: FloatTensor<B>,
    /// The running variance afterwards, shape (C,).
    pub variance: FloatTensor<B>,
}

/// Batch normalization over axis 1. Panics where tensors do not go together, as burn's operations do.
#[backend_extension(Flex, Autodiff)]
pub trait NormOps: Backend {
    /// Of x; γ, β and the running statistics have the shape (C,).
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        call: Call,
    ) -> Normed<Self>;

    /// The same, with a tensor of x's shape added before the activation.
    fn norm_add(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        call: Call,
    ) -> Normed<Self>;
}

impl NormOps for Flex {
    fn norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        call: Call,
    ) -> Normed<Self> {
        let running = [&mean, &variance];
        plain(&Read { x: &x, gamma: &gamma, beta: &beta, running, residual: None }, call)
    }

    fn norm_add(
        x: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        call: Call,
    ) -> Normed<Self> {
        let running = [&mean, &variance];
        plain(&Read { x: &x, gamma: &gamma, beta: &beta, running, residual: Some(&residual) }, call)
    }
}

fn plain(read: &Read<'_>, call: Call) -> Normed<Flex> {
    let done = node::forward(read, call);
    let [mean, variance] = done.running;
    Normed { output: done.output, mean, variance }
}

type Tracked = FloatTensor<Autodiff<Flex>>;

/// The backward of a call with N parents: x, γ and β, and a residual.
#[derive(Debug)]
struct NormBackward;

/// What waits for it.
#[derive(Clone, Debug)]
struct State {
    node: Arc<dyn Node>,
    /// x, γ and β.
    read: [NodeId; 3],
    /// The output, where a residual was added.
    output: Option<FlexTensor>,
}

impl<const N: usize> Backward<Flex, N> for NormBackward {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let State { node, read, output } = ops.state;
        let read = read.map(|id| checkpointer.retrieve_node_output::<FlexTensor>(id));
        let is = |parent: usize| ops.parents.get(parent).is_some_and(Option::is_some);
        let wanted = Wanted { x: is(0), weight: is(1), bias: is(2), residual: is(3) };
        let of = node.backward(read.each_ref(), output.as_ref(), &dy, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(of) {
            if let Some((parent, gradient)) = parent.zip(gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// Puts a call with N parents into the graph.
fn tracked<C: CheckpointStrategy, const N: usize>(
    parents: [&Tracked; N],
    [mean, variance]: [Tracked; 2],
    call: Call,
) -> Normed<Autodiff<Flex, C>> {
    let [x, gamma, beta] = [0, 1, 2].map(|parent| parents[parent]);
    let residual = parents.get(3).map(|residual| residual.primitive());
    let run = || {
        let running = [mean.primitive(), variance.primitive()];
        let (x, gamma, beta) = (x.primitive(), gamma.primitive(), beta.primitive());
        node::forward(&Read { x, gamma, beta, running, residual }, call)
    };
    let prepared = NormBackward.prepare::<C>(parents.map(Tracked::node)).compute_bound().stateful();
    let (output, [mean, variance]) = match prepared {
        OpsKind::Tracked(mut prep) => {
            let read = [x, gamma, beta].map(|tensor| prep.checkpoint(tensor));
            let done = run();
            let output = residual.map(|_| done.output.clone());
            (prep.finish(State { node: done.node, read, output }, done.output), done.running)
        }
        OpsKind::UnTracked(prep) => {
            let done = run();
            (prep.finish(done.output), done.running)
        }
    };
    Normed { output, mean: Tracked::new(mean), variance: Tracked::new(variance) }
}

impl<C: CheckpointStrategy> NormOps for Autodiff<Flex, C> {
    fn norm(
        x: Tracked,
        gamma: Tracked,
        beta: Tracked,
        mean: Tracked,
        variance: Tracked,
        call: Call,
    ) -> Normed<Self> {
        tracked([&x, &gamma, &beta], [mean, variance], call)
    }

    fn norm_add(
        x: Tracked,
        residual: Tracked,
        gamma: Tracked,
        beta: Tracked,
        mean: Tracked,
        variance: Tracked,
        call: Call,
    ) -> Normed<Self> {
        tracked([&x, &gamma, &beta, &residual], [mean, variance], call)
    }
}

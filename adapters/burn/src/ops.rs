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
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use std::sync::Arc;

/// What a call gives.
#[derive(ExtensionType)]
pub struct Normed<B: Backend> {
    /// y = act(γ·x̂ + β + residual), of x's shape.
    pub output: FloatTensor<B>,
    /// What weighs the batch's statistics into running ones.
    pub committer: Committer,
}

/// The statistics of a call in training.
#[derive(Clone, Debug)]
pub struct Committer(Arc<dyn Node>);

impl Committer {
    /// The running mean and variance, each of shape (C,), with the call's weighed in.
    #[must_use]
    pub fn commit(&self, running: [TensorData; 2], call: Call) -> [TensorData; 2] {
        self.0.commit(running, call)
    }
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
    let (output, node) = node::forward(read, call);
    Normed { output, committer: Committer(node) }
}

type Tracked = FloatTensor<Autodiff<Flex>>;

/// The backward of a call with N parents: x, γ and β, and a residual.
#[derive(Debug)]
struct NormBackward;

/// What waits for it.
#[derive(Clone, Debug)]
struct State {
    node: Arc<dyn Node>,
    x: NodeId,
    /// The output, where a residual was added.
    output: Option<FlexTensor>,
}

impl<const N: usize> Backward<Flex, N> for NormBackward {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let State { node, x, output } = ops.state;
        let x = checkpointer.retrieve_node_output::<FlexTensor>(x);
        let is = |parent: usize| ops.parents.get(parent).is_some_and(Option::is_some);
        let wanted = Wanted { x: is(0), weight: is(1), bias: is(2), residual: is(3) };
        let of = node.backward(&x, output.as_ref(), &dy, wanted);
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
    let (output, node) = match prepared {
        OpsKind::Tracked(mut prep) => {
            let x = prep.checkpoint(x);
            let (done, node) = run();
            let output = residual.map(|_| done.clone());
            (prep.finish(State { node: Arc::clone(&node), x, output }, done), node)
        }
        OpsKind::UnTracked(prep) => {
            let (done, node) = run();
            (prep.finish(done), node)
        }
    };
    Normed { output, committer: Committer(node) }
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

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
    pub fn commit(&self, running: [TensorData; 2]) -> [TensorData; 2] {
        self.0.commit(running)
    }
}

/// What a call takes.
#[derive(ExtensionType)]
pub struct Tensors<B: Backend> {
    /// The input, of shape (N, C, ...).
    pub x: FloatTensor<B>,
    /// γ, shape (C,).
    pub gamma: FloatTensor<B>,
    /// β, shape (C,).
    pub beta: FloatTensor<B>,
    /// The running mean, shape (C,).
    pub mean: FloatTensor<B>,
    /// The running variance, shape (C,).
    pub variance: FloatTensor<B>,
    /// What is added before the activation.
    #[extension_type]
    pub residual: Residual<B>,
}

/// What is added to a normalized tensor.
#[derive(ExtensionType)]
pub enum Residual<B: Backend> {
    /// Nothing.
    None,
    /// A tensor of its shape.
    Added(FloatTensor<B>),
}

impl<B: Backend> Residual<B> {
    fn tensor(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::Added(tensor) => Some(tensor),
        }
    }
}

/// Batch normalization over axis 1. Panics where tensors do not go together, as burn's operations do.
#[backend_extension(Flex, Autodiff)]
pub trait NormOps: Backend {
    /// y = act(γ·x̂ + β + residual).
    fn norm(#[extension_type] tensors: Tensors<Self>, call: Call) -> Normed<Self>;
}

impl NormOps for Flex {
    fn norm(tensors: Tensors<Self>, call: Call) -> Normed<Self> {
        let Tensors { x, gamma, beta, mean, variance, residual } = &tensors;
        let read = Read { x, gamma, beta, running: [mean, variance], residual: residual.tensor() };
        let (output, node) = node::forward(&read, call);
        Normed { output, committer: Committer(node) }
    }
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

/// Puts a call with N parents, which are among its tensors, into the graph.
fn tracked<C: CheckpointStrategy, const N: usize>(
    tensors: &Tensors<Autodiff<Flex, C>>,
    parents: [&Tracked; N],
    call: Call,
) -> Normed<Autodiff<Flex, C>> {
    let Tensors { x, gamma, beta, mean, variance, residual } = tensors;
    let residual = residual.tensor().map(Tracked::primitive);
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
    fn norm(tensors: Tensors<Self>, call: Call) -> Normed<Self> {
        let Tensors { x, gamma, beta, residual, .. } = &tensors;
        match residual.tensor() {
            None => tracked(&tensors, [x, gamma, beta], call),
            Some(residual) => tracked(&tensors, [x, gamma, beta, residual], call),
        }
    }
}

//! What the Rust peers of `cargo xtask bench` share. A peer is a framework's batch normalization behind the trait
//! [`Peer`]; [`main`] answers for it. The protocol is described in `benches/peers/README.md`.

mod case;
mod serve;

pub use case::{Case, Dtype, Inputs, Outputs};
pub use serve::{main, serve};

/// What went wrong, as the host is told it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A framework's batch normalization with the inputs of a case.
///
/// All methods are called in the case's number of threads. [`forward`](Self::forward) and
/// [`backward`](Self::backward) are what is timed, so conversions belong into the others.
pub trait Peer: Sized + Sync {
    /// What the peer and its only implementation are called.
    const NAME: &'static str;
    /// The crate whose version is the peer's.
    const PACKAGE: &'static str;
    /// The output of a forward and what it saved for the backward.
    type Forward: Send + Sync;
    /// The three gradients.
    type Gradients: Send;

    /// Takes the inputs over.
    ///
    /// # Errors
    /// Whatever the framework says.
    fn load(case: &Case, inputs: Inputs) -> Result<Self, Error>;

    /// The training forward, with the batch's statistics.
    ///
    /// # Errors
    /// Whatever the framework says.
    fn forward(&self) -> Result<Self::Forward, Error>;

    /// The backward of [`forward`](Self::forward).
    ///
    /// # Errors
    /// Whatever the framework says.
    fn backward(&self, forward: &Self::Forward) -> Result<Self::Gradients, Error>;

    /// The results as raw values in the case's order.
    ///
    /// # Errors
    /// Whatever the framework says.
    fn outputs(&self, forward: Self::Forward, gradients: Self::Gradients) -> Result<Outputs, Error>;
}

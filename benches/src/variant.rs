//! What a layer does beside normalizing: rows of their own.

use bn_core::Activation;

/// What comes with a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// Nothing.
    #[default]
    Plain,
    /// A ReLU after the layer.
    Relu,
    /// A residual, added to the layer's output, then a ReLU.
    AddRelu,
    /// The last quarter of each sample's positions does not exist.
    Mask,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Relu, Self::AddRelu, Self::Mask];

    /// The name that filters, reports, the JSON and peers use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Relu => "relu",
            Self::AddRelu => "add_relu",
            Self::Mask => "mask",
        }
    }

    /// The activation after the layer.
    #[must_use]
    pub fn activation(self) -> Activation {
        match self {
            Self::Plain | Self::Mask => Activation::Identity,
            Self::Relu | Self::AddRelu => Activation::Relu,
        }
    }
}

//! Inputs with an activation, a residual or a mask, made of ordinary ones.
//!
//! Where the gate of an activation stands at its corner, a rounding decides whether dy passes. dy is 0
//! there, so that any order of additions gives the same gradients but for roundings.

use crate::inputs::{DRAWN, Inputs, repeated};
use crate::variant::Variant;
use bn_conformance::data::{self, Dy};
use bn_core::functions::Forward;
use bn_core::{Activation, BatchNorm, Config, Element, Layout, Options, Real, Saved, Workspace};
use bn_scalar::Scalar;

/// Outputs that are closer to 0 than this could be on its other side in another order of additions.
const CORNER: f64 = 1.0 / 512.0;

impl Variant {
    /// Inputs of this variant, made of plain ones.
    ///
    /// # Panics
    /// Where there is a single value per feature.
    #[must_use]
    pub fn of<T: Element>(self, plain: Inputs<T>) -> Inputs<T> {
        let mut inputs = Inputs { variant: self, ..plain };
        match self {
            Self::Plain | Self::Relu => {}
            Self::AddRelu => {
                let drawn = &inputs.x_slice()[..inputs.x.len().min(DRAWN)];
                let drawn: Vec<T> = data::gradient(Dy::Normal, drawn, &mut data::rng(20_151_210));
                inputs.residual = Some(repeated(&inputs.named, &drawn));
            }
            Self::Mask => inputs.mask = Some(valid(&inputs)),
        }
        if self.activation() != Activation::Identity {
            let y = before_activation(&inputs);
            let near = |v: &T| v.to_compute().to_f64().abs() < CORNER;
            let zero = T::from_compute(T::Compute::default());
            inputs.dy.iter_mut().zip(y).filter(|(_, y)| near(y)).for_each(|(dy, _)| *dy = zero);
        }
        inputs
    }
}

/// Which positions exist, in the layout's order without the features.
fn valid<T: Element>(inputs: &Inputs<T>) -> Vec<bool> {
    let (dims, layout) = (&inputs.named.dims, inputs.named.layout);
    let positions: usize = match layout {
        Layout::ChannelsFirst => dims[2..].iter().product(),
        Layout::ChannelsLast => dims[1..dims.len() - 1].iter().product(),
    };
    (0..dims[0] * positions).map(|i| 4 * (i % positions) < 3 * positions).collect()
}

/// γ·x̂ + β, plus the residual.
fn before_activation<T: Element>(inputs: &Inputs<T>) -> Vec<T> {
    let Inputs { named, weight, bias, .. } = inputs;
    let config = Config::default().layout(named.layout);
    let mut bn = BatchNorm::with_backend(weight.len(), config, Scalar).expect("PyTorch's defaults");
    bn.weight.assign(weight);
    bn.bias.assign(bias);
    let mut y = inputs.x_slice().to_vec();
    let mut options = Options::default();
    options.residual = inputs.residual_slice();
    let step = Forward { options, ..Forward::new(named.shape, inputs.x_slice(), &mut y) };
    bn.forward_step(step, &mut Saved::default(), &mut Workspace::default())
        .expect("more than one value per feature");
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::parse;
    use bn_conformance::data::X;

    #[test]
    fn a_variant_has_what_it_needs_and_dy_is_0_at_the_corner() {
        let plain = Inputs::<f32>::new(&parse("a NHWC 40x5x7x65").unwrap()[0], X::Shifted);
        for variant in Variant::ALL {
            let inputs = variant.of(plain.clone());
            assert_eq!(inputs.residual.is_some(), variant == Variant::AddRelu);
            assert_eq!(inputs.mask.is_some(), variant == Variant::Mask);
            assert_eq!(inputs.x, plain.x);
            let zeros = inputs.dy.iter().filter(|dy| **dy == 0.0).count();
            match variant.activation() {
                Activation::Identity => assert_eq!(zeros, 0),
                _ => assert!((10..inputs.x.len() / 200).contains(&zeros), "{variant:?}: {zeros}"),
            }
            if let Some(mask) = inputs.mask {
                assert_eq!(mask.len(), 40 * 5 * 7);
                assert_eq!(mask[..35].iter().filter(|valid| **valid).count(), 27, "of 35, 26.25 or more");
                assert_eq!(mask[..35], mask[35..70]);
            }
        }
    }
}

//! The fused layer on every combination of kernels, level and executor.

use crate::implementation::{Here, Implementation, Passes};
use crate::inputs::{Answer, Inputs, Outputs};
use bn_core::functions::{Backward, Forward};
use bn_core::{Activation, Backend, BatchNorm, Config, Element, Kept, Options, Real, Saved, Workspace};
use bn_dispatch::{Dispatch, Level};
use bn_rayon::Rayon;
use bn_scalar::Scalar;
use bn_wide::Wide;
use rayon::ThreadPool;
use std::sync::Arc;

/// Kernels that the layer can be run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Plain Rust: the reference.
    Scalar,
    /// On `wide`, for the build's target.
    Wide,
    /// The best level of the machine.
    Dispatch,
    /// One level.
    At(Level),
}

impl Kernels {
    /// All of them, the reference first.
    pub const ALL: [Self; 6] = [
        Self::Scalar,
        Self::Wide,
        Self::Dispatch,
        Self::At(Level::Baseline),
        Self::At(Level::Avx2),
        Self::At(Level::Avx512),
    ];

    /// Whether these are the very functions that [`Kernels::Dispatch`] runs here.
    #[must_use]
    pub fn are_dispatchs(self) -> bool {
        self == Self::At(Level::detect())
    }

    /// The name of the combination with an executor: `scalar`, `rayon+dispatch@avx2`.
    #[must_use]
    pub fn name(self, parallel: bool) -> String {
        let kernels = match self {
            Self::Scalar => "scalar".into(),
            Self::Wide => "wide".into(),
            Self::Dispatch => "dispatch".into(),
            Self::At(level) => format!("dispatch@{level}"),
        };
        if parallel { format!("rayon+{kernels}") } else { kernels }
    }

    /// The layer for these inputs, serial or on a pool; `None` where the machine has not these kernels.
    #[must_use]
    pub fn layer<T: Element>(
        self,
        inputs: &Inputs<T>,
        pool: Option<&Arc<ThreadPool>>,
    ) -> Option<Box<dyn Implementation<T>>> {
        let name = self.name(pool.is_some());
        Some(match self {
            Self::Scalar => on(name, Scalar, inputs, pool),
            Self::Wide => on(name, Wide, inputs, pool),
            Self::Dispatch => on(name, Dispatch::default(), inputs, pool),
            Self::At(level) => on(name, Dispatch::at(level)?, inputs, pool),
        })
    }
}

fn on<T: Element, K: Backend + Send + 'static>(
    name: String,
    kernels: K,
    inputs: &Inputs<T>,
    pool: Option<&Arc<ThreadPool>>,
) -> Box<dyn Implementation<T>> {
    match pool.cloned() {
        Some(pool) => Box::new(Here { name, pool: Some(pool), passes: Fused::new(inputs, Rayon(kernels)) }),
        None => Box::new(Here { name, pool: None, passes: Fused::new(inputs, kernels) }),
    }
}

/// The layer with what it keeps from step to step.
struct Fused<T: Element, B> {
    bn: BatchNorm<T, B>,
    saved: Saved<T>,
    workspace: Workspace<T>,
    dweight: Vec<T::Compute>,
    dbias: Vec<T::Compute>,
}

impl<T: Element, B: Backend> Fused<T, B> {
    fn new(inputs: &Inputs<T>, backend: B) -> Self {
        let features = inputs.named.shape.features();
        let config = Config::default().layout(inputs.named.layout);
        let mut bn = BatchNorm::with_backend(features, config, backend).expect("PyTorch's defaults");
        bn.weight.assign(&inputs.weight);
        bn.bias.assign(&inputs.bias);
        let [dweight, dbias] = [(); 2].map(|()| vec![T::Compute::default(); features]);
        Self { bn, saved: Saved::default(), workspace: Workspace::default(), dweight, dbias }
    }
}

impl<T: Element, B: Backend + Send> Passes<T> for Fused<T, B> {
    fn forward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        let Self { bn, saved, workspace, .. } = self;
        let mut options = Options::default().activation(inputs.variant.activation());
        (options.residual, options.mask) = (inputs.residual_slice(), inputs.mask.as_deref());
        let step = Forward { options, ..Forward::new(inputs.named.shape, inputs.x_slice(), &mut outputs.y) };
        bn.forward_step(step, saved, workspace).expect("buffers of the shape's length");
    }

    fn backward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        let Self { bn, saved, workspace, dweight, dbias } = self;
        let Outputs { y, dx, dresidual } = outputs;
        // A training loop has y: the layer behind this one read it.
        let mut kept = Kept::default();
        (kept.y, kept.mask) = (has_gate(inputs).then_some(&y[..]), inputs.mask.as_deref());
        let step = Backward {
            kept,
            dx: Some(dx.into()),
            dresidual: inputs.residual.is_some().then_some(dresidual),
            dweight: Some(dweight),
            dbias: Some(dbias),
            ..Backward::new(inputs.x_slice(), inputs.dy_slice())
        };
        bn.backward_step(step, saved, workspace).expect("buffers of the shape's length");
    }

    fn before_backward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        if has_gate(inputs) {
            self.forward(inputs, outputs);
        }
    }

    fn answer(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) -> Option<Answer<T>> {
        // What another one wrote must not pass for this one's answer.
        let nan = T::from_compute(T::Compute::from_f64(f64::NAN));
        outputs.y.fill(nan);
        outputs.dx.fill(nan);
        outputs.dresidual.fill(nan);
        self.step(inputs, outputs);
        let (dweight, dbias) = (self.dweight.clone(), self.dbias.clone());
        let Outputs { y, dx, dresidual } = outputs;
        Some(Answer { y: y.clone(), dx: dx.clone(), dweight, dbias, dresidual: dresidual.clone() })
    }
}

fn has_gate<T: Element>(inputs: &Inputs<T>) -> bool {
    inputs.variant.activation() != Activation::Identity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::implementation::Pass;
    use crate::shapes::parse;
    use crate::textbook::Strategy;
    use crate::variant::Variant;
    use bn_conformance::data::X;

    #[test]
    fn all_implementations_give_one_answer() {
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
        for line in ["a NC 37x19", "a NHWC 3x5x7x11", "a NCHW 5x3x9x9"] {
            let inputs = Inputs::<f32>::new(&parse(line).unwrap()[0], X::Shifted);
            let mut outputs = Outputs::new(inputs.x.len());
            let mut all: Vec<Box<dyn Implementation<f32>>> = Vec::new();
            for kernels in Kernels::ALL {
                all.extend([None, Some(&pool)].into_iter().filter_map(|pool| kernels.layer(&inputs, pool)));
            }
            let want = all[0].answer(&inputs, &mut outputs).unwrap().unwrap();
            for one in &mut all {
                let got = one.answer(&inputs, &mut outputs).unwrap().unwrap();
                assert_eq!(got.check_bits(&want), Ok(()), "{line} {}", one.name());
            }
            for strategy in Strategy::ALL {
                let Some(mut one) = strategy.implementation(&inputs) else {
                    assert!(line.contains("NHWC"));
                    continue;
                };
                let got = one.answer(&inputs, &mut outputs).unwrap().unwrap();
                assert_eq!(got.check_close(&want), Ok(()), "{line} {}", one.name());
                assert!(got.check_bits(&want).is_err(), "the textbook has not the layer's bits");
                for pass in Pass::ALL {
                    assert!(one.time(pass, 2, &inputs, &mut outputs).unwrap().as_nanos() > 0);
                }
            }
        }
    }

    #[test]
    fn variants_have_one_answer_and_it_is_the_layers_then_add_then_relu() {
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
        for (line, variant) in ["a NC 37x19", "a NHWC 3x5x7x11", "a NCHW 5x3x9x9"]
            .into_iter()
            .flat_map(|line| Variant::ALL[1..].iter().map(move |variant| (line, *variant)))
        {
            let inputs = variant.of(Inputs::<f64>::new(&parse(line).unwrap()[0], X::Shifted));
            let mut outputs = Outputs::of(&inputs);
            let all = [None, Some(&pool)].into_iter().flat_map(|pool| Kernels::ALL.map(|k| (k, pool)));
            let mut all: Vec<_> = all.filter_map(|(k, pool)| k.layer(&inputs, pool)).collect();
            let want = all[0].answer(&inputs, &mut outputs).unwrap().unwrap();
            for one in &mut all {
                let got = one.answer(&inputs, &mut outputs).unwrap().unwrap();
                assert_eq!(got.check_bits(&want), Ok(()), "{line} {variant:?} {}", one.name());
            }
            assert_eq!(want.dresidual.len(), inputs.residual_slice().map_or(0, <[f64]>::len));
            assert!(Strategy::Graph.implementation(&inputs).is_none(), "the textbook has no variants");
            if variant == Variant::Mask {
                let gaps = want.y.iter().zip(&want.dx).filter(|(y, dx)| (**y, **dx) == (0.0, 0.0)).count();
                assert_eq!(gaps > 0, line != "a NC 37x19", "a row has one position");
                continue;
            }

            // The plain layer, and what a program of its own puts behind it.
            let mut plain = Inputs { variant: Variant::Plain, residual: None, ..inputs.clone() };
            let mut layer = Kernels::Scalar.layer(&plain, None).unwrap();
            let mut y = layer.answer(&plain, &mut outputs).unwrap().unwrap().y;
            for (i, y) in y.iter_mut().enumerate() {
                *y = (*y + inputs.residual_slice().map_or(0.0, |residual| residual[i])).max(0.0);
            }
            plain.dy.iter_mut().zip(&y).filter(|(_, y)| **y == 0.0).for_each(|(dy, _)| *dy = 0.0);
            let dresidual = if inputs.residual.is_some() { plain.dy_slice().to_vec() } else { vec![] };
            let apart = Answer { y, dresidual, ..layer.answer(&plain, &mut outputs).unwrap().unwrap() };
            assert_eq!(want.check_close(&apart), Ok(()), "{line} {variant:?}");
            let passing = want.y.iter().filter(|y| **y > 0.0).count();
            assert!((want.y.len() / 3..want.y.len() * 2 / 3).contains(&passing), "half of it passes");
        }
    }

    #[test]
    fn a_backward_takes_the_gate_of_its_own_forward() {
        let inputs = Variant::Relu.of(Inputs::<f32>::new(&parse("a NC 37x19").unwrap()[0], X::Shifted));
        let mut outputs = Outputs::of(&inputs);
        let mut one = Kernels::Dispatch.layer(&inputs, None).unwrap();
        let want = one.answer(&inputs, &mut outputs).unwrap().unwrap();
        outputs.y.fill(1.0); // another one's turn
        one.time(Pass::Backward, 1, &inputs, &mut outputs).unwrap();
        assert_eq!((outputs.y, outputs.dx), (want.y, want.dx));
    }

    #[test]
    fn names_are_the_backends() {
        assert_eq!(Kernels::At(Level::Avx2).name(true), "rayon+dispatch@avx2");
        assert_eq!(Rayon(Dispatch::default()).name(), Kernels::Dispatch.name(true));
        assert_eq!(Scalar.name(), Kernels::Scalar.name(false));
        assert_eq!(Kernels::ALL.iter().filter(|k| k.are_dispatchs()).count(), 1);
    }
}

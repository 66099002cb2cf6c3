//! The fused layer on every combination of kernels, level and executor.

use crate::implementation::{Here, Implementation, Passes};
use crate::inputs::{Answer, Inputs, Outputs};
use bn_core::{Backend, BatchNorm, Config, Element, Grads, Real, Saved, Workspace};
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
        bn.forward_into(inputs.named.shape, inputs.x_slice(), &mut outputs.y, saved, workspace)
            .expect("buffers of the shape's length");
    }

    fn backward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        let Self { bn, saved, workspace, dweight, dbias } = self;
        let grads = Grads { dx: &mut outputs.dx, dweight, dbias };
        bn.backward_into(saved, inputs.x_slice(), inputs.dy_slice(), grads, workspace)
            .expect("buffers of the shape's length");
    }

    fn answer(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) -> Option<Answer<T>> {
        // What another one wrote must not pass for this one's answer.
        let nan = T::from_compute(T::Compute::from_f64(f64::NAN));
        outputs.y.fill(nan);
        outputs.dx.fill(nan);
        self.step(inputs, outputs);
        let (dweight, dbias) = (self.dweight.clone(), self.dbias.clone());
        Some(Answer { y: outputs.y.clone(), dx: outputs.dx.clone(), dweight, dbias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::implementation::Pass;
    use crate::shapes::parse;
    use crate::textbook::Strategy;
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
    fn names_are_the_backends() {
        assert_eq!(Kernels::At(Level::Avx2).name(true), "rayon+dispatch@avx2");
        assert_eq!(Rayon(Dispatch::default()).name(), Kernels::Dispatch.name(true));
        assert_eq!(Scalar.name(), Kernels::Scalar.name(false));
        assert_eq!(Kernels::ALL.iter().filter(|k| k.are_dispatchs()).count(), 1);
    }
}

//! The textbook's two strategies. They allocate their results, as NumPy code does.

use crate::implementation::{Here, Implementation, Passes};
use crate::inputs::{Answer, Inputs, Outputs};
use crate::variant::Variant;
use bn_core::{Config, Gradients, Layout, Real};
use bn_textbook::{analytic, graph};
use ndarray::{ArrayD, IxDyn, NdFloat};
use std::hint::black_box;

/// A way to the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The computational graph, node by node.
    Graph,
    /// Three lines, derived on paper.
    Analytic,
}

impl Strategy {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Graph, Self::Analytic];

    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Analytic => "analytic",
        }
    }

    /// The strategy for these inputs; `None` where they are not plain, or the features not in axis 1.
    ///
    /// # Panics
    /// The implementation does, where there is a single value per feature.
    #[must_use]
    pub fn implementation<T: NdFloat + Real>(self, inputs: &Inputs<T>) -> Option<Box<dyn Implementation<T>>> {
        if inputs.named.layout != Layout::ChannelsFirst || inputs.variant != Variant::Plain {
            return None;
        }
        /// The strategy of a module of the textbook.
        macro_rules! of {
            ($module:ident) => {{
                let passes = Textbook::<T, $module::Cache<T>> {
                    forward: |inputs| {
                        let Inputs { x, weight, bias, .. } = inputs;
                        $module::forward(x.view(), weight.view(), bias.view(), Config::default().eps)
                            .expect("more than one value per feature")
                    },
                    backward: |inputs, cache| {
                        $module::backward(inputs.dy.view(), cache).expect("x's dimensions")
                    },
                    cache: None,
                };
                Box::new(Here { name: self.name().into(), pool: None, passes })
            }};
        }
        Some(match self {
            Self::Graph => of!(graph),
            Self::Analytic => of!(analytic),
        })
    }
}

struct Textbook<T: Real, C> {
    forward: fn(&Inputs<T>) -> (ArrayD<T>, C),
    backward: fn(&Inputs<T>, &C) -> Gradients<T, IxDyn>,
    /// What the last forward left; dropped before the next, whose arrays then take its place.
    cache: Option<C>,
}

impl<T: Real, C> Textbook<T, C> {
    fn forth(&mut self, inputs: &Inputs<T>) -> ArrayD<T> {
        self.cache = None;
        let (y, cache) = (self.forward)(inputs);
        self.cache = Some(cache);
        y
    }

    fn back(&self, inputs: &Inputs<T>) -> Gradients<T, IxDyn> {
        (self.backward)(inputs, self.cache.as_ref().expect("a forward came before"))
    }
}

impl<T: Real, C: Send> Passes<T> for Textbook<T, C> {
    fn forward(&mut self, inputs: &Inputs<T>, _: &mut Outputs<T>) {
        black_box(self.forth(inputs));
    }

    fn backward(&mut self, inputs: &Inputs<T>, _: &mut Outputs<T>) {
        black_box(self.back(inputs));
    }

    fn step(&mut self, inputs: &Inputs<T>, _: &mut Outputs<T>) {
        // A training loop has y until the backward.
        let y = black_box(self.forth(inputs));
        black_box(self.back(inputs));
        drop(y);
    }

    fn answer(&mut self, inputs: &Inputs<T>, _: &mut Outputs<T>) -> Option<Answer<T>> {
        let y = self.forth(inputs);
        let Gradients { dx, dweight, dbias, .. } = self.back(inputs);
        let [y, dx] = [y, dx].map(|tensor| tensor.into_raw_vec_and_offset().0);
        let (dweight, dbias) = (dweight.to_vec(), dbias.to_vec());
        Some(Answer { y, dx, dweight, dbias, dresidual: Vec::new() })
    }
}

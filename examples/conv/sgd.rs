//! Gradient descent with momentum, as residual networks are trained.

use examples::train::Optimizer;
use ndarray::{ArrayD, ArrayViewMutD, Zip};

const MOMENTUM: f32 = 0.9;

pub(crate) struct Sgd {
    learning_rate: f32,
    velocities: Vec<ArrayD<f32>>,
}

impl Sgd {
    pub(crate) fn new(params: &[ArrayViewMutD<'_, f32>], learning_rate: f32) -> Self {
        let velocities = params.iter().map(|param| ArrayD::zeros(param.raw_dim())).collect();
        Self { learning_rate, velocities }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, params: Vec<ArrayViewMutD<'_, f32>>, grads: &[ArrayD<f32>]) {
        for ((param, velocity), grad) in params.into_iter().zip(&mut self.velocities).zip(grads) {
            Zip::from(param).and(velocity).and(grad).for_each(|p, v, &g| {
                *v = MOMENTUM * *v + g;
                *p -= self.learning_rate * *v;
            });
        }
    }
}

//! Adam (Kingma and Ba, <https://arxiv.org/abs/1412.6980>, algorithm 1).

use crate::train::Optimizer;
use ndarray::{ArrayD, ArrayViewMutD, Zip};
use serde::{Deserialize, Serialize};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// The optimizer with its state.
#[derive(Serialize, Deserialize)]
pub struct Adam {
    learning_rate: f32,
    steps: i32,
    /// Of each parameter.
    pub moments: Vec<Moments>,
}

/// The running averages of a parameter's gradient and of its square.
#[derive(Serialize, Deserialize)]
pub struct Moments {
    /// Of the gradient.
    pub mean: ArrayD<f32>,
    /// Of its square.
    pub square: ArrayD<f32>,
}

impl Adam {
    /// For these parameters, which start from now.
    pub fn new(params: &[ArrayViewMutD<'_, f32>], learning_rate: f32) -> Self {
        let zeros = |param: &ArrayViewMutD<'_, f32>| ArrayD::zeros(param.raw_dim());
        let moments = params.iter().map(|p| Moments { mean: zeros(p), square: zeros(p) }).collect();
        Self { learning_rate, steps: 0, moments }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, params: Vec<ArrayViewMutD<'_, f32>>, grads: &[ArrayD<f32>]) {
        self.steps = self.steps.saturating_add(1);
        // The averages start at zero; dividing by 1 − βᵗ takes that start out of them.
        let rate = self.learning_rate / (1.0 - BETA1.powi(self.steps));
        let bias2 = 1.0 - BETA2.powi(self.steps);
        for ((param, moments), grad) in params.into_iter().zip(&mut self.moments).zip(grads) {
            let Moments { mean, square } = moments;
            Zip::from(param).and(mean).and(square).and(grad).for_each(|p, m, v, &g| {
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                *p -= rate * *m / ((*v / bias2).sqrt() + EPS);
            });
        }
    }
}

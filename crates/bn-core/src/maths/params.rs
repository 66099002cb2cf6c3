//! γ and β.

use crate::num::Real;

/// γ and β per feature; empty slices stand for 1 and 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params<'a, R> {
    pub(crate) weight: &'a [R],
    pub(crate) bias: &'a [R],
}

impl<R: Real> Params<'_, R> {
    pub(crate) fn get(&self, f: usize) -> (R, R) {
        let weight = self.weight.get(f).copied().unwrap_or(R::from_f64(1.0));
        (weight, self.bias.get(f).copied().unwrap_or_default())
    }

    #[inline(always)]
    pub(super) fn copy_weight(&self, to: &mut [R]) {
        if self.weight.is_empty() { to.fill(R::from_f64(1.0)) } else { to.copy_from_slice(self.weight) }
    }

    #[inline(always)]
    pub(super) fn copy_bias(&self, to: &mut [R]) {
        if self.bias.is_empty() { to.fill(R::default()) } else { to.copy_from_slice(self.bias) }
    }

    pub(crate) fn split_at(self, f: usize) -> (Self, Self) {
        let (weight, weight1) = self.weight.split_at(f.min(self.weight.len()));
        let (bias, bias1) = self.bias.split_at(f.min(self.bias.len()));
        (Self { weight, bias }, Self { weight: weight1, bias: bias1 })
    }
}

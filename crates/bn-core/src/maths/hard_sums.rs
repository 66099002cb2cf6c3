//! The backward's sums of a hard feature over a part of a batch: numbers with exponents of their own, and what the terms come to
//! that are not finite.

use super::Totals;
use super::frame::{Frame, double, mantissa, wide};
use crate::num::{Dd, Real, Wide};

/// Σdy and Σdy·(x−p), each as v·2ᵉ with |v| from 1 to 2, over a part of a batch; p is the pilot of all of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HardSums {
    pub(crate) first: (Dd, i32),
    pub(crate) second: (Dd, i32),
    /// Σdy and Σdy·(x−μ) over the terms that are not finite: 0 where there are none, ±∞ or NaN. Beside them no other counts.
    pub(crate) class: [f64; 2],
}

/// dβ and dγ as v·2ᵉ.
pub(crate) type HardGrads = [(Dd, i32); 2];

impl HardSums {
    pub(crate) fn new(first: (Dd, i32), second: (Dd, i32), class: [f64; 2]) -> Self {
        Self { first: near_one(first), second: near_one(second), class }
    }

    /// Of sums that the kernels took. Of one that is not finite nothing else counts.
    pub(crate) fn of<R: Real>((first, second): Totals<R>) -> Self {
        let class = [first, second].map(|sum| if sum.to_f64().is_finite() { 0.0 } else { sum.to_f64() });
        Self::new((double(first), 0), (double(second), 0), class)
    }

    /// Over the terms of both.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let class = [self.class[0] + other.class[0], self.class[1] + other.class[1]];
        Self::new(added(self.first, other.first), added(self.second, other.second), class)
    }

    /// Whether Σdy is that of finite terms.
    pub(crate) fn is_finite(&self) -> bool {
        self.class[0] == 0.0
    }

    /// dβ and dγ, from the frame of the batch's statistics.
    pub(crate) fn gradients(&self, frame: &Frame, pilot: f64, invstd: f64) -> HardGrads {
        let dweight = match self.class[1] == 0.0 {
            true => near_one(frame.dweight_around(pilot, [self.first, self.second])),
            // Of a class invstd is no more than a sign, 0 or NaN.
            false => (Dd::from_f64(self.class[1] * invstd), 0),
        };
        [if self.is_finite() { self.first } else { (Dd::from_f64(self.class[0]), 0) }, dweight]
    }
}

/// The same in the wide type, if it holds them.
pub(crate) fn plain<R: Real>(grads: &HardGrads) -> Totals<R> {
    let [dbias, dweight] = grads.map(|(v, e)| wide(v.ldexp(e)));
    (dbias, dweight)
}

pub(super) fn near_one((v, e): (Dd, i32)) -> (Dd, i32) {
    let (v, own) = mantissa(v);
    (v, if v.to_f64() == 0.0 { 0 } else { e + own })
}

pub(super) fn added(a: (Dd, i32), b: (Dd, i32)) -> (Dd, i32) {
    if a.0.to_f64() == 0.0 {
        return b;
    }
    if b.0.to_f64() == 0.0 {
        return a;
    }
    // What is lost of the smaller one is nothing beside the larger.
    let e = a.1.max(b.1);
    (a.0.ldexp(a.1 - e) + b.0.ldexp(b.1 - e), e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maths::Stats;

    fn term(dy: f64, dy_unit: i32, x: f64, x_unit: i32) -> HardSums {
        let product = Dd::from_f64(dy) * Dd::from_f64(x);
        HardSums::new((Dd::from_f64(dy), dy_unit), (product, dy_unit + x_unit), [0.0; 2])
    }

    #[test]
    fn sums_beyond_f64_add_up_and_come_back() {
        let sums = term(1.5, 1000, 3.0, 900).merged(&term(-0.5, 1001, 3.0, 900));
        assert_eq!((sums.first.0.to_f64(), sums.first.1), (1.0, 999));
        assert_eq!((sums.second.0.to_f64(), sums.second.1), (1.5, 1900));
        // Beside what is larger by 2⁴⁰⁰⁰ nothing is left, and 0 beside anything is it.
        assert_eq!(sums.merged(&term(1.0, -3000, 1.0, 0)).first, sums.first);
        assert_eq!(HardSums::default().merged(&sums).second, sums.second);
        // Of invstd = 1 dγ is Σdy·x, in whichever unit x was.
        let stats = Stats::<f64>::from_running(0.0, 0.0, 1.0);
        for unit in [0, 900] {
            let [dbias, dweight] = sums.gradients(&Frame::given(&stats, unit), 0.0, 1.0);
            assert_eq!((dbias.0.to_f64(), dbias.1), (1.0, 999));
            assert_eq!((dweight.0.to_f64(), dweight.1), (1.5, 1900));
        }
    }

    #[test]
    fn classes_stand_beside_sums() {
        let infinite = HardSums { class: [f64::INFINITY, f64::NEG_INFINITY], ..term(1.0, 0, 1.0, 0) };
        let all = term(2.0, 0, 1.0, 0).merged(&infinite);
        let frame = Frame::given(&Stats::<f64>::from_running(0.0, 1.0, 1.0), 0);
        assert_eq!(plain::<f32>(&all.gradients(&frame, 0.0, 0.5)), (f64::INFINITY, f64::NEG_INFINITY));
        let opposite = HardSums { class: [f64::NEG_INFINITY, 0.0], ..infinite };
        assert!(plain::<f32>(&all.merged(&opposite).gradients(&frame, 0.0, 0.5)).0.is_nan());
    }
}

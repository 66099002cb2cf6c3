//! Coefficients of the double backward of a hard feature, from double-double: x, dy and v in units of powers of two.

use super::frame::{Coef, Frame, INFINITE, LEAST, mantissa};
use super::hard_sums::{HardSums, added, near_one};
use super::second::Factors;
use crate::num::wide::{exponent, ldexp};
use crate::num::{Dd, Real, Wide};

/// A number v·2ᵉ.
type Scaled = (Dd, i32);

/// Σt and Σt·(x−k) of a tensor t in units of 2^`unit`, and x in that of the frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Side {
    pub(crate) unit: i32,
    pub(crate) sums: [Dd; 2],
    /// Σ of what is not finite: 0 where there is none.
    pub(crate) others: f64,
    /// Whether all else is 0, so that its term is nothing beside the others.
    pub(crate) nothing: bool,
}

/// A factor, which may be infinite: then the signs of its terms count.
fn factor(v: f64) -> Scaled {
    if v.is_infinite() { (Dd::from_f64(v.signum()), INFINITE) } else { mantissa(Dd::from_f64(v)) }
}

/// The exponent of what is neither 0 nor without one.
fn size((v, e): Scaled) -> Option<i32> {
    let v = v.to_f64();
    (v != 0.0 && v.is_finite()).then(|| exponent(v) + e)
}

/// The same in units of 2ᵒ; what is not 0 does not become 0, which would make NaN of an infinity.
fn at((v, e): Scaled, out: i32) -> Dd {
    v.ldexp((e - out).clamp(LEAST, -LEAST))
}

/// A coefficient times what is left of a mean, which is nothing where there is nothing left.
fn times(a: Dd, rest: Dd) -> Dd {
    if rest.to_f64() == 0.0 { rest } else { a * rest }
}

/// The sums of a feature over a whole batch, of which a part is at hand: of dy and of v around k, and Σv and Σv·(dy−`pilot`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct WholeSums {
    pub(crate) dy: HardSums,
    pub(crate) v: HardSums,
    pub(crate) both: HardSums,
    pub(crate) pilot: f64,
}

impl WholeSums {
    /// Whether all dy and v are finite. Beside one that is not q is NaN.
    pub(crate) fn is_finite(&self) -> bool {
        self.dy.is_finite() & self.v.is_finite()
    }

    /// The sides of dy and v over n values, and Σv and Σv·(dy−m) in their units, m being the mean of dy in f64. The part's own dy and v
    /// are at most `largest`.
    pub(crate) fn sides(&self, frame: &Frame, n: usize, largest: [f64; 2]) -> ([Side; 2], [Dd; 2]) {
        let mut units = [0, 1].map(|i| Side::unit_of([&self.dy, &self.v][i], frame, n, largest[i]));
        // Products of the others may leave f64 in the units of a part with small values.
        let product = size(self.both.second).map_or(0, |e| e - exponent(n as f64) - units[0] - units[1]);
        units.iter_mut().for_each(|unit| *unit += (product.max(0) + 1) / 2);
        let dy = Side::in_unit(units[0], &self.dy, frame, largest[0]);
        let v = Side::in_unit(units[1], &self.v, frame, largest[1]);
        let HardSums { first, second, .. } = self.both;
        let (sum, around) = (first.0.ldexp(first.1 - v.unit), second.0.ldexp(second.1 - dy.unit - v.unit));
        let moved = Dd::from_f64(ldexp(self.pilot, -dy.unit)) - Dd::from_f64(dy.mean(n));
        ([dy, v], [sum, around + times(moved, sum)])
    }

    /// dd.weight over n values.
    pub(crate) fn weight<R: Real>(&self, frame: &Frame, factors: Factors<R>, n: usize) -> f64 {
        if !self.is_finite() {
            return f64::NAN;
        }
        let (sides, both) = self.sides(frame, n, [0.0; 2]);
        frame.second_x(0.0, factors, n, sides, both).1.to_f64()
    }
}

impl Side {
    /// Of a part whose values are at most `largest`, with the sums of the whole batch.
    pub(crate) fn of_whole(sums: &HardSums, frame: &Frame, n: usize, largest: f64) -> Self {
        Self::in_unit(Self::unit_of(sums, frame, n, largest), sums, frame, largest)
    }

    /// The exponent of a unit in which neither the part's values nor the means are large.
    fn unit_of(sums: &HardSums, frame: &Frame, n: usize, largest: f64) -> i32 {
        let own = (largest > 0.0).then(|| exponent(largest));
        let n = exponent(n as f64);
        let along = size(sums.second).map(|e| e - frame.unit - n);
        own.max(size(sums.first).map(|e| e - n)).max(along).unwrap_or(0)
    }

    fn in_unit(unit: i32, sums: &HardSums, frame: &Frame, largest: f64) -> Self {
        let &HardSums { first, second, class } = sums;
        let sums = [first.0.ldexp(first.1 - unit), second.0.ldexp(second.1 - unit - frame.unit)];
        // Beside a mean that is not 0 a v of 0 has a term.
        let nothing = largest == 0.0 && first.0.to_f64() == 0.0;
        Self { unit, sums, others: class[0], nothing }
    }

    /// The mean, that of the products with x̂·2⁻ᵖ, and what of the mean f64 does not hold.
    fn means(&self, frame: &Frame, n: f64) -> (f64, Dd, Dd) {
        let mean = self.sums[0].over(n);
        let near = mean.to_f64();
        (near, frame.dweight(self.sums, -frame.power).over(n), mean - Dd::from_f64(near))
    }

    /// The mean in f64.
    pub(crate) fn mean(&self, n: usize) -> f64 {
        self.sums[0].over(n as f64).to_f64()
    }
}

impl Frame {
    /// Of dd.dy = ((v−m)·a + (x−k−δ)·c) + d, where x−μ is at most `far`; `v` is a side with its sums, or one without and constants.
    pub(crate) fn second_dy<R: Real>(
        &self,
        far: f64,
        Factors { weight, w, z }: Factors<R>,
        v: Option<(Side, usize)>,
        from_batch: bool,
    ) -> Coef {
        // A constant takes an infinity as it is.
        let own = |v: R| if from_batch { factor(v.to_f64()) } else { mantissa(Dd::from_f64(v.to_f64())) };
        let ((gamma, own_gamma), (w, own_w), z) = (own(weight), own(w), z.to_f64());
        let mut coefs: [Scaled; 2] = [(Dd::default(), 0), (w * self.invstd, own_w + self.power)];
        let (mut m, mut rest, mut nothing) = (0.0, Dd::default(), true);
        if let Some((v, n)) = v {
            nothing = v.nothing;
            let e = own_gamma + self.power - self.unit + v.unit;
            coefs[0] = (gamma * self.invstd, e);
            if from_batch {
                let along;
                (m, along, rest) = v.means(self, n as f64);
                let through = -(gamma * self.invstd * (self.invstd * along));
                coefs[1] = added(near_one((through, e + 2 * self.power)), near_one(coefs[1]));
            }
        }
        if far == 0.0 && from_batch {
            coefs[1] = Scaled::default();
        }
        let [a, c] = coefs;
        let reach = if far > 0.0 && far.is_finite() { exponent(far) } else { 0 };
        let beside = (z != 0.0 && z.is_finite()).then(|| exponent(z));
        let own = size(a).filter(|_| !nothing).max(size(c).filter(|_| far > 0.0).map(|e| e + reach));
        let out = own.max(beside).unwrap_or(0);
        let (a, c) = (at(a, out), at(c, out));
        let (delta, moved) = self.split(c);
        let d = ((Dd::from_f64(ldexp(z, -out)) - times(a, rest)) - moved).to_f64();
        Coef { delta, a: a.to_f64(), c: c.to_f64(), d, m, out, ..Coef::default() }
    }

    /// Of dd.x = (((v−l)·a + (dy−m)·b) + (x−k−δ)·c) + d, where x−μ is at most `far`, and dd.weight. `both` are Σv and Σv·(dy−m) in
    /// the units of v and dy.
    pub(crate) fn second_x<R: Real>(
        &self,
        far: f64,
        Factors { weight, w, .. }: Factors<R>,
        n: usize,
        [dy, v]: [Side; 2],
        both: [Dd; 2],
    ) -> (Coef, Dd) {
        let (n, (gamma, own), (w, own_w)) = (n as f64, factor(weight.to_f64()), factor(w.to_f64()));
        let ((m, h, m_rest), (l, p, l_rest)) = (dy.means(self, n), v.means(self, n));
        let q = (both[1] - times(both[0], m_rest)).over(n);
        let hp = (h * p).ldexp(2 * self.power);
        let e = own + 3 * self.power - 2 * self.unit + dy.unit + v.unit;
        let beside = own_w + self.power - self.unit + dy.unit;
        let (i, square) = (self.invstd, self.invstd * self.invstd);
        let gain = gamma * square;
        let a = if v.nothing { Scaled::default() } else { near_one((-(gain * h), e)) };
        let b = added(near_one((-(gain * p), e)), near_one((w * i, beside)));
        let along = gain * i * (q - Dd::from_f64(3.0) * hp);
        let c = added(near_one((-along, e)), near_one((-(w * square * h), beside + 2 * self.power)));
        let c = if far == 0.0 { Scaled::default() } else { c };
        let reach = if far > 0.0 && far.is_finite() { exponent(far) } else { 0 };
        let out = size(a).max(size(b)).max(size(c).map(|e| e + reach)).unwrap_or(0);
        let [a, b, c] = [a, b, c].map(|coef| at(coef, out));
        let (delta, moved) = self.split(c);
        let d = ((-times(a, l_rest) - times(b, m_rest)) - moved).to_f64();
        let (a, b, c) = (a.to_f64(), b.to_f64(), c.to_f64());
        let dweight = ((q - hp) * i * Dd::from_f64(n)).ldexp(self.power - self.unit + dy.unit + v.unit);
        (Coef { delta, a, b, c, d, m, l, out }, dweight)
    }
}

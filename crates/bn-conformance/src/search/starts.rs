//! Where climbs begin: data of the kinds that a rounding error is large for, drawn from a seeded generator.

use super::word::Word;
use crate::case::Case;
use crate::data::{self, normal};
use bn_core::{Config, Mode, Real, RunningVar};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// What a climb begins with, in numbers that are then rounded to the type.
pub(super) struct Draft {
    x: Vec<f64>,
    dy: Vec<f64>,
    weight: f64,
    bias: f64,
    eps: f64,
    running: (f64, f64),
    eval: bool,
}

/// The kinds of starting points.
pub(super) const STARTS: &[fn(&mut Source) -> Draft] = &[
    Source::plain,
    Source::outlier,
    Source::in_step,
    Source::cancelling,
    Source::found_for_dx,
    Source::found_for_y,
    Source::neighbours,
    Source::powers_of_two,
    Source::far_mean,
    Source::far_gradient,
    Source::decayed_weight,
    Source::range_of_x,
    Source::range_of_dy,
    Source::least_scale,
    Source::wide_spread,
    Source::long,
];

/// What drafts are drawn from: the generator, and what they must know of the element type.
pub(super) struct Source {
    rng: Pcg64Mcg,
    /// The least and the largest exponents that are worth a try.
    exponents: (i32, i32),
    /// The exponent of the parameters' least normal number.
    least: i32,
    /// The bits of a mantissa, the hidden one included.
    digits: i32,
}

/// A draft of the kind `start`, as a case of one feature.
pub(super) fn start<T: Word>(start: usize, rng: &mut Pcg64Mcg) -> Case<T>
where
    T::Compute: Word,
{
    let (exponents, least) = match T::NAME {
        "f64" => ((-1074, 1023), -1022),
        "f16" => ((-24, 15), -126),
        _ => ((-149, 127), -126),
    };
    let mut source =
        Source { rng: data::rng(rng.random()), exponents, least, digits: T::MANTISSA as i32 + 1 };
    let draft = STARTS[start % STARTS.len()](&mut source);
    draft.rounded(rng)
}

/// The number itself; the largest one for what was rounded to an infinity.
fn finite<W: Word>(v: W) -> W {
    let (negative, magnitude) = v.parts();
    W::of(negative, magnitude.min(W::INFINITY - 1))
}

impl Draft {
    fn rounded<T: Word>(self, rng: &mut Pcg64Mcg) -> Case<T>
    where
        T::Compute: Word,
    {
        let value = |v: f64| finite(T::from_compute(T::Compute::from_f64(v)));
        let param = |v: f64| vec![finite(T::Compute::from_f64(v))];
        let momentum = [Some(0.1), None, Some(0.9), Some(rng.random_range(0.0..1.0))][rng.random_range(0..4)];
        let kind = [RunningVar::Unbiased, RunningVar::Biased][rng.random_range(0..2)];
        let config = Config::default().eps(self.eps).momentum(momentum).running_var(kind);
        let x: Vec<T> = self.x.iter().map(|&v| value(v)).collect();
        let dy = self.dy.iter().map(|&v| value(v)).collect();
        Case {
            name: String::new(),
            dims: vec![x.len(), 1],
            mode: if self.eval { Mode::Eval } else { Mode::Train },
            config,
            num_batches_tracked: rng.random_range(0..1000),
            x,
            dy: Some(dy),
            affine: [self.weight, self.bias].map(|v| Some(param(v))),
            running: Some([param(self.running.0), param(self.running.1.abs())]),
            ..Case::default()
        }
    }
}

impl Source {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| normal(&mut self.rng)).collect()
    }

    fn of_len(&mut self, n: usize) -> Draft {
        Draft {
            x: self.normals(n),
            dy: self.normals(n),
            weight: normal(&mut self.rng),
            bias: normal(&mut self.rng),
            eps: [1e-5, 1e-3, 1e-12, 1.0][self.rng.random_range(0..4)],
            running: (normal(&mut self.rng), normal(&mut self.rng).powi(2)),
            eval: self.rng.random_range(0..4) == 0,
        }
    }

    fn plain(&mut self) -> Draft {
        let n = [2, 3, 4, 5, 7, 12, 33, 64][self.rng.random_range(0..8)];
        self.of_len(n)
    }

    /// 2 to the power of a number between these.
    fn power(&mut self, low: i32, high: i32) -> f64 {
        2f64.powf(self.rng.random_range(f64::from(low)..=f64::from(high)))
    }

    fn outlier(&mut self) -> Draft {
        let mut draft = self.plain();
        let at = self.rng.random_range(0..draft.x.len());
        draft.x[at] *= self.power(3, 20.min(self.exponents.1 - 3));
        draft
    }

    /// dy goes with the sign of x̂, an outlier takes most of the spread: the terms of dx are as large as they get.
    fn in_step(&mut self) -> Draft {
        let mut draft = self.outlier();
        let mean = draft.x.iter().sum::<f64>() / draft.x.len() as f64;
        for (dy, x) in draft.dy.iter_mut().zip(&draft.x) {
            *dy = (x - mean).signum() * (1.0 + 1e-3 * *dy);
        }
        draft.eval = false;
        draft
    }

    /// γ·x̂ near −β or −2β where |x̂| is largest.
    fn cancelling(&mut self) -> Draft {
        let mut draft = self.outlier();
        let n = draft.x.len() as f64;
        let mean = draft.x.iter().sum::<f64>() / n;
        let std = (draft.x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let far = draft
            .x
            .iter()
            .map(|x| (x - mean) / std)
            .fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
        draft.bias = -draft.weight * far / [1.0, 2.0, 4.0, 1e3][self.rng.random_range(0..4)];
        draft
    }

    /// What an earlier search found for dx, under the measure of its day.
    fn found_for_dx(&mut self) -> Draft {
        let x = vec![5.746_441_4, 2.370_977_9, -1.071_405_9, -1.071_307_9];
        let dy = vec![1.016_886_6, 1.016_295_1, -1.016_456_7, -1.016_022_2];
        Draft { x, dy, weight: 1.447_752_2, eps: 1e-5, eval: false, ..self.of_len(4) }
    }

    /// Likewise for y.
    fn found_for_y(&mut self) -> Draft {
        let x = vec![-1_305.220_5, -0.017_849_695, -0.223_932_82, 0.070_859_745, -0.210_743_02];
        Draft { x, weight: 1.042_959, bias: 0.730_670_03, eps: 1e-5, eval: false, ..self.of_len(5) }
    }

    /// Two or three values side by side: σ is of the size of what the mean's rounding leaves.
    fn neighbours(&mut self) -> Draft {
        let mut draft = self.plain();
        let far = self.power(-8, 8) * normal(&mut self.rng).signum();
        let unit = far * 2f64.powi(1 - self.digits);
        let apart = [1.0, 1.0, 2.0, 7.0][self.rng.random_range(0..4)];
        for x in &mut draft.x {
            *x = far + unit * (apart * *x).round();
        }
        // Then what δ loses is multiplied by the sum of dy.
        if self.rng.random_range(0..3) == 0 {
            draft.dy.iter_mut().for_each(|dy| *dy = 1.0 + 1e-3 * *dy);
        }
        draft.running.0 = far;
        draft.eps = [1e-5, 1e-30, unit * unit][self.rng.random_range(0..3)];
        draft
    }

    /// Mantissas just above 1: a unit of roundoff is as much of the value as it gets.
    fn powers_of_two(&mut self) -> Draft {
        let mut draft = self.outlier();
        let unit = 2f64.powi(1 - self.digits);
        let Draft { x, dy, weight, bias, .. } = &mut draft;
        for v in x.iter_mut().chain(dy).chain([weight, bias]) {
            let steps = f64::from(self.rng.random_range(-1..4));
            *v = v.signum() * 2f64.powf(v.abs().log2().round()) * (1.0 + steps * unit);
        }
        draft
    }

    fn far_mean(&mut self) -> Draft {
        let mut draft = self.plain();
        let far = self.power(2, self.digits.min(self.exponents.1 - 2));
        draft.x.iter_mut().for_each(|x| *x += far);
        draft.running.0 += far;
        draft
    }

    /// dy far from zero, constant but for its last digits, or the same everywhere.
    fn far_gradient(&mut self) -> Draft {
        let mut draft = self.plain();
        let far = self.power(2, 2 * self.digits.min(self.exponents.1 / 2 - 1));
        let spread = [1.0, far * 2f64.powi(-self.digits), 0.0][self.rng.random_range(0..3)];
        draft.dy.iter_mut().for_each(|dy| *dy = spread * *dy + far);
        draft
    }

    fn decayed_weight(&mut self) -> Draft {
        let mut draft = self.outlier();
        draft.weight *= self.power(self.least - 23, self.least / 2);
        draft.bias *= [0.0, 1.0, draft.weight.abs()][self.rng.random_range(0..3)];
        draft
    }

    fn range_of_x(&mut self) -> Draft {
        let mut draft = self.plain();
        let size = self.power(self.exponents.0 + 2, self.exponents.1 - 2);
        draft.x.iter_mut().for_each(|x| *x *= size);
        draft.running = (draft.running.0 * size, draft.running.1 * size * size);
        draft.eps = [1e-5, 1e-30, 1e30][self.rng.random_range(0..3)];
        draft
    }

    fn range_of_dy(&mut self) -> Draft {
        let mut draft = self.outlier();
        let size = self.power(self.exponents.0 + 2, self.exponents.1 - 2);
        draft.dy.iter_mut().for_each(|dy| *dy *= size);
        draft
    }

    /// Results a few binades above the least normal number: there a product, or a coefficient beside it, may be subnormal.
    fn least_scale(&mut self) -> Draft {
        let mut draft = self.outlier();
        draft.weight *= self.power(self.least, self.least + 14);
        draft.bias *= [0.0, 0.0, draft.weight.abs()][self.rng.random_range(0..3)];
        if self.rng.random_range(0..2) == 0 {
            draft.dy.iter_mut().for_each(|dy| *dy += 1.0);
        }
        draft
    }

    /// Values of every size beside each other.
    fn wide_spread(&mut self) -> Draft {
        let mut draft = self.plain();
        let high = 40.min(self.exponents.1 - 2);
        for i in 0..draft.x.len() {
            draft.x[i] *= self.power(-high, high);
            draft.dy[i] *= self.power(-high, high);
        }
        draft
    }

    fn long(&mut self) -> Draft {
        let n = self.rng.random_range(1000..4000);
        let mut draft = self.of_len(n);
        let at = self.rng.random_range(0..n);
        draft.x[at] *= self.power(0, 12.min(self.exponents.1 - 3));
        draft
    }
}

//! The layer's maps as docs/numerics.md writes them, with faults to plant.

use bn_conformance::case::{Case, Results, Tensor};
use bn_conformance::run::Answer;
use bn_conformance::search::Subject;
use bn_core::num::{Dd, Wide};
use bn_core::{Element, Real};

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// a = fl(γ·fl(invstd)).
    TwiceRounded,
    /// b = β.
    LostDelta,
    /// d = 0.
    LostD,
    /// dx = (dy·a + (x−k)·c) + d.
    MeanLast,
    /// Coefficients below the normal range stay in the plain maps.
    Underflow,
}

/// The maps of f32, with their coefficients from double-double.
pub(crate) struct Model(pub(crate) Fault);

/// A feature in double-double.
struct Feature {
    x: Vec<Dd>,
    dy: Vec<Dd>,
    mean: Dd,
    var: Dd,
    invstd: Dd,
    weight: Dd,
    bias: Dd,
    from_batch: bool,
}

fn wide(v: f64) -> Dd {
    Dd::from_f64(v)
}

/// The nearest f32.
fn round(v: Dd) -> f32 {
    v.to_f64() as f32
}

fn mean(values: impl ExactSizeIterator<Item = Dd>) -> Dd {
    let n = values.len() as f64;
    values.fold(Dd::default(), |sum, v| sum + v).over(n)
}

impl Feature {
    fn of<T: Element>(case: &Case<T>) -> Self {
        let all = |values: &[T]| values.iter().map(|v| wide(v.to_compute().to_f64())).collect::<Vec<Dd>>();
        let (x, dy) = (all(&case.x), all(case.dy.as_deref().unwrap_or_default()));
        let (mean, var) = match &case.running {
            Some([m, v]) if !case.from_batch() => (wide(m[0].to_f64()), wide(v[0].to_f64())),
            _ => {
                let centre = mean(x.iter().copied());
                (centre, mean(x.iter().map(|&x| (x - centre) * (x - centre))))
            }
        };
        let invstd = (var + wide(case.config.eps)).recip_sqrt();
        let (weight, bias) = case.params(0);
        let (weight, bias) = (wide(weight), wide(bias));
        Self { x, dy, mean, var, invstd, weight, bias, from_batch: case.from_batch() }
    }

    fn xhat(&self, x: Dd) -> Dd {
        (x - self.mean) * self.invstd
    }

    fn k(&self) -> f32 {
        round(self.mean)
    }

    fn delta(&self) -> Dd {
        self.mean - wide(f64::from(self.k()))
    }

    /// Whether coefficients and the mean let the plain maps be taken.
    fn fits(&self, fault: Fault, factors: &[Dd], terms: &[Dd]) -> bool {
        let least = f64::from(f32::MIN_POSITIVE);
        let small = |v: f64| v != 0.0 && v.abs() < least * 2f64.powi(20);
        let close = 16.0 * self.delta().to_f64().powi(2) <= self.var.to_f64() || self.delta().to_f64() == 0.0;
        let small = factors.iter().any(|v| small(v.to_f64())) && fault != Fault::Underflow;
        let large = factors.iter().chain(terms).chain([&self.mean]).any(|v| v.to_f64().abs() > 1e30);
        let spread = self.var.to_f64() <= 1e60;
        !small && !large && spread && close
    }

    fn a(&self, fault: Fault) -> f32 {
        match fault {
            Fault::TwiceRounded => (self.weight.to_f64() * f64::from(round(self.invstd))) as f32,
            _ => round(self.weight * self.invstd),
        }
    }

    fn forward(&self, fault: Fault) -> Vec<f32> {
        let a_wide = self.weight * self.invstd;
        let b_wide = self.bias - a_wide * self.delta();
        if !self.fits(fault, &[a_wide, b_wide], &[b_wide]) {
            return self.x.iter().map(|&x| round(self.weight * self.xhat(x) + self.bias)).collect();
        }
        let (k, a) = (self.k(), self.a(fault));
        let b = if fault == Fault::LostDelta { round(self.bias) } else { round(b_wide) };
        self.x.iter().map(|x| (x.to_f64() as f32 - k) * a + b).collect()
    }

    fn backward(&self, fault: Fault) -> Vec<f32> {
        let a_wide = self.weight * self.invstd;
        if !self.from_batch {
            return self.dy.iter().map(|&dy| round(a_wide * dy)).collect();
        }
        let m_wide = mean(self.dy.iter().copied());
        let h = mean(self.dy.iter().zip(&self.x).map(|(&dy, &x)| dy * self.xhat(x)));
        let c_wide = -(a_wide * self.invstd * h);
        let m = if fault == Fault::MeanLast { 0.0 } else { round(m_wide) };
        let d_wide = -(a_wide * (m_wide - wide(f64::from(m)))) - c_wide * self.delta();
        if !self.fits(fault, &[a_wide, c_wide, a_wide * h], &[m_wide, d_wide, c_wide * self.var.sqrt()]) {
            let gradient = |dy: Dd, x: Dd| round(a_wide * ((dy - m_wide) - self.xhat(x) * h));
            return self.dy.iter().zip(&self.x).map(|(&dy, &x)| gradient(dy, x)).collect();
        }
        let (k, a, c) = (self.k(), self.a(fault), round(c_wide));
        let d = if fault == Fault::LostD { 0.0 } else { round(d_wide) };
        let map = |dy: f32, x: f32| ((dy - m) * a + (x - k) * c) + d;
        self.dy.iter().zip(&self.x).map(|(dy, x)| map(dy.to_f64() as f32, x.to_f64() as f32)).collect()
    }
}

impl Subject for Model {
    fn answer<T: Element>(&self, case: &Case<T>) -> Answer {
        let feature = Feature::of(case);
        let widened = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        let mut results = Results::default();
        results.insert(Tensor::Y, widened(feature.forward(self.0)));
        results.insert(Tensor::Dx, widened(feature.backward(self.0)));
        // Of the rest the reference is as good as any.
        for tensor in Tensor::ALL.into_iter().filter(|t| !t.is_whole()) {
            if let Some(values) = case.expect.get(tensor) {
                results.insert(tensor, values.iter().map(|&v| f64::from(v as f32)).collect());
            }
        }
        Ok(results)
    }
}

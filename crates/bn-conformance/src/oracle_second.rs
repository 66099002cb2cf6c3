//! The oracle of the double backward: the formulas of docs/math.md, naively, in the numbers of [`oracle`](crate::oracle).

use crate::exact::Exact;
use crate::number::{Big, Ieee, Number};
use crate::oracle::{Feature, needs, sum};
use bn_core::num::Dd;

/// What the gradients of one feature are multiplied with; what is absent makes no term.
#[derive(Clone, Debug)]
pub struct Cotangent {
    /// Of dx.
    pub v: Option<Vec<f64>>,
    /// Of dγ and dβ.
    pub params: (Option<f64>, Option<f64>),
}

/// The gradients of one feature.
#[derive(Clone, Debug)]
pub struct Second {
    /// With respect to dy.
    pub dy: Vec<Exact>,
    /// With respect to x.
    pub x: Vec<Exact>,
    /// With respect to γ.
    pub weight: Exact,
}

/// The double backward of one feature.
#[must_use]
pub fn second<N: Number>(f: &Feature, cotangent: &Cotangent) -> Second {
    let n = N::new(f.x.len() as f64);
    let all = |values: &[f64]| values.iter().map(|&v| N::new(v)).collect::<Vec<N>>();
    let mean = |values: &[N]| sum(values.iter().cloned()) / n.clone();
    let centred =
        |values: &[N], mean: &N| values.iter().map(|v| v.clone() - mean.clone()).collect::<Vec<N>>();
    let product = |a: &[N], b: &[N]| a.iter().zip(b).map(|(a, b)| a.clone() * b.clone()).collect::<Vec<N>>();
    let (x, g) = (all(&f.x), all(&f.dy));
    let (mu, var) = match f.running {
        Some((mean, var)) if !f.from_batch => (N::new(mean), N::new(var)),
        _ => {
            let mu = mean(&x);
            let centred = centred(&x, &mu);
            let var = mean(&product(&centred, &centred));
            (mu, var)
        }
    };
    let s = N::new(1.0) / (var + N::new(f.eps)).root();
    let xhat: Vec<N> = centred(&x, &mu).into_iter().map(|x| x * s.clone()).collect();
    let gain = N::new(f.affine.0) * s.clone();

    // A gradient begins with 0, and each cotangent adds its term.
    let zeros = || vec![N::new(0.0); f.x.len()];
    let (mut d_dy, mut d_x, mut weight) = (zeros(), zeros(), N::new(0.0));
    let add = |to: &mut Vec<N>, term: &dyn Fn(usize) -> N| {
        to.iter_mut().enumerate().for_each(|(i, to)| *to = to.clone() + term(i));
    };
    let gc = centred(&g, &mean(&g));
    let h = mean(&product(&g, &xhat));
    match (&cotangent.v, f.from_batch) {
        (None, _) => {}
        (Some(v), false) => {
            let v = all(v);
            add(&mut d_dy, &|i| gain.clone() * v[i].clone());
            weight = s.clone() * sum(product(&v, &g).into_iter());
        }
        (Some(v), true) => {
            let v = all(v);
            let vc = centred(&v, &mean(&v));
            let (p, q) = (mean(&product(&v, &xhat)), mean(&product(&gc, &vc)));
            let hp = h.clone() * p.clone();
            add(&mut d_dy, &|i| gain.clone() * (vc[i].clone() - xhat[i].clone() * p.clone()));
            let along = q.clone() - N::new(3.0) * hp.clone();
            add(&mut d_x, &|i| {
                let terms = h.clone() * vc[i].clone() + p.clone() * gc[i].clone();
                N::new(0.0) - gain.clone() * s.clone() * (terms + xhat[i].clone() * along.clone())
            });
            // Of nothing there are no means.
            if !v.is_empty() {
                weight = n.clone() * s.clone() * (q - hp);
            }
        }
    }
    if let Some(w) = cotangent.params.0.map(N::new) {
        add(&mut d_dy, &|i| w.clone() * xhat[i].clone());
        let ws = w.clone() * s.clone();
        add(&mut d_x, &|i| match f.from_batch {
            true => ws.clone() * (gc[i].clone() - xhat[i].clone() * h.clone()),
            false => ws.clone() * g[i].clone(),
        });
    }
    if let Some(z) = cotangent.params.1.map(N::new) {
        add(&mut d_dy, &|_| z.clone());
    }
    let exact = |values: &[N]| values.iter().map(Exact::of).collect();
    Second { dy: exact(&d_dy), x: exact(&d_x), weight: Exact::of(&weight) }
}

/// The double backward of one feature in the number that it needs.
#[must_use]
pub fn answer_second(f: &Feature, cotangent: &Cotangent) -> Second {
    let mut more = cotangent.v.clone().unwrap_or_default();
    more.extend([cotangent.params.0, cotangent.params.1].into_iter().flatten());
    match needs(f, &more) {
        (false, false) => second::<Dd>(f, cotangent),
        (false, true) => second::<Big>(f, cotangent),
        (true, false) => second::<Ieee<Dd>>(f, cotangent),
        (true, true) => second::<Ieee<Big>>(f, cotangent),
    }
}

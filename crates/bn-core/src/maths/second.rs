//! Coefficient maths of the double backward, one feature after the other: in the wide type, rounded once.
//!
//! With g = dy, v, w and z the cotangents of dx, dγ and dβ, s = invstd, l = v̄, p = mean(v·x̂), m = ḡ, h = mean(g·x̂) and
//! q = mean((g−ḡ)(v−v̄)), docs/math.md derives
//!
//! ```text
//! dd.dy     = γs·(v − l − x̂p) + w·x̂ + z
//! dd.x      = −γs²·( h(v−l) + p(g−m) + x̂(q−3hp) ) + ws·(g − m − x̂h)
//! dd.weight = n·s·(q − hp)
//! ```
//!
//! and docs/numerics.md the premises that are asked here; a feature that breaks one is hard.

use super::coef::{BESIDE, GRADIENT, Stats, fits_factor, is_beside, is_quick};
use super::{Params, Totals};
use crate::num::{Real, Wide};

/// γ, w and z of a feature; what is absent is 1, 0 and 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors<R> {
    pub(crate) weight: R,
    pub(crate) w: R,
    pub(crate) z: R,
}

impl<R: Real> Factors<R> {
    /// Of feature `f`, z being the bias of `params`.
    pub(crate) fn of(params: &Params<'_, R>, w: &[R], f: usize) -> Self {
        let (weight, z) = params.get(f);
        Self { weight, w: w.get(f).copied().unwrap_or_default(), z }
    }
}

/// Of dd.dy = ((v−m)·a + (x−k)·c) + d.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DyCoef<R> {
    pub(crate) a: R,
    pub(crate) c: R,
    pub(crate) d: R,
    pub(crate) m: R,
    pub(crate) hard: bool,
}

/// Of dd.x = (((v−l)·a + (dy−m)·b) + (x−k)·c) + d, and dd.weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct XCoef<R> {
    pub(crate) a: R,
    pub(crate) b: R,
    pub(crate) c: R,
    pub(crate) d: R,
    pub(crate) m: R,
    pub(crate) l: R,
    pub(crate) weight: R,
    pub(crate) hard: bool,
}

/// The sums of dd.x: Σdy and Σdy·(x−k), Σv and Σv·(x−k), Σv and Σv·(dy−m), m being the mean of dy rounded to the type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums<R: Real> {
    pub(crate) dy: Totals<R>,
    pub(crate) v: Totals<R>,
    pub(crate) both: Totals<R>,
}

/// The mean of what these sums are of, which the third one of [`Sums`] is taken around.
pub(crate) fn mean<R: Real>(n: usize, (first, _): Totals<R>) -> R {
    R::round(first.over(n as f64))
}

/// A mean, the mean of the products with x̂, and the larger one of their sizes.
struct Along<R: Real> {
    mean: R::Wide,
    along: R::Wide,
    least: f64,
}

impl<R: Real> Along<R> {
    /// From sums around k.
    fn new(stats: &Stats<R>, n: f64, (first, second): Totals<R>) -> Self {
        let grads = stats.param_grads(stats.k, first, second);
        let (mean, along) = (grads.dbias.over(n), grads.dweight.over(n));
        Self { mean, along, least: mean.to_f64().abs().max(along.to_f64().abs()) }
    }

    /// What is left of the mean beside it in the type.
    fn rest(&self) -> (R, R::Wide) {
        let rounded = R::round(self.mean);
        (rounded, self.mean - rounded.widen())
    }

    /// R6, and of f64 that no product with x − k has lost digits that count.
    fn fits(&self, sigma: f64) -> bool {
        let (rounded, rest) = self.rest();
        let exact = R::sums_are_safe() & (rest.to_f64() == 0.0);
        R::fits(rounded.to_f64()) & (exact | (self.least >= R::LOW)) & R::sum_fits(self.least * sigma)
    }
}

/// Products that say whether one of f64 has left the range: those of f32 do not.
struct Product {
    fits: bool,
}

impl Product {
    fn of<R: Real>(&mut self, a: R::Wide, b: R::Wide) -> R::Wide {
        let c = a * b;
        let nothing = (a.to_f64() == 0.0) | (b.to_f64() == 0.0);
        self.fits &= R::sums_are_safe() | nothing | is_normal::<R>(c);
        c
    }
}

/// Whether a number has all its digits in the type.
fn is_normal<R: Real>(v: R::Wide) -> bool {
    (R::LOW..=R::HIGH).contains(&v.to_f64().abs())
}

/// The same, or 0.
fn fits<R: Real>(v: R::Wide) -> bool {
    (v.to_f64() == 0.0) | is_normal::<R>(v)
}

impl<R: Real> Stats<R> {
    /// Whether x − k neither overflows, nor leaves a δ of more than σ/16, nor is slow.
    fn fits_second(&self) -> bool {
        let var = self.var.to_f64();
        R::fits(self.k.to_f64())
            & R::sum_fits(var)
            & (var <= (R::HIGH * R::HIGH).min(f64::MAX))
            & (256.0 * self.delta.to_f64().powi(2) <= var)
            & is_quick::<R>(var)
    }

    /// Whether a batch that was not finite makes all NaN: f32's sums do not overflow.
    fn is_lost(&self) -> bool {
        R::sums_are_safe() & self.invstd.to_f64().is_nan()
    }

    /// The mean square of (x−μ)·c, and whether none of these overflows.
    fn term(&self, n: f64, c: R::Wide) -> (f64, bool) {
        let term = c.to_f64().powi(2) * self.var.to_f64();
        (term, n * term <= (R::HIGH * R::HIGH).min(f64::MAX))
    }
}

impl<R: Real> DyCoef<R> {
    /// Through the batch's statistics; without v there are no sums.
    pub(crate) fn from_batch(
        stats: &Stats<R>,
        Factors { weight, w, z }: Factors<R>,
        n: usize,
        sums: Option<Totals<R>>,
    ) -> Self {
        let (n, zero) = (n as f64, R::Wide::default());
        let v = sums.map(|sums| Along::new(stats, n, sums));
        let mut product = Product { fits: true };
        let beside = product.of::<R>(w.widen(), stats.invstd);
        let (a, c, m, left) = match &v {
            None => (zero, beside, R::default(), zero),
            Some(v) => {
                let a = product.of::<R>(weight.widen(), stats.invstd);
                let along = product.of::<R>(stats.invstd, v.along);
                let (m, rest) = v.rest();
                (a, beside - product.of::<R>(a, along), m, a * rest)
            }
        };
        let d = (z.widen() - left) - c * stats.delta;
        let (term, terms) = stats.term(n, c);
        let nothing = (a.to_f64() == 0.0) & (c.to_f64() == 0.0);
        let size = v.as_ref().map_or(0.0, |v| a.to_f64().abs() * v.least);
        let large = nothing
            | (size >= R::LOW * GRADIENT)
            | (z.to_f64().abs() >= R::LOW * BESIDE)
            | is_beside::<R>(term);
        let sums = v.as_ref().is_none_or(|v| v.fits(stats.var.to_f64().sqrt()));
        let all = sums & fits::<R>(a) & fits::<R>(c) & R::fits(d.to_f64()) & terms & large & product.fits;
        let hard = !(all & stats.fits_second()) & !stats.is_lost();
        Self { a: R::round(a), c: R::round(c), d: R::round(d), m, hard }
    }

    /// Where the statistics are constants: dd.dy = γs·v + w·x̂ + z.
    pub(crate) fn from_constants(stats: &Stats<R>, Factors { weight, w, z }: Factors<R>) -> Self {
        let (a, c) = (weight.widen() * stats.invstd, w.widen() * stats.invstd);
        let factors = fits_factor::<R>(weight, a) & fits_factor::<R>(w, c);
        let hard = !(factors & R::fits(stats.k.to_f64()) & R::fits(z.to_f64()));
        Self { a: R::round(a), c: R::round(c), d: z, m: R::default(), hard }
    }
}

impl<R: Real> XCoef<R> {
    /// Through the batch's statistics.
    pub(crate) fn from_batch(
        stats: &Stats<R>,
        Factors { weight, w, .. }: Factors<R>,
        n: usize,
        Sums { dy, v, both }: Sums<R>,
    ) -> Self {
        let n = n as f64;
        let finite = |sums: Totals<R>| sums.0.to_f64().is_finite();
        if stats.is_lost() | (R::sums_are_safe() & !(finite(dy) & finite(v))) {
            // q is NaN, and all of x̂·q.
            let nan = R::from_f64(f64::NAN);
            return Self { a: nan, b: nan, c: nan, d: nan, m: nan, l: nan, weight: nan, hard: false };
        }
        let (g, u) = (Along::new(stats, n, dy), Along::new(stats, n, v));
        let ((m, m_rest), (l, l_rest)) = (g.rest(), u.rest());
        let q = (both.1 - m_rest * both.0).over(n);
        let mut product = Product { fits: true };
        let hp = g.along * u.along;
        let gain = product.of::<R>(weight.widen(), stats.invstd);
        let [along_g, along_u] = [g.along, u.along].map(|along| product.of::<R>(stats.invstd, along));
        let beside = product.of::<R>(w.widen(), stats.invstd);
        let all = product.of::<R>(stats.invstd, q - R::Wide::from_f64(3.0) * hp);
        let all = product.of::<R>(stats.invstd, all);
        let a = -product.of::<R>(gain, along_g);
        let b = beside - product.of::<R>(gain, along_u);
        let c = -product.of::<R>(gain, all) - product.of::<R>(beside, along_g);
        let d = (-(a * l_rest) - b * m_rest) - c * stats.delta;
        let dweight = product.of::<R>(stats.invstd, q - hp) * R::Wide::from_f64(n);

        let sums = [both.0, both.1, dy.1, v.1].into_iter().all(|sum| R::fits_sum(sum.to_f64()));
        let sigma = stats.var.to_f64().sqrt();
        let means = g.fits(sigma) & u.fits(sigma) & R::sum_fits(g.least * u.least);
        let coefs = fits::<R>(a) & fits::<R>(b) & fits::<R>(c) & R::fits(d.to_f64());
        let (term, terms) = stats.term(n, c);
        let nothing = [a, b, c].into_iter().all(|coef| coef.to_f64() == 0.0);
        let size = gain.to_f64().abs() * stats.invstd.to_f64() * u.least + beside.to_f64().abs();
        let large = nothing | (size * g.least >= R::LOW * GRADIENT) | is_beside::<R>(term);
        let hard = !(sums & means & coefs & terms & large & product.fits & stats.fits_second());
        let [a, b, c, d, weight] = [a, b, c, d, dweight].map(R::round);
        Self { a, b, c, d, m, l, weight, hard }
    }
}

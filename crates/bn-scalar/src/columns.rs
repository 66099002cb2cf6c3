//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. Every feature has one lane, so a strip's elements are independent of each other and a strip is added to
//!    the accumulator element by element, which the compiler vectorizes.
//! 2. Few features are no concern of this file: the driver then hands over several rows as one strip.

use crate::map::{grad_input, normalize, scale, second};
use crate::sum::{Summand, load, store};
use bn_core::kernel::{Acc, Affine, GradAffine, Map, SecondAffine, Sum};
use bn_core::tensor::StripsMut;

pub(crate) fn sum<T: Summand>(sum: &Sum<'_, T>, mut acc: Acc<'_>) {
    for row in 0..sum.rows() {
        match *sum {
            Sum::Moments { x, pilot } => {
                for (f, &x) in x.strip(row).iter().enumerate() {
                    let k = pilot.map_or(T::default(), |pilot| pilot[f]);
                    store::<T>(T::add_moments(load::<T>(&acc, f), x, k), &mut acc, f);
                }
            }
            Sum::Grads { x, dy, pilot } => {
                for (f, (&x, &dy)) in x.strip(row).iter().zip(dy.strip(row)).enumerate() {
                    let k = pilot.map_or(T::default(), |pilot| pilot[f]);
                    store::<T>(T::add_grads(load::<T>(&acc, f), x, dy, k), &mut acc, f);
                }
            }
        }
    }
}

pub(crate) fn map<T: Summand>(map: &Map<'_, T>, mut out: StripsMut<'_, T>) {
    for row in 0..out.rows() {
        let out = out.strip_mut(row);
        match *map {
            Map::Normalize { x, affine: Affine { k, a, b }, post } => {
                let values = x.strip(row).iter().zip(k).zip(a.iter().zip(b));
                out.fill_from(values.map(|((&x, &k), (&a, &b))| normalize(x, [k, a, b], post)));
            }
            Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m } } => {
                let coefs = k.iter().zip(a).zip(c.iter().zip(d)).zip(m);
                let values = x.strip(row).iter().zip(dy.strip(row)).zip(coefs);
                out.fill_from(
                    values.map(|((&x, &dy), (((&k, &a), (&c, &d)), &m))| grad_input(x, dy, [k, a, c, d, m])),
                );
            }
            Map::Scale { dy, a } => {
                out.fill_from(dy.strip(row).iter().zip(a).map(|(&dy, &a)| scale(dy, a)));
            }
            Map::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } } => {
                let [x, dy, v] = [x, dy, v].map(|of| of.strip(row));
                out.fill_from(
                    (0..x.len())
                        .map(|f| second([x[f], dy[f], v[f]], [k[f], a[f], b[f], c[f], d[f], m[f], l[f]])),
                );
            }
        }
    }
}

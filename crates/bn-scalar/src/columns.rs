//! One value per feature (inner = 1): coefficients are vectors, sums run down the strips.
//!
//! 1. Every feature has one lane, so a strip's elements are independent of each other and a strip is added to
//!    the accumulator element by element, which the compiler vectorizes.
//! 2. Few features are no concern of this file: the driver then hands over several rows as one strip.

use crate::map::{gate_of, grad_input, normalize, scale, second};
use crate::sum::{Summand, load, store};
use bn_core::kernel::{Acc, Affine, GradAffine, Map, SecondAffine, Sum};
use bn_core::tensor::{Strips, StripsMut};

pub(crate) fn sum<T: Summand>(sum: &Sum<'_, T>, mut acc: Acc<'_>) {
    for row in 0..sum.rows() {
        match *sum {
            Sum::Moments { x, pilot } => {
                for (f, &x) in x.strip(row).iter().enumerate() {
                    let k = pilot.map_or(T::default(), |pilot| pilot[f]);
                    store::<T>(T::add_moments(load::<T>(&acc, f), x, k), &mut acc, f);
                }
            }
            Sum::Grads { x, dy, pilot, gate } => {
                for (f, (&x, &dy)) in x.strip(row).iter().zip(dy.strip(row)).enumerate() {
                    let k = pilot.map_or(T::default(), |pilot| pilot[f]);
                    let dy = gate_of(gate, f)(x, dy);
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
                let (x, plus) = (x.strip(row), post.plus().map(|r| r.strip(row)));
                out.fill_from(
                    (0..x.len()).map(|f| normalize(x[f], plus.map(|r| r[f]), [k[f], a[f], b[f]], post)),
                );
            }
            Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate } => {
                let (x, dy) = (x.strip(row), dy.strip(row));
                out.fill_from((0..x.len()).map(|f| {
                    let dy = gate_of(gate, f)(x[f], dy[f]);
                    grad_input(x[f], dy, [k[f], a[f], c[f], d[f], m[f]])
                }));
            }
            Map::Scale { dy, a, gate } => {
                let dy = dy.strip(row);
                out.fill_from((0..dy.len()).map(|f| {
                    let passed =
                        |(x, gate): (Strips<'_, T>, _)| gate_of(Some(gate), f)(x.strip(row)[f], dy[f]);
                    scale(gate.map_or(dy[f], passed), a[f])
                }));
            }
            Map::Gated { dy, y, clamp } => {
                let values = y.strip(row).iter().zip(dy.strip(row));
                out.fill_from(values.map(|(&y, &dy)| clamp.gate(y, dy)));
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

//! A gradient of the [double backward](super::second) as a map of sums that are known.

use super::forward::Forward;
use super::given::GivenSecond;
use super::hard::Hard;
use super::hard::second::{Batch, Inputs};
use super::plan::Plan;
use super::schedule::Task;
use super::step::{Doors, Settled, Step, split_columns, split_optional, split_some};
use super::target::Target;
use super::workspace::{COEFS, State};
use crate::kernel::{Affine, GradAffine, KernelSet, Map, Post, SecondAffine, Sum};
use crate::maths::second::{DyCoef, Factors, Sums, XCoef};
use crate::maths::{Moments, Params, StatsRef, Totals};
use crate::num::{Element, Real};
use crate::tensor::{Place, Shape, Strips, StripsMut};

/// Which gradient is mapped, and the sums that it needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a, R: Real> {
    /// dd.dy.
    Dy { v: Option<&'a [Totals<R>]> },
    /// dd.x and dd.weight, through batch statistics and with a v.
    X { dy: &'a [Totals<R>], v: &'a [Totals<R>], both: &'a [Totals<R>] },
}

/// A gradient as a map of sums that are known.
#[derive(Debug)]
pub(super) struct Mapping<'a, T: Element> {
    pub(super) shape: Shape,
    pub(super) inputs: Inputs<'a, T>,
    pub(super) out: Option<StripsMut<'a, T>>,
    pub(super) d_weight: &'a mut [T::Compute],
    /// γ and z.
    pub(super) params: Params<'a, T::Compute>,
    pub(super) w: &'a [T::Compute],
    pub(super) stats: StatsRef<'a, T::Compute>,
    pub(super) batch: Batch,
    /// Of a part of a batch, as in [`DoubleBackward`](super::DoubleBackward).
    pub(super) moments: Option<&'a [Moments]>,
    pub(super) given: Option<GivenSecond<'a, T::Compute>>,
    pub(super) kind: Kind<'a, T::Compute>,
}

impl<R: Real> Kind<'_, R> {
    fn split_at(self, feature: usize) -> (Self, Self) {
        match self {
            Self::Dy { v } => {
                let (v, v1) = split_some(v, |v| v.split_at(feature));
                (Self::Dy { v }, Self::Dy { v: v1 })
            }
            Self::X { dy, v, both } => {
                let ((dy, dy1), (v, v1)) = (dy.split_at(feature), v.split_at(feature));
                let (both, both1) = both.split_at(feature);
                (Self::X { dy, v, both }, Self::X { dy: dy1, v: v1, both: both1 })
            }
        }
    }
}

impl<T: Element> Step<T> for Mapping<'_, T> {
    type Before<'s>
        = Forward<'s, T>
    where
        Self: 's;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn task(&self) -> Task {
        if self.out.is_some() { Task::Apply } else { Task::Sums }
    }

    fn empty(self) {}

    fn features(&self) -> usize {
        self.stats.k.len()
    }

    fn walked(self, plan: &Plan) -> Self {
        let walked = |strips| plan.walked(self.shape, strips);
        let Inputs { x, dy, v, constant_w } = self.inputs;
        let inputs = Inputs { x: walked(x), dy: walked(dy), v: v.map(walked), constant_w };
        Self { inputs, out: self.out.map(|out| plan.walked_mut(self.shape, out)), ..self }
    }

    fn split_at(self, feature: usize, col: usize) -> (Self, Self) {
        let Self { shape, inputs, out, d_weight, params, w, stats, batch, moments, given, kind } = self;
        let Inputs { x, dy, v, constant_w } = inputs;
        let ((x, x1), (dy, dy1)) = (split_columns(x, col), split_columns(dy, col));
        let (v, v1) = split_some(v, |v| split_columns(v, col));
        let inputs = Inputs { x, dy, v, constant_w };
        let (out, out1) = split_some(out, |out| out.split_columns(col));
        let (d_weight, d_weight1) = split_optional(d_weight, feature);
        let ((params, params1), (stats, stats1)) = (params.split_at(feature), stats.split_at(feature));
        let ((w, w1), (kind, kind1)) = (w.split_at(feature.min(w.len())), kind.split_at(feature));
        let (moments, moments1) = split_some(moments, |moments| moments.split_at(feature.min(moments.len())));
        let (given, given1) = split_some(given, |given| given.split_at(feature));
        let tail = Self {
            shape,
            inputs: Inputs { x: x1, dy: dy1, v: v1, constant_w },
            out: out1,
            d_weight: d_weight1,
            params: params1,
            w: w1,
            stats: stats1,
            batch,
            moments: moments1,
            given: given1,
            kind: kind1,
        };
        (Self { shape, inputs, out, d_weight, params, w, stats, batch, moments, given, kind }, tail)
    }

    /// Two of up to three. What has gaps comes first: whether all are without is asked of these.
    fn reads(&self) -> [Option<Strips<'_, T>>; 2] {
        let Inputs { x, dy, v, .. } = &self.inputs;
        let of = match self.kind {
            Kind::Dy { .. } => [Some(x), v.as_ref(), None],
            Kind::X { .. } => [Some(x), v.as_ref(), Some(dy)],
        };
        let [a, b, c] = of.map(|of| of.map(Strips::reborrow));
        let gaps = c.as_ref().is_some_and(|c| c.as_slice().is_none());
        if gaps { [c, a] } else { [a, b] }
    }

    fn out(&self) -> Option<Place> {
        self.out.as_ref().map(StripsMut::place)
    }

    fn sum<'s>(&'s self, _: Option<&'s [T::Compute]>, _: Doors<'s, T>) -> Option<Sum<'s, T>> {
        None
    }

    fn settle(&mut self, _: &impl KernelSet, _: &mut State<T::Compute>, _: bool) -> Settled {
        Settled::Yes
    }

    fn coefficients(&mut self, _: &impl KernelSet, State { coefs, hard, .. }: &mut State<T::Compute>) {
        let (stats, n) = (self.stats, self.batch.count);
        let features = stats.k.len();
        let factors = |f: usize| Factors::of(&self.params, self.w, f);
        match self.kind {
            Kind::Dy { v } => {
                let [k, a, c, d, m, ..] = coefs.values(features);
                for f in 0..features {
                    let coef = match self.batch.from_batch {
                        true => DyCoef::from_batch(&stats.get(f), factors(f), n, v.map(|v| v[f])),
                        false => DyCoef::from_constants(&stats.get(f), factors(f)),
                    };
                    (k[f], a[f], c[f], d[f]) = (stats.k[f], coef.a, coef.c, coef.d);
                    (m[f], hard[f]) = (coef.m, coef.hard);
                }
            }
            Kind::X { dy, v, both } => {
                let [k, a, b, c, d, m, l] = coefs.values(features);
                for f in 0..features {
                    let sums = Sums { dy: dy[f], v: v[f], both: both[f] };
                    let coef = XCoef::from_batch(&stats.get(f), factors(f), n, sums);
                    (k[f], a[f], b[f], c[f], d[f]) = (stats.k[f], coef.a, coef.b, coef.c, coef.d);
                    (m[f], l[f], hard[f]) = (coef.m, coef.l, coef.hard);
                    if let Some(to) = self.d_weight.get_mut(f) {
                        *to = coef.weight;
                    }
                }
            }
        }
    }

    fn used(&self) -> &'static [usize] {
        match self.kind {
            Kind::Dy { .. } => &[0, 1, 2, 3, 4],
            Kind::X { .. } => &[0, 1, 2, 3, 4, 5, 6],
        }
    }

    fn map<'s>(
        &'s mut self,
        coefs: [&'s [T::Compute]; COEFS],
        _: Doors<'s, T>,
    ) -> Option<(Map<'s, T>, Target<'s, T>)> {
        let Inputs { x, dy, v, constant_w } = &self.inputs;
        let (x, dy, v) = (x.reborrow(), dy.reborrow(), v.as_ref().map(Strips::reborrow));
        let map = match (self.kind, v) {
            (Kind::X { .. }, v) => {
                let [k, a, b, c, d, m, l] = coefs;
                Map::Second { x, dy, v: v?, affine: SecondAffine { k, a, b, c, d, m, l } }
            }
            // x does not enter, be it NaN: v − 0, or nothing, has the place of x − k. m is 0.
            (Kind::Dy { .. }, Some(v)) if *constant_w => {
                let [_, a, _, d, m, ..] = coefs;
                Map::Normalize { x: v, affine: Affine { k: m, a, b: d }, post: Post::Pass }
            }
            (Kind::Dy { .. }, Some(dy)) => {
                let [k, a, c, d, m, ..] = coefs;
                Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: None }
            }
            (Kind::Dy { .. }, None) => {
                let [k, _, c, d, ..] = coefs;
                Map::Normalize { x, affine: Affine { k, a: c, b: d }, post: Post::Pass }
            }
        };
        Some((map, Target::Fresh(self.out.as_mut()?.reborrow())))
    }

    fn hard(
        &mut self,
        hard: Hard<'_, impl KernelSet>,
        _: &[Totals<T::Compute>],
        _: Option<StripsMut<'_, T>>,
    ) {
        let (params, w, of) = (self.params, self.w, (self.batch, self.moments, self.given));
        let factors = |f: usize| Factors::of(&params, w, f);
        let inputs = self.inputs.reborrow();
        let out = self.out.as_mut().map(StripsMut::reborrow);
        match (self.kind, out) {
            (Kind::Dy { .. }, Some(out)) => hard.second_dy(inputs, out, &factors, self.stats, of),
            (Kind::Dy { .. }, None) => (),
            (Kind::X { .. }, out) => {
                let d_weight = &mut *self.d_weight;
                let put = &mut |f: usize, own: T::Compute| {
                    if let Some(to) = d_weight.get_mut(f) {
                        *to = own;
                    }
                };
                hard.second_x(inputs, out, &factors, self.stats, of, put);
            }
        }
    }
}

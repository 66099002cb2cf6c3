//! The double backward: the gradients of ⟨v,dx⟩ + ⟨w,dγ⟩ + ⟨z,dβ⟩ with respect to dy, x and γ.
//!
//! 1. Through batch statistics: sums of x and dy, of x and v, and of dy and v, each a sweep of its own, as far as they are needed;
//!    then a map for each gradient.
//! 2. Where statistics are constants, and where there is no v, most of it is a step that is there already: dd.x is the dx of a
//!    backward with w for γ, dd.weight the dγ of one with dy for x and v for dy.

use super::apart::sums;
use super::backward::Backward;
use super::blocks::run;
use super::forward::Forward;
use super::hard::Hard;
use super::hard::second::{Batch, Inputs};
use super::kept::Kept;
use super::plan::Plan;
use super::schedule::Task;
use super::step::{Doors, Settled, Step, split_columns, split_optional, split_some};
use super::target::Target;
use super::workspace::{COEFS, State, Workspace};
use crate::kernel::{Affine, Backend, GradAffine, KernelSet, Map, Post, SecondAffine, Sum};
use crate::maths::second::{self, DyCoef, Factors, Sums, XCoef};
use crate::maths::{Params, StatsRef, Totals};
use crate::num::{Element, Real};
use crate::tensor::{Place, Shape, Strips, StripsMut};

/// What a double backward works on.
#[derive(Debug)]
pub(crate) struct DoubleBackward<'a, T: Element> {
    pub(crate) shape: Shape,
    pub(crate) x: Strips<'a, T>,
    pub(crate) dy: Strips<'a, T>,
    /// The cotangent of dx; `None` for 0.
    pub(crate) v: Option<Strips<'a, T>>,
    /// Those of dγ and dβ; empty for 0.
    pub(crate) w: &'a [T::Compute],
    pub(crate) z: &'a [T::Compute],
    /// Empty for 1.
    pub(crate) weight: &'a [T::Compute],
    /// What is wanted; empty where dd.weight is not.
    pub(crate) d_dy: Option<StripsMut<'a, T>>,
    pub(crate) d_x: Option<StripsMut<'a, T>>,
    pub(crate) d_weight: &'a mut [T::Compute],
    pub(crate) stats: StatsRef<'a, T::Compute>,
    pub(crate) from_batch: bool,
    pub(crate) eps: f64,
}

/// Does as much of a double backward as is wanted.
pub(crate) fn double_backward<T: Element, B: Backend>(
    backend: &B,
    step: DoubleBackward<'_, T>,
    workspace: &mut Workspace<T>,
) {
    if step.shape.is_empty() {
        return step.d_weight.fill(T::Compute::default());
    }
    let mut kept = std::mem::take(&mut workspace.second);
    match step.from_batch {
        true => step.through(backend, &mut kept, workspace),
        false => step.constants(backend, &mut kept, workspace),
    }
    workspace.second = kept;
}

impl<T: Element> DoubleBackward<'_, T> {
    fn through<B: Backend>(mut self, backend: &B, kept: &mut Kept<T::Compute>, workspace: &mut Workspace<T>) {
        let (shape, features, stats) = (self.shape, self.shape.features(), self.stats);
        let Kept { dy, v, both, values } = kept;
        let (mut d_x, d_weight) = (self.d_x.take(), std::mem::take(&mut self.d_weight));
        if let Some(of_v) = &self.v {
            v.resize(features, Totals::<T::Compute>::default());
            sums(backend, shape, [&self.x, of_v], stats.k, v, workspace);
        }
        self.d_dy(backend, Kind::Dy { v: self.v.is_some().then_some(&**v) }, workspace);
        match &self.v {
            None => self.without_v(backend, d_x.as_mut(), d_weight, workspace),
            Some(_) if d_x.is_none() && d_weight.is_empty() => (),
            Some(of_v) => {
                dy.resize(features, Totals::<T::Compute>::default());
                both.resize(features, Totals::<T::Compute>::default());
                sums(backend, shape, [&self.x, &self.dy], stats.k, dy, workspace);
                values.clear();
                values.extend(dy.iter().map(|&sums| second::mean::<T::Compute>(shape.count(), sums)));
                sums(backend, shape, [&self.dy, of_v], values, both, workspace);
                let kind = Kind::X { dy, v, both };
                run(backend, self.mapped(kind, d_x.as_mut().map(StripsMut::reborrow), d_weight), workspace);
            }
        }
    }

    fn constants<B: Backend>(
        mut self,
        backend: &B,
        kept: &mut Kept<T::Compute>,
        workspace: &mut Workspace<T>,
    ) {
        let (mut d_x, d_weight) = (self.d_x.take(), std::mem::take(&mut self.d_weight));
        self.d_dy(backend, Kind::Dy { v: None }, workspace);
        if let (Some(v), false) = (&self.v, d_weight.is_empty()) {
            kept.values.clear();
            kept.values.resize(self.shape.features(), T::Compute::default());
            let stats = StatsRef::<T::Compute> { k: &kept.values, ..self.stats };
            let step = Backward { dy: v.reborrow(), x: self.dy.reborrow(), stats, ..self.first() };
            run(backend, Backward { dweight: d_weight, ..step }, workspace);
            self.without_v(backend, d_x.as_mut(), &mut [], workspace);
        } else {
            self.without_v(backend, d_x.as_mut(), d_weight, workspace);
        }
    }

    /// dd.dy, if it is wanted.
    fn d_dy<B: Backend>(&mut self, backend: &B, kind: Kind<'_, T::Compute>, workspace: &mut Workspace<T>) {
        let Some(mut out) = self.d_dy.take() else { return };
        if self.v.is_none() && self.w.is_empty() {
            return fill(out, self.shape.inner(), self.z);
        }
        run(backend, self.mapped(kind, Some(out.reborrow()), &mut []), workspace);
    }

    /// dd.x of w alone, and no dd.weight.
    fn without_v<B: Backend>(
        &self,
        backend: &B,
        d_x: Option<&mut StripsMut<'_, T>>,
        d_weight: &mut [T::Compute],
        workspace: &mut Workspace<T>,
    ) {
        d_weight.fill(T::Compute::default());
        let Some(out) = d_x else { return };
        if self.w.is_empty() {
            return fill(out.reborrow(), self.shape.inner(), &[]);
        }
        let params = Params { weight: self.w, bias: &[] };
        let dx = Some(Target::Fresh(out.reborrow()));
        run(backend, Backward { dx, params, ..self.first() }, workspace);
    }

    /// The backward of these tensors, of which nothing is wanted.
    fn first(&self) -> Backward<'_, T> {
        let &Self { shape, from_batch, eps, stats, .. } = self;
        Backward {
            gate: None,
            moved: None,
            wide: &mut [],
            shape,
            x: self.x.reborrow(),
            dy: self.dy.reborrow(),
            dx: None,
            dweight: &mut [],
            dbias: &mut [],
            params: Params { weight: &[], bias: &[] },
            stats,
            from_batch,
            eps,
            count: shape.count(),
            whole: false,
            given: None,
        }
    }

    fn mapped<'s>(
        &'s self,
        kind: Kind<'s, T::Compute>,
        out: Option<StripsMut<'s, T>>,
        d_weight: &'s mut [T::Compute],
    ) -> Mapping<'s, T> {
        let inputs = Inputs {
            x: self.x.reborrow(),
            dy: self.dy.reborrow(),
            v: self.v.as_ref().map(Strips::reborrow),
            constant_w: !self.from_batch && self.w.is_empty(),
        };
        let params = Params { weight: self.weight, bias: self.z };
        let batch = Batch { count: self.shape.count(), eps: self.eps, from_batch: self.from_batch };
        Mapping {
            shape: self.shape,
            inputs,
            out,
            d_weight,
            params,
            w: self.w,
            stats: self.stats,
            batch,
            kind,
        }
    }
}

/// Writes a value per feature, or 0.
fn fill<T: Element>(mut out: StripsMut<'_, T>, inner: usize, values: &[T::Compute]) {
    for row in 0..out.rows() {
        for (f, run) in out.strip_mut(row).chunks_exact(inner).enumerate() {
            let value = T::from_compute(values.get(f).copied().unwrap_or_default());
            run.fill_from(std::iter::repeat_n(value, inner));
        }
    }
}

/// Which gradient is mapped, and the sums that it needs.
#[derive(Clone, Copy, Debug)]
enum Kind<'a, R: Real> {
    /// dd.dy.
    Dy { v: Option<&'a [Totals<R>]> },
    /// dd.x and dd.weight, through batch statistics and with a v.
    X { dy: &'a [Totals<R>], v: &'a [Totals<R>], both: &'a [Totals<R>] },
}

/// A gradient as a map of sums that are known.
#[derive(Debug)]
struct Mapping<'a, T: Element> {
    shape: Shape,
    inputs: Inputs<'a, T>,
    out: Option<StripsMut<'a, T>>,
    d_weight: &'a mut [T::Compute],
    /// γ and z.
    params: Params<'a, T::Compute>,
    w: &'a [T::Compute],
    stats: StatsRef<'a, T::Compute>,
    batch: Batch,
    kind: Kind<'a, T::Compute>,
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
        let Self { shape, inputs, out, d_weight, params, w, stats, batch, kind } = self;
        let Inputs { x, dy, v, constant_w } = inputs;
        let ((x, x1), (dy, dy1)) = (split_columns(x, col), split_columns(dy, col));
        let (v, v1) = split_some(v, |v| split_columns(v, col));
        let inputs = Inputs { x, dy, v, constant_w };
        let (out, out1) = split_some(out, |out| out.split_columns(col));
        let (d_weight, d_weight1) = split_optional(d_weight, feature);
        let ((params, params1), (stats, stats1)) = (params.split_at(feature), stats.split_at(feature));
        let ((w, w1), (kind, kind1)) = (w.split_at(feature.min(w.len())), kind.split_at(feature));
        let tail = Self {
            shape,
            inputs: Inputs { x: x1, dy: dy1, v: v1, constant_w },
            out: out1,
            d_weight: d_weight1,
            params: params1,
            w: w1,
            stats: stats1,
            batch,
            kind: kind1,
        };
        (Self { shape, inputs, out, d_weight, params, w, stats, batch, kind }, tail)
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
        let (params, w) = (self.params, self.w);
        let factors = |f: usize| Factors::of(&params, w, f);
        let inputs = self.inputs.reborrow();
        let out = self.out.as_mut().map(StripsMut::reborrow);
        match (self.kind, out) {
            (Kind::Dy { .. }, Some(out)) => hard.second_dy(inputs, out, &factors, self.stats, self.batch),
            (Kind::Dy { .. }, None) => (),
            (Kind::X { .. }, out) => {
                let d_weight = &mut *self.d_weight;
                let put = &mut |f: usize, own: T::Compute| {
                    if let Some(to) = d_weight.get_mut(f) {
                        *to = own;
                    }
                };
                hard.second_x(inputs, out, &factors, self.stats, self.batch, put);
            }
        }
    }
}

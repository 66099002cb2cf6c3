//! The double backward: the gradients of ⟨v,dx⟩ + ⟨w,dγ⟩ + ⟨z,dβ⟩ with respect to dy, x and γ.
//!
//! 1. Through batch statistics: sums of x and dy, of x and v, and of dy and v, each a sweep of its own, as far as they are needed;
//!    then a map for each gradient.
//! 2. Where statistics are constants, and where there is no v, most of it is a step that is there already: dd.x is the dx of a
//!    backward with w for γ, dd.weight the dγ of one with dy for x and v for dy.
//! 3. Of a part of a batch the sums are given, and dd.weight follows from them alone: it is not mapped.

use super::apart::sums;
use super::backward::Backward;
use super::blocks::run;
use super::given::{Given, GivenSecond, Whole};
use super::hard::second::{Batch, Inputs};
use super::kept::Kept;
use super::mapping::{Kind, Mapping};
use super::target::Target;
use super::workspace::Workspace;
use crate::kernel::Backend;
use crate::maths::{Moments, Params, StatsRef, Totals, second};
use crate::num::Element;
use crate::tensor::{Shape, Strips, StripsMut};

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
    /// The values of a feature that the statistics are of.
    pub(crate) count: usize,
    /// Of a part of a batch through its statistics: the moments that these are from, see [`Given`]. dd.weight is then not to be wanted.
    pub(crate) moments: Option<&'a [Moments]>,
    /// The sums over all parts, with a v.
    pub(crate) given: Option<GivenSecond<'a, T::Compute>>,
    /// Those without a v, of the backward with w for γ.
    pub(crate) given_first: Option<Given<'a, T::Compute>>,
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
    /// The same for a shorter time, with sums that are known for so long, and without dd.weight.
    pub(crate) fn given<'s>(
        &'s mut self,
        moments: &'s [Moments],
        given: Option<GivenSecond<'s, T::Compute>>,
        given_first: Option<Given<'s, T::Compute>>,
    ) -> DoubleBackward<'s, T> {
        let &mut Self { shape, w, z, weight, stats, from_batch, eps, count, .. } = self;
        DoubleBackward {
            shape,
            x: self.x.reborrow(),
            dy: self.dy.reborrow(),
            v: self.v.as_ref().map(Strips::reborrow),
            w,
            z,
            weight,
            d_dy: self.d_dy.as_mut().map(StripsMut::reborrow),
            d_x: self.d_x.as_mut().map(StripsMut::reborrow),
            d_weight: &mut [],
            stats,
            from_batch,
            eps,
            count,
            moments: Some(moments),
            given,
            given_first,
        }
    }

    fn through<B: Backend>(mut self, backend: &B, kept: &mut Kept<T::Compute>, workspace: &mut Workspace<T>) {
        let (shape, features, stats) = (self.shape, self.shape.features(), self.stats);
        let Kept { dy, v, both, values } = kept;
        let (mut d_x, d_weight) = (self.d_x.take(), std::mem::take(&mut self.d_weight));
        if let Some(GivenSecond { dy, v, both, .. }) = self.given {
            let [dy, v, both] = [dy, v, both].map(|Whole { totals, .. }| totals);
            self.d_dy(backend, Kind::Dy { v: Some(v) }, workspace);
            if let Some(out) = &mut d_x {
                let step = self.mapped(Kind::X { dy, v, both }, Some(out.reborrow()), d_weight);
                run(backend, step, workspace);
            }
            return;
        }
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
                values.extend(dy.iter().map(|&sums| second::mean::<T::Compute>(self.count, sums)));
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
        let &Self { shape, from_batch, eps, stats, count, given_first, .. } = self;
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
            count,
            whole: false,
            given: given_first,
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
        let batch = Batch { count: self.count, eps: self.eps, from_batch: self.from_batch };
        Mapping {
            shape: self.shape,
            inputs,
            out,
            d_weight,
            params,
            w: self.w,
            stats: self.stats,
            batch,
            moments: self.moments,
            given: self.given,
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

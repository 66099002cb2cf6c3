//! The double backward of a part of a batch, whose sums come from all parts.
//!
//! ```text
//! statistics of the batch, with a v      Σdy, Σdy·(x−k), Σv, Σv·(x−k) → merge → Σv, Σv·(dy−m) → merge → maps, dd.weight from the sums
//! statistics of the batch, w alone       Σdy, Σdy·x → merge → the map of a backward with w for γ
//! constant statistics, with a v          Σv·dy → merge → maps, dd.weight from the sums
//! all else                               maps
//! ```

use super::gradients::{hard_gradients_of, parameters_of, pilots};
use super::sums::{Kind, PartialSums, Total, around};
use super::{check_samples, of, sum_gradients, wrong};
use crate::driver::{self, Given, GivenSecond, Whole, Workspace};
use crate::kernel::Backend;
use crate::layer::error::Error;
use crate::layer::functions::Backward;
use crate::layer::saved::Saved;
use crate::maths::frame::Frame;
use crate::maths::second::{self, Factors, Sums, XCoef};
use crate::maths::{Params, StatsRef, StatsVec};
use crate::num::wide::exponent;
use crate::num::{Element, Real, Wide};

/// Makes sums of this part those of the whole batch.
pub(in crate::layer) type Merge<'m, R> = &'m mut dyn FnMut(&mut [&mut PartialSums<R>]) -> Result<(), Error>;

/// A part of a double backward.
pub(in crate::layer) struct Part<'a, T: Element> {
    pub(in crate::layer) x: &'a [T],
    pub(in crate::layer) dy: &'a [T],
    /// The cotangent of dx.
    pub(in crate::layer) v: Option<&'a [T]>,
    /// Whether there is one of dγ.
    pub(in crate::layer) w: bool,
    /// Its first sample, as the batch counts them.
    pub(in crate::layer) first: usize,
    /// Whether dd.weight is of this part's samples alone.
    pub(in crate::layer) local: bool,
}

impl<T: Element> Part<'_, T> {
    /// Runs `step`, which is of these tensors. What is merged follows from the statistics' origin, v and w alone, so that all parts
    /// merge as often.
    pub(in crate::layer) fn run<B: Backend>(
        &self,
        backend: &B,
        mut step: driver::DoubleBackward<'_, T>,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
        merge: Merge<'_, T::Compute>,
    ) -> Result<(), Error> {
        check_samples(saved.shape, self.first)?;
        let d_weight = std::mem::take(&mut step.d_weight);
        match (self.v, saved.from_batch) {
            (Some(v), true) => return self.through(backend, (step, v, d_weight), saved, workspace, merge),
            (Some(v), false) => {
                let around_0 = apart(vec![T::Compute::default(); saved.shape.features()]);
                let of = (Kind::Products, [self.dy, v]);
                let own = self.sums(backend, of, around_0.as_ref(), saved, workspace);
                let mut whole = own.clone();
                merge(&mut [&mut whole])?;
                let sums = if self.local { own } else { whole };
                if !d_weight.is_empty() {
                    constant_weight(backend, d_weight, &sums, saved, workspace)?;
                }
            }
            (None, true) if self.w => {
                d_weight.fill(T::Compute::default());
                let read = Backward::new(self.x, self.dy);
                let mut whole = sum_gradients(backend, &read, self.first, saved, workspace)?;
                merge(&mut [&mut whole])?;
                let (shape, pilots) = (saved.shape, pilots(saved));
                let expected = (Some(shape.inner()), around(pilots.as_deref()));
                let total = whole.total((Kind::Gradients, shape.features()), expected)?;
                check_count(saved, total.count)?;
                let hard = hard_gradients_of(&total, pilots.as_deref(), saved);
                let given = Given { totals: &total.totals, hard: &hard, moments: &saved.moments };
                driver::double_backward(backend, step.given(&saved.moments, None, Some(given)), workspace);
                return Ok(());
            }
            (None, _) => d_weight.fill(T::Compute::default()),
        }
        driver::double_backward(backend, step, workspace);
        Ok(())
    }

    /// Through the batch's statistics and with a v.
    fn through<B: Backend>(
        &self,
        backend: &B,
        (mut step, v, d_weight): (driver::DoubleBackward<'_, T>, &[T], &mut [T::Compute]),
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
        merge: Merge<'_, T::Compute>,
    ) -> Result<(), Error> {
        let (stats, count) = (saved.stats.as_ref(), saved.count);
        let mut sum = |kind, of, stats| self.sums(backend, (kind, of), stats, saved, workspace);
        let mut dy = sum(Kind::Centred, [self.x, self.dy], stats);
        let own_v = sum(Kind::Cotangents, [self.x, v], stats);
        let mut v_whole = own_v.clone();
        merge(&mut [&mut dy, &mut v_whole])?;
        let total = |sums: &PartialSums<T::Compute>, kind, pilots: &[T::Compute]| {
            sums.total((kind, saved.shape.features()), (Some(saved.shape.inner()), around(Some(pilots))))
        };
        let (dy, v_total) =
            (total(&dy, Kind::Centred, stats.k)?, total(&v_whole, Kind::Cotangents, stats.k)?);

        let around_means = apart(means(&dy));
        let means = &around_means.k;
        let own_both = sum(Kind::Products, [self.dy, v], around_means.as_ref());
        let mut both = own_both.clone();
        merge(&mut [&mut both])?;
        let both = total(&both, Kind::Products, means)?;
        [&dy, &v_total, &both].into_iter().try_for_each(|total| check_count(saved, total.count))?;

        let features = saved.shape.features();
        let given = GivenSecond { dy: whole(&dy), v: whole(&v_total), both: whole(&both), means };
        if !d_weight.is_empty() {
            let factors = Params { weight: step.weight, bias: &[] };
            match self.local {
                false => weights((count, factors), &given, saved, d_weight),
                true => {
                    let own = [own_v.own_total(features), own_both.own_total(features)];
                    let [v, both] = own.each_ref().map(whole);
                    weights((count, factors), &GivenSecond { v, both, ..given }, saved, d_weight);
                }
            }
        }
        driver::double_backward(backend, step.given(&saved.moments, Some(given), None), workspace);
        Ok(())
    }

    /// The sums of two tensors around the k of `stats`.
    fn sums<B: Backend>(
        &self,
        backend: &B,
        (kind, [a, b]): (Kind, [&[T]; 2]),
        stats: StatsRef<'_, T::Compute>,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> PartialSums<T::Compute> {
        let (shape, first, pilots) = (saved.shape, self.first, Some(stats.k));
        let mut sums = PartialSums::new(of(kind, shape, pilots));
        let part =
            driver::Part { shape, of: [Some(a), Some(b)], mask: None, first, pilots, stats: Some(stats) };
        driver::sum_part(backend, part, workspace, &mut |summed| sums.push(summed));
        sums
    }
}

fn whole<R: Real>(total: &Total<R>) -> Whole<'_, R> {
    Whole { totals: &total.totals, hard: &total.hard }
}

/// What stands for the statistics of a tensor in the place of x, of which the variance is not known: these pilots.
fn apart<R: Real>(k: Vec<R>) -> StatsVec<R> {
    let mut stats = StatsVec::<R>::default();
    stats.resize(k.len());
    StatsVec::<R> { k, ..stats }
}

/// The means of dy, rounded to the type; 0 where there is none.
fn means<R: Real>(dy: &Total<R>) -> Vec<R> {
    let each = dy.totals.iter().enumerate().map(|(f, &sums)| {
        let mean = second::mean::<R>(dy.count, sums);
        if mean.to_f64().is_finite() {
            return mean;
        }
        // A sum may leave the range though no dy does.
        let (sum, e) = whole(dy).get(f).first;
        let mean = R::from_f64(sum.over(dy.count as f64).ldexp(e).to_f64());
        if mean.to_f64().is_finite() { mean } else { R::default() }
    });
    each.collect()
}

/// Whether the sums are those of the whole batch that the statistics are of.
fn check_count<T: Element>(saved: &Saved<T>, count: usize) -> Result<(), Error> {
    let expected = || format!("sums over the {} values per feature of the forward", saved.count);
    match count == saved.count {
        true => Ok(()),
        false => Err(wrong(&expected(), &format!("sums over {count}"))),
    }
}

/// dd.weight = n·s·(q − hp) from sums of v over the batch, or over some of its samples, those of dy being the batch's.
fn weights<T: Element>(
    (n, params): (usize, Params<'_, T::Compute>),
    given: &GivenSecond<'_, T::Compute>,
    saved: &Saved<T>,
    d_weight: &mut [T::Compute],
) {
    if n == 0 {
        return d_weight.fill(T::Compute::default());
    }
    let stats = saved.stats.as_ref();
    for (f, to) in d_weight.iter_mut().enumerate() {
        let (stats, factors) = (stats.get(f), Factors::of(&params, &[], f));
        let sums = Sums { dy: given.dy.totals[f], v: given.v.totals[f], both: given.both.totals[f] };
        let coef = XCoef::from_batch(&stats, factors, n, sums);
        *to = coef.weight;
        if coef.hard {
            let frame = match saved.moments.get(f).filter(|moments| moments.unit != 0) {
                Some(moments) => moments.framed::<T::Compute>(saved.eps).0,
                None => {
                    let (k, var) = (stats.k.to_f64().abs(), stats.var.to_f64());
                    let largest = k.max(var.sqrt());
                    let scaled = !T::Compute::sums_are_safe() && largest > 0.0 && largest.is_finite();
                    Frame::given(&stats, if scaled { exponent(largest) } else { 0 })
                }
            };
            *to = T::Compute::from_f64(given.get(f).weight(&frame, factors, n));
        }
    }
}

/// dd.weight = s·Σvg, the statistics being constants.
fn constant_weight<T: Element, B: Backend>(
    backend: &B,
    d_weight: &mut [T::Compute],
    sums: &PartialSums<T::Compute>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    let zeros = vec![T::Compute::default(); saved.shape.features()];
    let stats = StatsRef::<T::Compute> { k: &zeros, ..saved.stats.as_ref() };
    let total = sums.own_total(saved.shape.features());
    parameters_of(backend, [d_weight, &mut []], (&total, None), (stats, &[]), saved, workspace)
}

//! The coefficient maths of a block: [`coef`](super::coef) for one feature after the other.
//!
//! Every number has a slice of its own, and each that is written is an argument of its own, so that the compiler knows that
//! none overlaps another and makes vectors of the loops. They are inlined into what [`KernelSet::vectorize`](crate::kernel::KernelSet::vectorize) compiles.

use super::coef::{AffineCoef, GradCoef, Stats};
use super::stats::Arrays;
use super::{Params, StatsMut, StatsRef, Totals};
use crate::num::{Real, Wide};

/// The statistics of each feature from its two sums over n values, around 0. `again` says where they must be taken anew
/// around the mean; so does the result for all.
#[inline(always)]
pub(crate) fn statistics<R: Real>(
    n: usize,
    eps: f64,
    totals: &[Totals<R>],
    stats: StatsMut<'_, R>,
    again: &mut [bool],
) -> bool {
    let Arrays { k, delta, var, invstd } = stats;
    each_sum(totals, k, delta, var, invstd, again, |(first, second)| {
        Stats::from_sums(n, None, first, second, eps)
    })
}

#[inline(always)]
fn each_sum<R: Real>(
    totals: &[Totals<R>],
    k: &mut [R],
    delta: &mut [R::Wide],
    var: &mut [R::Wide],
    invstd: &mut [R::Wide],
    flags: &mut [bool],
    stats: impl Fn(Totals<R>) -> (Stats<R>, bool),
) -> bool {
    let all = ..totals.len();
    let (k, delta, var, invstd, flags) =
        (&mut k[all], &mut delta[all], &mut var[all], &mut invstd[all], &mut flags[all]);
    let mut any = false;
    for f in 0..totals.len() {
        let (s, flag) = stats(totals[f]);
        (k[f], delta[f], var[f], invstd[f], flags[f]) = (s.k, s.delta, s.var, s.invstd, flag);
        any |= flag;
    }
    any
}

/// The statistics of the features of which `again` says so, from their sums around the means.
pub(crate) fn recentred<R: Real>(
    n: usize,
    eps: f64,
    totals: &[Totals<R>],
    mut stats: StatsMut<'_, R>,
    again: &[bool],
) {
    for (f, &(first, second)) in totals.iter().enumerate().filter(|&(f, _)| again[f]) {
        let k = stats.k[f];
        stats.set(f, &Stats::from_sums(n, Some(k), first, second, eps).0);
    }
}

/// The coefficients k, a and b of the forward's map, and which features are hard; `from_batch` says that the statistics are
/// those of the x that is mapped.
#[inline(always)]
pub(crate) fn affine<R: Real>(
    from_batch: bool,
    stats: StatsRef<'_, R>,
    params: Params<'_, R>,
    [k, a, b]: [&mut [R]; 3],
    hard: &mut [bool],
) {
    k.copy_from_slice(stats.k);
    params.copy_weight(a);
    params.copy_bias(b);
    each_pair(stats, a, b, hard, |stats, weight, bias| {
        let AffineCoef { a, b, hard } = stats.affine(from_batch, weight, bias);
        (a, b, hard)
    });
}

#[inline(always)]
fn each_pair<R: Real>(
    stats: StatsRef<'_, R>,
    a: &mut [R],
    b: &mut [R],
    hard: &mut [bool],
    coefs: impl Fn(Stats<R>, R, R) -> (R, R, bool),
) {
    let all = ..stats.k.len();
    let (stats, _) = stats.split_at(all.end);
    let (a, b, hard) = (&mut a[all], &mut b[all], &mut hard[all]);
    for f in 0..all.end {
        (a[f], b[f], hard[f]) = coefs(stats.get(f), a[f], b[f]);
    }
}

/// The pilot of the backward's sums of a feature.
#[inline(always)]
pub(super) fn grad_pilot<R: Real>(from_batch: bool, stats: &Stats<R>) -> R {
    // Running statistics need not be near those of x, whose distance to them may be all that counts.
    if from_batch { stats.grad_pilot() } else { stats.k }
}

/// Whether any pilot of the backward's sums is not 0.
#[inline(always)]
pub(crate) fn off_centre<R: Real>(from_batch: bool, stats: StatsRef<'_, R>) -> bool {
    let all = ..stats.k.len();
    let (stats, _) = stats.split_at(all.end);
    let mut any = false;
    for f in 0..all.end {
        any |= grad_pilot(from_batch, &stats.get(f)) != R::default();
    }
    any
}

/// These pilots.
#[inline(always)]
pub(crate) fn grad_pilots<R: Real>(from_batch: bool, stats: StatsRef<'_, R>, pilots: &mut [R]) {
    for (f, pilot) in pilots.iter_mut().enumerate() {
        *pilot = grad_pilot(from_batch, &stats.get(f));
    }
}

/// From the backward's sums around [`grad_pilots`], dβ and dγ in their place and the coefficients k, a, c, d and m of its map, and
/// which features are hard. `through` says that dx goes through the batch's statistics.
#[inline(always)]
pub(crate) fn gradients<R: Real>(
    n: usize,
    [from_batch, through]: [bool; 2],
    stats: StatsRef<'_, R>,
    params: Params<'_, R>,
    totals: &mut [Totals<R>],
    [k, a, c, d, m]: [&mut [R]; 5],
    hard: &mut [bool],
) {
    params.copy_weight(a);
    each_grad(
        stats,
        totals,
        a,
        c,
        d,
        m,
        hard,
        // Not inlined for itself once there are four element types; a call keeps the loop from becoming vectors.
        #[inline(always)]
        |stats, sums, weight| {
            let grads = stats.param_grads(grad_pilot(from_batch, &stats), sums.0, sums.1);
            let coef = match through {
                true => {
                    let gain = weight.widen() * stats.invstd;
                    GradCoef::from_batch(&stats, weight, gain, n, &grads, sums)
                }
                false => GradCoef::from_constants(&stats, weight, sums),
            };
            ((grads.dbias, grads.dweight), coef)
        },
    );
    k.copy_from_slice(stats.k);
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what is written must be an argument of its own")]
fn each_grad<R: Real>(
    stats: StatsRef<'_, R>,
    totals: &mut [Totals<R>],
    a: &mut [R],
    c: &mut [R],
    d: &mut [R],
    m: &mut [R],
    hard: &mut [bool],
    grads: impl Fn(Stats<R>, Totals<R>, R) -> (Totals<R>, GradCoef<R>),
) {
    let all = ..stats.k.len();
    let (stats, _) = stats.split_at(all.end);
    let totals = &mut totals[all];
    let (a, c, d) = (&mut a[all], &mut c[all], &mut d[all]);
    let (m, hard) = (&mut m[all], &mut hard[all]);
    for f in 0..all.end {
        let coef;
        (totals[f], coef) = grads(stats.get(f), totals[f], a[f]);
        (a[f], c[f], d[f], m[f], hard[f]) = (coef.a, coef.c, coef.d, coef.m, coef.hard);
    }
}

/// dβ and dγ in place of the backward's sums, see [`gradients`].
pub(crate) fn param_grads<R: Real>(from_batch: bool, stats: StatsRef<'_, R>, totals: &mut [Totals<R>]) {
    for (f, total) in totals.iter_mut().enumerate() {
        let stats = stats.get(f);
        let grads = stats.param_grads(grad_pilot(from_batch, &stats), total.0, total.1);
        *total = (grads.dbias, grads.dweight);
    }
}

/// One sum of each feature in the tensor's type, as far as it is wanted.
#[inline(always)]
pub(crate) fn round<R: Real>(totals: &[Totals<R>], of: impl Fn(&Totals<R>) -> R::Wide, to: &mut [R]) {
    for (to, total) in to.iter_mut().zip(totals) {
        *to = R::round(of(total));
    }
}

/// Weighs a batch's statistics into running ones: r ← (1−m)·r + m·s, with m = `weight`. The variance is multiplied by
/// `bessel` before.
#[inline(always)]
pub(crate) fn commit<R: Real>(
    stats: StatsRef<'_, R>,
    weight: R::Wide,
    bessel: R::Wide,
    [mean, var]: [&mut [R]; 2],
) {
    let all = ..stats.k.len();
    let ((stats, _), mean, var) = (stats.split_at(all.end), &mut mean[all], &mut var[all]);
    for f in 0..all.end {
        mean[f] = blend(weight, mean[f], wide_mean(stats.k[f], stats.delta[f]));
        var[f] = blend(weight, var[f], stats.var[f] * bessel);
    }
}

/// As [`commit`], but a feature whose mean or variance is not finite in the type, or would not be, is left out and counted. `weight`
/// follows from how many the feature has left out.
pub(crate) fn commit_finite<R: Real>(
    stats: StatsRef<'_, R>,
    weight: impl Fn(i64) -> R::Wide,
    bessel: R::Wide,
    [mean, var]: [&mut [R]; 2],
    left_out: &mut [i64],
) {
    let is_finite = |v: R::Wide| R::round(v).to_f64().is_finite();
    for (f, left_out) in left_out.iter_mut().enumerate() {
        let (new_mean, new_var) = (wide_mean(stats.k[f], stats.delta[f]), stats.var[f] * bessel);
        if is_finite(new_mean) && is_finite(new_var) {
            let weight = weight(*left_out);
            mean[f] = blend(weight, mean[f], new_mean);
            var[f] = blend(weight, var[f], new_var);
        } else {
            *left_out = left_out.saturating_add(1);
        }
    }
}

/// The mean k + δ with all its digits; δ of an infinite one is NaN.
#[inline(always)]
fn wide_mean<R: Real>(k: R, delta: R::Wide) -> R::Wide {
    k.widen() + if delta.to_f64().is_finite() { delta } else { R::Wide::default() }
}

#[inline(always)]
fn blend<R: Real>(weight: R::Wide, old: R, new: R::Wide) -> R {
    R::round((R::Wide::from_f64(1.0) - weight) * old.widen() + weight * new)
}

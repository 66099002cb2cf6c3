//! The coefficient maths of a block: [`crate::coef`] for one feature after the other.
//!
//! Every number has a slice of its own, and each that is written is an argument of its own, so that the compiler knows that
//! none overlaps another and makes vectors of the loops. They are inlined into what [`crate::Backend::vectorize`] compiles.

use super::{Params, Sums};
use crate::coef::{GradCoef, Range, Stats};
use crate::element::Real;
use crate::saved::{StatsMut, StatsRef};

/// The statistics of each feature from its two sums over n values, around 0. `again` says where they must be taken anew
/// around the mean; so does the result for all.
#[inline(always)]
pub(super) fn statistics<R: Real>(
    n: usize,
    eps: f64,
    sums: &[Sums<R>],
    stats: StatsMut<'_, R>,
    again: &mut [bool],
) -> bool {
    let StatsMut { k, delta, var, invstd } = stats;
    each_sum(sums, k, delta, var, invstd, again, |(first, second)| {
        Stats::from_sums(n, None, first, second, eps)
    })
}

#[inline(always)]
fn each_sum<R: Real>(
    sums: &[Sums<R>],
    k: &mut [R],
    delta: &mut [f64],
    var: &mut [R::Wide],
    invstd: &mut [R::Wide],
    flags: &mut [bool],
    stats: impl Fn(Sums<R>) -> (Stats<R>, bool),
) -> bool {
    let all = ..sums.len();
    let (k, delta, var, invstd, flags) =
        (&mut k[all], &mut delta[all], &mut var[all], &mut invstd[all], &mut flags[all]);
    let mut any = false;
    for f in 0..sums.len() {
        let (s, flag) = stats(sums[f]);
        (k[f], delta[f], var[f], invstd[f], flags[f]) = (s.k, s.delta, s.var, s.invstd, flag);
        any |= flag;
    }
    any
}

/// The coefficients k, a and b of the forward's map. `unfit` says which features leave `range`.
#[inline(always)]
pub(super) fn affine<R: Real>(
    range: Range,
    stats: StatsRef<'_, R>,
    params: Params<'_, R>,
    [k, a, b, _]: [&mut [R]; 4],
    unfit: &mut [bool],
) {
    k.copy_from_slice(stats.k);
    params.copy_weight(a);
    params.copy_bias(b);
    each_pair(stats, a, b, unfit, |stats, weight, bias| {
        let (a, b) = stats.affine(weight, bias);
        (a, b, !stats.fits(range, a, b))
    });
}

#[inline(always)]
fn each_pair<R: Real>(
    stats: StatsRef<'_, R>,
    a: &mut [R],
    b: &mut [R],
    unfit: &mut [bool],
    coefs: impl Fn(Stats<R>, R, R) -> (R, R, bool),
) {
    let all = ..stats.k.len();
    let (stats, _) = stats.split_at(all.end);
    let (a, b, unfit) = (&mut a[all], &mut b[all], &mut unfit[all]);
    for f in 0..all.end {
        (a[f], b[f], unfit[f]) = coefs(stats.get(f), a[f], b[f]);
    }
}

/// The pilots of the backward's sums, and whether any is not 0.
#[inline(always)]
pub(super) fn grad_pilots<R: Real>(from_batch: bool, stats: StatsRef<'_, R>, pilots: &mut [R]) -> bool {
    let all = ..stats.k.len();
    let ((stats, _), pilots) = (stats.split_at(all.end), &mut pilots[all]);
    let mut any = false;
    for f in 0..all.end {
        // Running statistics need not be near those of x, whose distance to them may be all that counts.
        let stats = stats.get(f);
        pilots[f] = if from_batch { stats.grad_pilot() } else { stats.k };
        any |= pilots[f] != R::default();
    }
    any
}

/// From the backward's sums, dβ and dγ in their place and the coefficients k, a, c and d of its map, where the first of
/// these are the sums' pilots before. `unfit` says which features leave `range`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what the formula needs")]
pub(super) fn gradients<R: Real>(
    range: Range,
    n: usize,
    from_batch: bool,
    stats: StatsRef<'_, R>,
    params: Params<'_, R>,
    sums: &mut [Sums<R>],
    [k, a, c, d]: [&mut [R]; 4],
    unfit: &mut [bool],
) {
    params.copy_weight(a);
    each_grad(stats, sums, k, a, c, d, unfit, |stats, (first, second), pilot, weight| {
        let grads = stats.param_grads(pilot, first, second);
        let mut coef = GradCoef::new(&stats, weight, &grads, n);
        if !from_batch {
            (coef.c, coef.d) = Default::default();
        }
        let unfit = !stats.fits_grad(range, &coef, first, second);
        ((grads.dbias, grads.dweight), coef, unfit)
    });
    k.copy_from_slice(stats.k);
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "see the head of the file")]
fn each_grad<R: Real>(
    stats: StatsRef<'_, R>,
    sums: &mut [Sums<R>],
    pilots: &[R],
    a: &mut [R],
    c: &mut [R],
    d: &mut [R],
    unfit: &mut [bool],
    grads: impl Fn(Stats<R>, Sums<R>, R, R) -> (Sums<R>, GradCoef<R>, bool),
) {
    let all = ..stats.k.len();
    let (stats, _) = stats.split_at(all.end);
    let (sums, pilots) = (&mut sums[all], &pilots[all]);
    let (a, c, d, unfit) = (&mut a[all], &mut c[all], &mut d[all], &mut unfit[all]);
    for f in 0..all.end {
        let coef;
        (sums[f], coef, unfit[f]) = grads(stats.get(f), sums[f], pilots[f], a[f]);
        (a[f], c[f], d[f]) = (coef.a, coef.c, coef.d);
    }
}

/// Both sums of each feature in the tensor's type, as far as they are wanted.
#[inline(always)]
pub(super) fn round<R: Real>(sums: &[Sums<R>], first: &mut [R], second: &mut [R]) {
    for ((first, second), sum) in first.iter_mut().zip(second).zip(sums) {
        (*first, *second) = (R::round(sum.0), R::round(sum.1));
    }
}

//! The backward of a batch that comes in parts.

use super::sums::{Kind, PartialSums, Total, around};
use super::{check_samples, of, wrong};
use crate::driver::{self, Given, Workspace};
use crate::kernel::Backend;
use crate::layer::checked::StridedBack;
use crate::layer::error::Error;
use crate::layer::functions::{Backward, To};
use crate::layer::saved::Saved;
use crate::maths::frame::Frame;
use crate::maths::{HardGrads, Moments, Params, StatsRef, Totals, features};
use crate::num::{Element, Real, Wide};
use crate::tensor::Shape;

/// The sums of a part that its backward needs: Σdy and Σdy·(x−k), dy being what passes the activation, over the positions that exist.
/// `step` is that of the [`backward`], of which x, dy, γ, β and what was kept are read; `saved` is what the part's forward left, `first`
/// as in [`Pooled::sum`](super::Pooled::sum).
///
/// # Errors
/// [`Error::EmptySaved`], [`Error::Length`] where a buffer does not fit the saved shape, and [`Error::Options`] where something of
/// the forward is needed that was not kept.
pub fn sum_gradients<T: Element, B: Backend>(
    backend: &B,
    step: &Backward<'_, T>,
    first: usize,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<PartialSums<T::Compute>, Error> {
    saved.check_gradients()?;
    let (weight, bias, kept) = (step.weight, step.bias, step.kept);
    let dy = match &step.dx {
        Some(To::Over(dy)) => dy,
        _ => step.dy,
    };
    let read = Backward { weight, bias, kept, ..Backward::new(step.x, dy) };
    sums(backend, read.checked(saved)?, first, saved, workspace)
}

/// As [`sum_gradients`], of a step of which nothing is wanted.
pub(in crate::layer) fn sums<T: Element, B: Backend>(
    backend: &B,
    mut read: StridedBack<'_, T>,
    first: usize,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<PartialSums<T::Compute>, Error> {
    let (shape, mask) = (saved.shape, read.kept.mask);
    let [x, dy] = [&read.x, &read.dy].map(|of| of.as_slice().unwrap_or_default());
    saved.done.check(&read.kept)?;
    check_samples(shape, first)?;
    let pilots = pilots(saved);
    let mut sums = PartialSums::new(of(Kind::Gradients, shape, pilots.as_deref()));
    let (pilots, stats) = (pilots.as_deref(), Some(saved.stats.as_ref()));
    let mut sum = |dy: &[T], workspace: &mut Workspace<T>| {
        let part = driver::Part { shape, of: [Some(x), Some(dy)], mask, first, pilots, stats };
        driver::sum_part(backend, part, workspace, &mut |summed| sums.push(summed));
    };
    if saved.done.activation.corners().is_none() {
        sum(dy, workspace);
        return Ok(sums);
    }
    let mut passed = workspace.take_passed();
    let nothing = vec![Totals::<T::Compute>::default(); shape.features()];
    let given = Some(Given { totals: &nothing, hard: &[], moments: &saved.moments });
    let dresidual = Some(driver::room(&mut passed, shape.len()));
    let gate = StridedBack { dresidual, given, ..read.reborrow() };
    gate.run_where(backend, saved, workspace, |_| Ok(()))?;
    sum(&passed[..shape.len()], workspace);
    workspace.put_passed(passed);
    Ok(sums)
}

/// The backward of a part: its dx, and dγ and dβ of the whole batch, from the sums of all parts.
///
/// # Errors
/// As [`functions::backward`](crate::functions::backward), and [`Error::Parts`] where the sums are not those of all parts of the
/// forward's batch, or around other means than its. Nothing is then written. In evaluation, where no forward counts the batch, a last
/// part that is missing is not noticed.
pub fn backward<T: Element, B: Backend>(
    backend: &B,
    step: Backward<'_, T>,
    sums: &PartialSums<T::Compute>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    saved.check_gradients()?;
    run(backend, step.checked(saved)?, sums, saved, workspace)
}

/// As [`backward`].
pub(in crate::layer) fn run<T: Element, B: Backend>(
    backend: &B,
    mut step: StridedBack<'_, T>,
    sums: &PartialSums<T::Compute>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    let shape = saved.shape;
    let pilots = pilots(saved);
    let expected = (Some(shape.inner()), around(pilots.as_deref()));
    let total = sums.total((Kind::Gradients, shape.features()), expected)?;
    let hard = hard_gradients_of(&total, pilots.as_deref(), saved);
    let given = Some(Given { totals: &total.totals, hard: &hard, moments: &saved.moments });
    saved.done.check(&step.kept)?;
    let step = StridedBack { given, whole: true, ..step.reborrow() };
    step.run_where(backend, saved, workspace, |own| {
        let (whole, count) = (saved.count, total.count);
        let expected = match saved.from_batch {
            true if count != whole => format!("sums over the {whole} values per feature of the forward"),
            _ if count < own => format!("sums over the {own} values per feature of this part at least"),
            _ => return Ok(()),
        };
        Err(wrong(&expected, &format!("sums over {count}")))
    })
}

/// dγ and dβ of the samples that `sums` are of, be they a part of the batch, into `dweight` and `dbias`, as far as these are wanted.
pub(in crate::layer) fn parameters<T: Element, B: Backend>(
    backend: &B,
    [dweight, dbias]: [&mut [T::Compute]; 2],
    sums: &PartialSums<T::Compute>,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    let pilots = pilots(saved);
    let total = sums.own_total(saved.shape.features());
    let of = (saved.stats.as_ref(), saved.moments.as_slice());
    parameters_of(backend, [dweight, dbias], (&total, pilots.as_deref()), of, saved, workspace)
}

/// As [`parameters`], from sums around `pilots` and these statistics.
pub(super) fn parameters_of<T: Element, B: Backend>(
    backend: &B,
    [dweight, dbias]: [&mut [T::Compute]; 2],
    (total, pilots): (&Total<T::Compute>, Option<&[T::Compute]>),
    (stats, moments): (StatsRef<'_, T::Compute>, &[Moments]),
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<(), Error> {
    let hard = hard_gradients(total, pilots, (stats, moments), saved.eps);
    let given = Some(Given { totals: &total.totals, hard: &hard, moments });
    // A step over nothing has no more to do.
    let shape = Shape::new(0, saved.shape.features(), saved.shape.inner())?;
    let strips = || shape.strips(&[]).unwrap_or_else(|| unreachable!("nothing is as long as that"));
    let step = driver::Backward {
        shape,
        x: strips(),
        dy: strips(),
        gate: None,
        dx: None,
        dweight,
        dbias,
        params: Params { weight: &[], bias: &[] },
        stats,
        from_batch: saved.from_batch,
        eps: saved.eps,
        count: saved.count,
        whole: true,
        given,
        moved: saved.moved.get(),
        wide: &mut [],
    };
    driver::run_among(backend, step, None, workspace);
    Ok(())
}

/// dβ and dγ of the features that the totals do not tell.
pub(super) fn hard_gradients_of<T: Element>(
    total: &Total<T::Compute>,
    pilots: Option<&[T::Compute]>,
    saved: &Saved<T>,
) -> Vec<Option<HardGrads>> {
    hard_gradients(total, pilots, (saved.stats.as_ref(), &saved.moments), saved.eps)
}

fn hard_gradients<R: Real>(
    total: &Total<R>,
    pilots: Option<&[R]>,
    (stats, moments): (StatsRef<'_, R>, &[Moments]),
    eps: f64,
) -> Vec<Option<HardGrads>> {
    let each = total.hard.iter().enumerate().map(|(f, sums)| {
        let frame = match moments.get(f).filter(|moments| moments.unit != 0) {
            Some(moments) => moments.framed::<R>(eps).0,
            None => Frame::given(&stats.get(f), 0),
        };
        let pilot = pilots.map_or(0.0, |pilots| pilots[f].to_f64());
        Some((*sums)?.gradients(&frame, pilot, stats.invstd[f].to_f64()))
    });
    each.collect()
}

/// What the backward's sums are taken around, where that is not 0 for all features.
pub(super) fn pilots<T: Element>(saved: &Saved<T>) -> Option<Vec<T::Compute>> {
    let stats = saved.stats.as_ref();
    features::off_centre(saved.from_batch, stats).then(|| {
        let mut pilots = vec![T::Compute::default(); saved.shape.features()];
        features::grad_pilots(saved.from_batch, stats, &mut pilots);
        pilots
    })
}

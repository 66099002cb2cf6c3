//! Ghost batches (Hoffer, Hubara and Soudry 2017, <https://arxiv.org/abs/1705.08741>): a batch as virtual batches, each of which is
//! a step of its own.
//!
//! ```text
//! forward     each virtual batch → y, its Saved → its moments, merged in their order → the Saved of the whole
//! backward    each virtual batch → dx, and dβ and dγ with all their digits, added in their order and rounded once
//! ```

use super::checked::{Strided, StridedBack};
use super::error::Error;
use super::mode::Mode;
use super::one_value::Single;
use super::options::{Kept, Options};
use super::saved::Saved;
use super::sizes::Sizes;
use crate::driver::{self, Target, Workspace};
use crate::kernel::Backend;
use crate::maths::{Moments, Stats, features};
use crate::num::{Element, Real, Wide};
use crate::tensor::{Shape, Strips};

/// `rows` samples of such a tensor.
fn part(shape: Shape, rows: usize) -> Result<Shape, Error> {
    Ok(Shape::new(rows, shape.features(), shape.inner())?)
}

impl<'a, T: Element> Strided<'a, T> {
    /// The samples of a virtual batch, where there is more than one.
    pub(super) fn ghost(&self) -> Result<Option<usize>, Error> {
        let wrong = |expected: &str, got: &str| Error::Options { expected: expected.into(), got: got.into() };
        let Some(samples) = self.options.ghost else {
            return Ok(None);
        };
        if samples == 0 {
            return Err(wrong("1 sample or more in a ghost batch", "0"));
        }
        if self.mode == Mode::Eval || self.running.is_some() {
            return Ok(None);
        }
        if self.options.mask.is_some() {
            return Err(wrong("no mask beside ghost batches", "one"));
        }
        let several = !self.shape.is_empty() && self.shape.outer() / samples > 1;
        Ok(several.then_some(samples))
    }

    /// Runs it in virtual batches of so many samples.
    pub(super) fn run_ghosts<B: Backend>(
        self,
        samples: usize,
        backend: &B,
        saved: &'a mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        self.check(part(self.shape, samples)?.count(), Single::Ghost)?;
        let Self { shape, sizes, mode, x, y, params, eps, one_value, options, renorm_by, .. } = self;
        let mut ghosts = std::mem::take(&mut saved.ghosts);
        saved.reset(shape, sizes, mode, true, eps, shape.count());
        saved.done = options.done();
        let mut room = workspace.take_sums();
        room.moments.clear();
        room.moments.resize(shape.features(), Moments::default());
        let parts = shape.outer() / samples;
        ghosts.resize_with(parts, Saved::default);
        let (mut y, mut before) = (Some(y), 0.0);
        for (i, ghost) in ghosts.iter_mut().enumerate() {
            let start = i * samples;
            let rows = start..if i + 1 == parts { shape.outer() } else { start + samples };
            let shape = part(shape, rows.len())?;
            let Options { activation, ref residual, renorm, .. } = options;
            let residual = residual.as_ref().map(|residual| residual.rows_range(rows.clone()));
            let added = residual.as_ref().map(Strips::reborrow);
            let options = Options { activation, residual: added, mask: None, renorm, ghost: None };
            let (own, rest) = y.take().map(|y| y.split_rows(rows.len())).unzip();
            let (x, mut own) = (x.rows_range(rows), own.unwrap_or_else(|| unreachable!("rows are left")));
            y = rest;
            let (sizes, running) = (Sizes::Slice(shape), None);
            let step = Strided {
                shape,
                sizes,
                mode,
                x: x.reborrow(),
                y: own.reborrow(),
                params,
                running,
                eps,
                one_value,
                options,
                renorm_by,
            };
            step.run(backend, ghost, workspace)?;
            // Those of f64 may have left the range in which squares are right.
            let fits =
                |stats: &Stats<T::Compute>| Moments::fit::<T::Compute>(stats.k.to_f64(), stats.var.to_f64());
            let stats = ghost.stats.as_ref();
            let anew = !(0..shape.features()).all(|f| fits(&stats.get(f)));
            let anew = anew.then(|| driver::moments(backend, (shape, x), None, workspace).0);
            let n = shape.count() as f64;
            for (f, all) in room.moments.iter_mut().enumerate() {
                let own = anew.as_ref().map_or_else(|| Moments::of(&stats.get(f)), |anew| anew[f]);
                *all = all.merged::<T::Compute>(before, own, n);
            }
            before += n;
        }
        let mut stats = saved.stats.as_mut();
        room.moments.iter().enumerate().for_each(|(f, own)| stats.set(f, &own.stats(eps)));
        if room.moments.iter().any(|own| own.unit != 0) {
            saved.moments.clone_from(&room.moments);
        }
        saved.ghosts = ghosts;
        workspace.put_sums(room);
        Ok(())
    }
}

impl<T: Element> StridedBack<'_, T> {
    /// Runs it, of a forward in virtual batches.
    pub(super) fn run_ghosts<B: Backend>(
        self,
        backend: &B,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let Self { x, dy, weight, bias, kept, mut dx, mut dresidual, dweight, dbias, whole, .. } = self;
        let mut room = workspace.take_sums();
        let zero = <T::Compute as Real>::Wide::default();
        for sums in [&mut room.all, &mut room.own] {
            sums.clear();
            sums.resize(saved.shape.features(), (zero, zero));
        }
        let mut start = 0;
        for ghost in &saved.ghosts {
            let rows = start..start + ghost.shape.outer();
            start = rows.end;
            let (mut own_dx, rest) = dx.take().map(|dx| dx.split_rows(rows.len())).unzip();
            dx = rest;
            let (own, rest) = dresidual.take().map(|own| own.split_at_mut(ghost.shape.len())).unzip();
            dresidual = rest;
            let [x, dy] = [&x, &dy].map(|of| of.rows_range(rows.clone()));
            let [y, residual] =
                [&kept.y, &kept.residual].map(|kept| kept.as_ref().map(|kept| kept.rows_range(rows.clone())));
            let kept = Kept {
                y: y.as_ref().map(Strips::reborrow),
                residual: residual.as_ref().map(Strips::reborrow),
                mask: None,
            };
            let step = StridedBack {
                x: x.reborrow(),
                dy: dy.reborrow(),
                weight,
                bias,
                kept,
                dx: own_dx.as_mut().map(Target::reborrow),
                dresidual: own,
                dweight: &mut *dweight,
                dbias: &mut *dbias,
                wide: &mut room.own,
                whole,
                given: None,
            };
            step.run(backend, ghost, workspace)?;
            for (all, own) in room.all.iter_mut().zip(&room.own) {
                *all = (all.0 + own.0, all.1 + own.1);
            }
        }
        features::round(&room.all, |total| total.0, dbias);
        features::round(&room.all, |total| total.1, dweight);
        workspace.put_sums(room);
        Ok(())
    }
}

//! Steps whose buffers have been checked, and how they are run.

use super::error::{Error, check_len};
use super::mode::Mode;
use super::one_value::{OneValue, Single};
use super::options::{Kept, Options};
use super::renorm::Against;
use super::running::Running;
use super::saved::Saved;
use super::sizes::Sizes;
use crate::driver::{self, Again, By, Gaps, Gate, Given, Statistics, Target, Workspace};
use crate::kernel::Backend;
use crate::maths::{Params, Stats, Totals};
use crate::num::Element;
use crate::tensor::{Held, Shape, Strips};

/// A forward.
pub(super) struct Strided<'a, T: Element> {
    /// Of the tensor as it lies in memory.
    pub(super) shape: Shape,
    /// Of the tensor as the caller has it.
    pub(super) sizes: Sizes,
    pub(super) mode: Mode,
    /// Absent where y goes over it.
    pub(super) x: Strips<'a, T>,
    pub(super) y: Target<'a, T>,
    pub(super) params: Params<'a, T::Compute>,
    pub(super) running: Option<Running<'a, T::Compute>>,
    pub(super) eps: f64,
    pub(super) one_value: OneValue,
    pub(super) options: Options<Strips<'a, T>, &'a [bool]>,
    /// The running statistics before the step, where they are tracked.
    pub(super) renorm_by: Option<Running<'a, T::Compute>>,
}

/// A backward. Gradients of length 0 are not wanted, nor are γ and β there of length 0.
pub(super) struct StridedBack<'a, T: Element> {
    pub(super) x: Strips<'a, T>,
    /// Absent where dx goes over it.
    pub(super) dy: Strips<'a, T>,
    pub(super) weight: &'a [T::Compute],
    pub(super) bias: &'a [T::Compute],
    pub(super) kept: Kept<Strips<'a, T>, &'a [bool]>,
    pub(super) dx: Option<Target<'a, T>>,
    pub(super) dresidual: Option<&'a mut [T]>,
    pub(super) dweight: &'a mut [T::Compute],
    pub(super) dbias: &'a mut [T::Compute],
    /// See [`driver::Backward`].
    pub(super) wide: &'a mut [Totals<T::Compute>],
    /// See [`driver::Backward`].
    pub(super) whole: bool,
    /// Of a part of a batch: the sums over all parts.
    pub(super) given: Option<Given<'a, T::Compute>>,
}

/// A mask over the samples and positions of a tensor.
pub(super) fn check_mask(shape: Shape, mask: &[bool]) -> Result<&[bool], Error> {
    check_len("the mask", shape.outer() * shape.inner(), mask.len())?;
    Ok(mask)
}

impl<'a, T: Element> Strided<'a, T> {
    /// Runs it. `saved` is filled.
    pub(super) fn run<B: Backend>(
        self,
        backend: &B,
        saved: &'a mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        if let Some(samples) = self.ghost()? {
            return self.run_ghosts(samples, backend, saved, workspace);
        }
        let (shape, mask) = (self.shape, self.options.mask);
        let gaps = mask.map(|mask| workspace.take_gaps(shape, mask));
        let step = self.prepared(saved, gaps.as_ref().map_or(shape.count(), Gaps::valid));
        step.map(|step| driver::run_among(backend, step, gaps.as_ref(), workspace))?;
        if let Some(gaps) = gaps {
            workspace.put_gaps(gaps);
        }
        Ok(())
    }

    /// Whether it can be run, with so many values of a feature, and what it is renormalized by, if it is.
    pub(super) fn check(&self, count: usize, of: Single) -> Result<Option<Against<'a, T::Compute>>, Error> {
        self.options.activation.check::<T>()?;
        let one = count == 1 && self.shape.features() > 0;
        if self.running.is_none() && one && self.one_value == OneValue::Refused {
            return Err(Error::OneValue { mode: self.mode, of, got: self.sizes.clone() });
        }
        self.renorm()
    }

    /// The step of the driver over `count` values per feature, for which `saved` is got ready.
    fn prepared(self, saved: &'a mut Saved<T>, count: usize) -> Result<driver::Forward<'a, T>, Error> {
        let renorm =
            self.check(count, if self.options.mask.is_some() { Single::Mask } else { Single::Batch })?;
        let Self { shape, sizes, mode, x, y, params, running, eps, options, .. } = self;
        let from_batch = running.is_none();
        saved.reset(shape, sizes, mode, from_batch, eps, count);
        saved.done = options.done();
        let post = driver::post(options.residual, options.activation.corners());
        if let Some(Running { mean, var }) = running {
            let mut stats = saved.stats.as_mut();
            for (f, (&mean, &var)) in mean.iter().zip(var).enumerate() {
                stats.set(f, &Stats::from_running(mean, var, eps));
            }
        }
        let stats = match from_batch {
            true => Statistics::Batch(saved.stats.as_mut()),
            false => Statistics::Given(saved.stats.as_ref()),
        };
        let moved = &mut saved.moved;
        let renorm = renorm.map(|(limits, by)| driver::Renorm::Take(moved.taking(limits, by, eps)));
        Ok(driver::Forward { shape, x, y, post, params, stats, eps, count, renorm })
    }
}

impl<T: Element> StridedBack<'_, T> {
    /// Runs it, of the forward that was `saved`.
    pub(super) fn run<B: Backend>(
        self,
        backend: &B,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        saved.done.check(&self.kept)?;
        saved.check_no_part()?;
        if !saved.ghosts.is_empty() {
            return self.run_ghosts(backend, saved, workspace);
        }
        let is_masked = self.kept.mask.is_some();
        self.run_where(backend, saved, workspace, |valid| match is_masked && valid != saved.count {
            true => Err(Error::Options {
                expected: format!("the mask of the forward, with {} valid positions", saved.count),
                got: format!("one with {valid}"),
            }),
            false => Ok(()),
        })
    }

    /// Runs it where so many values per feature exist as `fits` takes.
    pub(super) fn run_where<B: Backend>(
        mut self,
        backend: &B,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
        fits: impl FnOnce(usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let gaps = self.kept.mask.map(|mask| workspace.take_gaps(saved.shape, mask));
        let fitting = fits(gaps.as_ref().map_or(saved.shape.count(), Gaps::valid));
        if fitting.is_ok() {
            self.run_among(gaps.as_ref(), backend, saved, workspace);
        }
        if let Some(gaps) = gaps {
            workspace.put_gaps(gaps);
        }
        fitting
    }

    /// Runs it over the positions that exist.
    fn run_among<B: Backend>(
        &mut self,
        gaps: Option<&Gaps>,
        backend: &B,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) {
        let Some(corners) = saved.done.activation.corners() else {
            self.pass_all_on(saved.shape);
            return driver::run_among(backend, self.reborrow().step(saved, None), gaps, workspace);
        };
        let dresidual = self.dresidual.take();
        let mut made = workspace.take_room();
        let (shape, step) = (saved.shape, self.reborrow());
        let (passed, y, stats) = made.get(shape.features());
        let own = |buf| driver::room(buf, shape.len());
        let held = |buf| Held::new(shape, buf).unwrap_or_else(|| unreachable!("checked or made so long"));
        let by = match step.kept.y {
            Some(y) => By::Output(y),
            None => {
                let post = driver::post(step.kept.residual, Some(corners));
                By::Again(Again { y: held(own(y)), post, bias: step.bias, stats })
            }
        };
        let asked = dresidual.is_some();
        let clamp = driver::clamp::<T>(corners);
        let gate =
            Gate { clamp, open: false, asked, by, passed: held(dresidual.unwrap_or_else(|| own(passed))) };
        driver::run_among(backend, step.step(saved, Some(gate)), gaps, workspace);
        workspace.put_room(made);
    }

    /// Writes dresidual, if it is asked for, where there is no activation: dy at the positions that exist.
    fn pass_all_on(&mut self, shape: Shape) {
        let Some(dresidual) = self.dresidual.take() else {
            return;
        };
        let (inner, features) = (shape.inner().max(1), shape.features());
        let dy = Target::input(&self.dy, self.dx.as_ref());
        let runs = dresidual.chunks_exact_mut(inner).enumerate();
        for (i, to) in runs {
            let (row, f) = (i / features, i % features);
            to.copy_from_slice(&dy.strip(row)[f * inner..][..inner]);
            if let Some(mask) = self.kept.mask {
                let invalid = to.iter_mut().zip(&mask[row * inner..]).filter(|(_, valid)| !**valid);
                invalid.for_each(|(to, _)| *to = T::default());
            }
        }
    }
}

fn kept<'k, T: Copy>(of: &'k Kept<Strips<'_, T>, &'k [bool]>) -> Kept<Strips<'k, T>, &'k [bool]> {
    let [y, residual] = [&of.y, &of.residual].map(|of| of.as_ref().map(Strips::reborrow));
    Kept { y, residual, mask: of.mask }
}

impl<'a, T: Element> StridedBack<'a, T> {
    /// The same for a shorter time, of which nothing is wanted.
    pub(super) fn read(&self) -> StridedBack<'_, T> {
        let &Self { ref x, weight, bias, whole, given, .. } = self;
        StridedBack {
            x: x.reborrow(),
            dy: Target::input(&self.dy, self.dx.as_ref()),
            weight,
            bias,
            kept: kept(&self.kept),
            dx: None,
            dresidual: None,
            dweight: &mut [],
            dbias: &mut [],
            wide: &mut [],
            whole,
            given,
        }
    }

    /// The same for a shorter time.
    pub(super) fn reborrow(&mut self) -> StridedBack<'_, T> {
        let &mut Self { ref x, ref dy, weight, bias, whole, given, .. } = self;
        StridedBack {
            x: x.reborrow(),
            dy: dy.reborrow(),
            weight,
            bias,
            kept: kept(&self.kept),
            dx: self.dx.as_mut().map(Target::reborrow),
            dresidual: self.dresidual.as_deref_mut(),
            dweight: self.dweight,
            dbias: self.dbias,
            wide: self.wide,
            whole,
            given,
        }
    }

    /// The step of the driver.
    pub(super) fn step(self, saved: &'a Saved<T>, gate: Option<Gate<'a, T>>) -> driver::Backward<'a, T> {
        let Self { x, dy, weight, dx, dweight, dbias, wide, whole, given, .. } = self;
        let &Saved { shape, from_batch, count, eps, .. } = saved;
        let (params, stats) = (Params { weight, bias: &[] }, saved.stats.as_ref());
        driver::Backward {
            shape,
            x,
            dy,
            gate,
            dx,
            dweight,
            dbias,
            params,
            stats,
            from_batch,
            eps,
            count,
            whole,
            given,
            moved: saved.moved.get(),
            wide,
        }
    }
}

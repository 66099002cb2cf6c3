//! Steps whose buffers have been checked, and how they are run.

use super::error::{Error, check_len};
use super::functions::Running;
use super::mode::Mode;
use super::one_value::OneValue;
use super::options::{Kept, Options};
use super::saved::Saved;
use super::sizes::Sizes;
use crate::driver::{self, Again, By, Gate, Statistics, Workspace};
use crate::kernel::{Backend, Clamp, Post};
use crate::maths::{Params, Stats, Totals};
use crate::num::Element;
use crate::tensor::{Held, Shape, Strips, StripsMut};

/// A forward.
pub(super) struct Strided<'a, T: Element> {
    /// Of the tensor as it lies in memory.
    pub(super) shape: Shape,
    /// Of the tensor as the caller has it.
    pub(super) sizes: Sizes,
    pub(super) mode: Mode,
    pub(super) x: Strips<'a, T>,
    pub(super) y: StripsMut<'a, T>,
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
    pub(super) dy: Strips<'a, T>,
    pub(super) weight: &'a [T::Compute],
    pub(super) bias: &'a [T::Compute],
    pub(super) kept: Kept<Strips<'a, T>, &'a [bool]>,
    pub(super) dx: Option<StripsMut<'a, T>>,
    pub(super) dresidual: Option<&'a mut [T]>,
    pub(super) dweight: &'a mut [T::Compute],
    pub(super) dbias: &'a mut [T::Compute],
    /// See [`driver::Backward`].
    pub(super) wide: &'a mut [Totals<T::Compute>],
    /// See [`driver::Backward`].
    pub(super) whole: bool,
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
        driver::run(backend, self.prepared(saved)?, workspace);
        Ok(())
    }

    /// Whether it can be run, with so many values of a feature.
    pub(super) fn check(&self, count: usize) -> Result<(), Error> {
        self.options.activation.check()?;
        let one = count == 1 && self.shape.features() > 0;
        if self.running.is_none() && one && self.one_value == OneValue::Refused {
            let got = match count == self.shape.count() {
                true => self.sizes.clone(),
                false => Sizes::Slice(Shape::new(1, self.shape.features(), 1)?),
            };
            return Err(Error::OneValue { mode: self.mode, got });
        }
        self.renorm().map(|_| ())
    }

    /// The step of the driver, for which `saved` is got ready.
    fn prepared(self, saved: &'a mut Saved<T>) -> Result<driver::Forward<'a, T>, Error> {
        self.check(self.shape.count())?;
        let renorm = self.renorm()?;
        let Self { shape, sizes, mode, x, y, params, running, eps, options, .. } = self;
        let from_batch = running.is_none();
        saved.reset(shape, sizes, mode, from_batch, eps);
        saved.done = options.done();
        let (count, post) = (saved.count, post(&options));
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

/// What comes after normalize.
pub(super) fn post<'a, T: Element>(options: &Options<Strips<'a, T>, &[bool]>) -> Post<'a, T> {
    match (options.residual, options.activation.clamp::<T>()) {
        (Some(residual), clamp) => Post::AddClamp(residual, clamp.unwrap_or_else(Clamp::none)),
        (None, Some(clamp)) => Post::Clamp(clamp),
        (None, None) => Post::Pass,
    }
}

impl<T: Element> StridedBack<'_, T> {
    /// Runs it, of the forward that was `saved`.
    pub(super) fn run<B: Backend>(
        mut self,
        backend: &B,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        saved.done.check(&self.kept)?;
        if !saved.ghosts.is_empty() {
            return self.run_ghosts(backend, saved, workspace);
        }
        let dresidual = self.dresidual.take();
        let Some(clamp) = saved.done.activation.clamp::<T>() else {
            if let Some(dresidual) = dresidual {
                let strips = dresidual.chunks_exact_mut(self.dy.len().max(1)).zip(self.dy.reborrow().iter());
                strips.for_each(|(to, dy)| to.copy_from_slice(dy));
            }
            driver::run(backend, self.reborrow().step(saved, None), workspace);
            return Ok(());
        };
        let mut room = workspace.take_room();
        let (shape, step) = (saved.shape, self.reborrow());
        let (passed, y, stats) = room.get(shape.len(), shape.features());
        let held = |buf| Held::new(shape, buf).unwrap_or_else(|| unreachable!("checked or made so long"));
        let by = match step.kept.y {
            Some(y) => By::Output(y),
            None => {
                let post = match step.kept.residual {
                    Some(residual) => Post::AddClamp(residual, clamp),
                    None => Post::Clamp(clamp),
                };
                By::Again(Again { y: held(y), post, bias: step.bias, stats })
            }
        };
        let gate = Gate { clamp, by, passed: held(dresidual.unwrap_or(passed)) };
        driver::run(backend, step.step(saved, Some(gate)), workspace);
        workspace.put_room(room);
        Ok(())
    }
}

impl<'a, T: Element> StridedBack<'a, T> {
    /// The same for a shorter time.
    fn reborrow(&mut self) -> StridedBack<'_, T> {
        let kept = Kept {
            y: self.kept.y.as_ref().map(Strips::reborrow),
            residual: self.kept.residual.as_ref().map(Strips::reborrow),
            mask: self.kept.mask,
        };
        StridedBack {
            x: self.x.reborrow(),
            dy: self.dy.reborrow(),
            weight: self.weight,
            bias: self.bias,
            kept,
            dx: self.dx.as_mut().map(StripsMut::reborrow),
            dresidual: self.dresidual.as_deref_mut(),
            dweight: self.dweight,
            dbias: self.dbias,
            wide: self.wide,
            whole: self.whole,
        }
    }

    /// The step of the driver.
    pub(super) fn step(self, saved: &'a Saved<T>, gate: Option<Gate<'a, T>>) -> driver::Backward<'a, T> {
        let Self { x, dy, weight, dx, dweight, dbias, wide, whole, .. } = self;
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
            given: None,
            moved: saved.moved.get(),
            wide,
        }
    }
}

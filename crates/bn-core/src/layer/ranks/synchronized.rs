//! The steps of a layer over ranks.

use super::communicator::Communicator;
use super::header::{Asked, Header, Pass};
use super::{Parameters, Ranks, bring, wrong};
use crate::driver::{self, Workspace};
use crate::kernel::Backend;
use crate::layer::error::Error;
use crate::layer::functions::{Backward, DoubleBackward, Forward};
use crate::layer::parts::{self, Moments, Part, PartialSums, Pooled, SecondPart};
use crate::layer::saved::Saved;
use crate::num::Element;
use crate::tensor::Shape;
use std::ops::Range;

/// The steps of one layer over ranks, from [`Ranks::layer`].
#[derive(Debug)]
pub struct Synchronized<'r, C> {
    pub(super) ranks: &'r mut Ranks<C>,
    pub(super) number: u64,
}

/// The samples of each rank, and where those of this one begin.
struct Shares {
    samples: Vec<usize>,
    rank: usize,
}

impl Shares {
    /// The first sample of a rank.
    fn first(&self, rank: usize) -> usize {
        self.samples[..rank].iter().fold(0, |all, own| all.saturating_add(*own))
    }

    /// The words of each rank's sums.
    fn words<T: Element>(&self, shape: Shape) -> Vec<usize> {
        let (features, inner) = (shape.features(), shape.inner());
        let nodes = |rank: usize| driver::nodes(features, inner, self.first(rank), self.samples[rank]);
        (0..self.samples.len()).map(|rank| PartialSums::<T::Compute>::words(features, nodes(rank))).collect()
    }
}

impl<C: Communicator> Synchronized<'_, C> {
    /// Which samples of the whole batch this rank has, whose own shape is `shape`. A sample is an index of [`Shape::outer`]: an entry of
    /// the batch axis, in channels last a position.
    ///
    /// # Errors
    /// [`Error::Ranks`]. Every rank gets it.
    ///
    /// ```
    /// use batchnorm::Shape;
    /// use batchnorm::ranks::{Ranks, Threads};
    ///
    /// let mut ranks = Ranks::new(Threads::ranks(1).remove(0)); // a rank alone
    /// assert_eq!(ranks.layer(0).samples::<f32>(Shape::nchw(8, 64, 7, 7)?)?, 0..8);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn samples<T: Element>(&mut self, shape: Shape) -> Result<Range<usize>, Error> {
        let shares = self.shares::<T>(Pass::Samples, shape, 0.0, true)?;
        let first = shares.first(shares.rank);
        Ok(first..first + shape.outer())
    }

    /// As [`functions::train`](crate::functions::train), with the statistics of all ranks' samples: one collective beside that of the
    /// headers, two where a feature's mean is far from zero, one more where a feature of f64 leaves the range or is constant. A rank may have no samples. Masks and options of steps are each rank's own;
    /// eps is the same on every rank, and so should be γ, β, `one_value`, renorm and the running statistics.
    ///
    /// [`functions::commit`](crate::functions::commit) takes the state on every rank: it is the whole batch's.
    ///
    /// # Errors
    /// As [`functions::train`](crate::functions::train); [`Error::Options`] for ghost batches; [`Error::Ranks`] where the ranks do not do
    /// the same, or another one has an error. Every rank gets one. Nothing is then written.
    pub fn train<T: Element, B: Backend>(
        &mut self,
        backend: &B,
        step: Forward<'_, T>,
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let Forward { shape, x, eps, one_value, ref options, .. } = step;
        let part = Part::new(shape, x);
        let part = options.mask.map_or(part, |mask| part.mask(mask));
        let step = parts::checked(step);
        let shares = self.shares::<T>(Pass::Forward, shape, eps, step.is_ok());
        let (step, shares) = (step?, shares?);
        let (first, lengths) = (shares.first(shares.rank), shares.words::<T>(shape));
        let mut pooled = Pooled::new(shape.features(), eps)?.one_value(one_value);
        loop {
            let mut sums = pooled.sum(backend, part, first, workspace)?;
            self.ranks.bring(&mut [&mut sums], &lengths)?;
            if pooled.settle(&sums)? {
                break;
            }
        }
        let lost = pooled.lost();
        if !lost.is_empty() {
            let own = Moments::of(backend, part, workspace)?;
            for (&f, moments) in lost.iter().zip(bring::moments(&self.ranks.comm, &own, &lost)?) {
                pooled.take(f, moments);
            }
        }
        pooled.run(backend, step, saved, workspace)
    }

    /// As [`functions::backward`](crate::functions::backward), of the forward that [`train`](Self::train) saved: dx through the statistics
    /// of all ranks, dγ and dβ as [`Ranks::parameters`] says. One collective beside that of the headers. The state may also be that of
    /// an evaluation, whose dγ and dβ are then summed over the ranks.
    ///
    /// # Errors
    /// As [`functions::backward`](crate::functions::backward); [`Error::Ranks`] where the ranks do not do the same, or another one has an
    /// error. Every rank gets one. Nothing is then written.
    pub fn backward<T: Element, B: Backend>(
        &mut self,
        backend: &B,
        step: Backward<'_, T>,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let step = saved.check_gradients().and_then(|()| step.checked(saved));
        let step = step.and_then(|step| saved.done.check(&step.kept).map(|()| step));
        let shares = self.shares::<T>(Pass::Backward, saved.shape, saved.eps, step.is_ok());
        let (mut step, shares) = (step?, shares?);
        let (first, lengths) = (shares.first(shares.rank), shares.words::<T>(saved.shape));
        let own = parts::sums(backend, step.read(), first, saved, workspace)?;
        let mut whole = own.clone();
        self.ranks.bring(&mut [&mut whole], &lengths)?;
        if self.ranks.parameters == Parameters::Local {
            let params = [std::mem::take(&mut step.dweight), std::mem::take(&mut step.dbias)];
            parts::parameters(backend, params, &own, saved, workspace)?;
        }
        parts::run(backend, step, &whole, saved, workspace)
    }

    /// As [`functions::double_backward`](crate::functions::double_backward), of the forward that [`train`](Self::train) saved: all means
    /// are those of the whole batch, and d_weight is as [`Ranks::parameters`] says. Beside the collective of the headers there are two
    /// with a cotangent of dx, one with one of dγ alone. The state may also be that of an evaluation: then d_weight alone is
    /// summed over the ranks. All ranks have the same cotangents, except that of dβ, and each asks for what it likes.
    ///
    /// ```
    /// use batchnorm::functions::{DoubleBackward, Forward};
    /// use batchnorm::ranks::{Ranks, Threads};
    /// use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
    ///
    /// let shares = [([1.0_f64], [1.0], [0.5]), ([2.0], [0.0], [0.0]), ([6.0], [-1.0], [0.0])]; // x, dy and v of three ranks
    /// let sum: f64 = std::thread::scope(|scope| {
    ///     let ranks = Threads::ranks(3).into_iter().zip(&shares).map(|(comm, (x, dy, v))| {
    ///         scope.spawn(move || {
    ///             let (backend, mut ranks, shape) = (DefaultBackend::default(), Ranks::new(comm), Shape::nc(1, 1)?);
    ///             let (mut saved, mut workspace, mut d_x) = (Saved::default(), Workspace::default(), [0.0]);
    ///             let forward = Forward::new(shape, x, &mut d_x);
    ///             ranks.layer(0).train(&backend, forward, &mut saved, &mut workspace)?;
    ///             let d_x_to = Some((&mut d_x).into());
    ///             let step = DoubleBackward { v_dx: Some(v), d_x: d_x_to, ..DoubleBackward::new(x, dy) };
    ///             ranks.layer(0).double_backward(&backend, step, &saved, &mut workspace)?;
    ///             Ok(d_x[0])
    ///         })
    ///     });
    ///     let ranks: Vec<_> = ranks.collect();
    ///     ranks.into_iter().map(|rank| rank.join().unwrap()).sum::<Result<f64, batchnorm::Error>>()
    /// })?;
    /// // Moving all of x changes no gradient.
    /// assert!(sum.abs() < 1e-15);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`functions::double_backward`](crate::functions::double_backward), but for the state of a part; [`Error::Ranks`] where the ranks
    /// do not do the same, or another one has an error. Every rank gets one. Nothing is then written.
    pub fn double_backward<T: Element, B: Backend>(
        &mut self,
        backend: &B,
        step: DoubleBackward<'_, T>,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let DoubleBackward { x, dy, v_dx: v, v_dweight, .. } = step;
        let asked = Asked { from_batch: saved.from_batch, v: v.is_some(), w: v_dweight.is_some() };
        let step = saved.check_second().and_then(|()| step.checked(saved));
        let pass = Pass::DoubleBackward(asked);
        let shares = self.shares::<T>(pass, saved.shape, saved.eps, step.is_ok());
        let (step, shares) = (step?, shares?);
        let (first, lengths) = (shares.first(shares.rank), shares.words::<T>(saved.shape));
        let local = self.ranks.parameters == Parameters::Local;
        let part = SecondPart { x, dy, v, w: asked.w, first, local };
        part.run(backend, step, saved, workspace, &mut |sums| {
            let lengths: Vec<_> = lengths.iter().map(|own| own.saturating_mul(sums.len())).collect();
            self.ranks.bring(sums, &lengths)
        })
    }

    /// Tells all ranks that this one cannot go on, for this reason.
    pub(super) fn failed<T: Element>(
        &mut self,
        pass: Pass,
        (shape, eps): (Shape, f64),
        error: Error,
    ) -> Error {
        // The others' part of it is no news.
        let _ = self.shares::<T>(pass, shape, eps, false);
        error
    }

    fn shares<T: Element>(
        &mut self,
        pass: Pass,
        shape: Shape,
        eps: f64,
        ready: bool,
    ) -> Result<Shares, Error> {
        let header = Header::of::<T>(pass, self.number, shape, eps);
        let samples = self.ranks.agreed(header, ready, shape.outer())?;
        let (rank, size) = (self.ranks.comm.rank(), self.ranks.comm.size());
        match samples.len() == size && rank < size {
            true => Ok(Shares { samples, rank }),
            false => Err(wrong(&format!("a rank below {size}"), rank.to_string())),
        }
    }
}

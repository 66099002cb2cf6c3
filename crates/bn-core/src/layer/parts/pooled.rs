//! The statistics of a batch that comes in parts.

use super::sums::{Kind, PartialSums, Total, around};
use super::{Moments, Part, check_samples, of, wrong};
use crate::driver::{self, Gaps, Renorm, Statistics, Workspace};
use crate::kernel::Backend;
use crate::layer::checked::Strided;
use crate::layer::config::check_eps;
use crate::layer::error::Error;
use crate::layer::functions::Forward;
use crate::layer::mode::Mode;
use crate::layer::one_value::{OneValue, Single};
use crate::layer::saved::Saved;
use crate::layer::sizes::Sizes;
use crate::maths::renorm::Taking;
use crate::maths::{self, StatsVec, features};
use crate::num::{Element, Real, Wide};
use crate::tensor::Shape;

/// The statistics of a batch in parts, on their way from the parts' sums.
///
/// A new one sums around 0. [`settle`](Self::settle) takes in the sums of all parts and says whether they are enough. Where a
/// feature's mean is far from zero they are not: all parts are then summed once more, around the means. Whoever brings
/// parts together must be able to go over them twice.
///
/// ```
/// use batchnorm::functions::Forward;
/// use batchnorm::parts::{Part, PartialSums, Pooled};
/// use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
///
/// let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
/// let parts = [[1.0_f32, 3.0], [5.0, 7.0]]; // two parts of two samples each, one feature
/// let shape = Shape::nc(2, 1)?;
/// let mut pooled = Pooled::new(1, 1e-5)?;
/// loop {
///     let mut sums = PartialSums::default();
///     for (part, x) in parts.iter().enumerate() {
///         sums.merge(pooled.sum(&backend, Part::new(shape, x), 2 * part, &mut workspace)?)?;
///     }
///     if pooled.settle(&sums)? {
///         break;
///     }
/// }
/// for x in &parts {
///     let (mut y, mut saved) = ([0.0; 2], Saved::default());
///     pooled.forward(&backend, Forward::new(shape, x, &mut y), &mut saved, &mut workspace)?;
///     assert_eq!(saved.mean(), [4.0]); // of the whole batch
/// }
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pooled<T: Element> {
    features: usize,
    eps: f64,
    one_value: OneValue,
    round: Round,
    count: usize,
    stats: StatsVec<T::Compute>,
    /// As [`Saved`] has them.
    moments: Vec<maths::Moments>,
    again: Vec<bool>,
}

/// Which sums, and their pilots.
type Wanted<'a, R> = (Kind, Option<&'a [R]>);

/// How far the statistics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// There are none.
    AroundZero,
    /// The means are known well enough to sum around them.
    AroundMeans,
    /// They are there.
    Settled,
}

/// The forward of a part, which may have one value: the whole batch has been asked for its own.
pub(in crate::layer) fn checked<T: Element>(step: Forward<'_, T>) -> Result<Strided<'_, T>, Error> {
    step.options.check_part()?;
    let step = Strided { one_value: OneValue::Bias, ..step.checked(Mode::Train, None)? };
    step.check(1, Single::Batch)?;
    Ok(step)
}

impl<T: Element> Pooled<T> {
    /// For a batch with so many features; `eps` is added to the variance.
    ///
    /// # Errors
    /// [`Error::Eps`] unless `eps` is finite and > 0.
    pub fn new(features: usize, eps: f64) -> Result<Self, Error> {
        check_eps(eps)?;
        let mut stats = StatsVec::<T::Compute>::default();
        stats.resize(features);
        let (one_value, round, moments) = (OneValue::Refused, Round::AroundZero, Vec::new());
        Ok(Self { features, eps, one_value, round, count: 0, stats, moments, again: vec![false; features] })
    }

    /// With this treatment of a whole batch with a single value per feature. That of the parts' [`Forward`] is not looked at.
    #[must_use]
    pub fn one_value(self, one_value: OneValue) -> Self {
        Self { one_value, ..self }
    }

    /// Settled statistics from the moments of the whole batch, wherever they come from; `eps` is added to the variance. What a
    /// [`forward`](Self::forward) saves then has their count: a commit's factor n/(n−1) and the backward's n are the whole batch's.
    ///
    /// Of one value per feature, the forward asks [`one_value`](Self::one_value). Moments of no value are Ok.
    ///
    /// # Errors
    /// [`Error::Eps`].
    ///
    /// ```
    /// use batchnorm::functions::Forward;
    /// use batchnorm::parts::{Moments, Pooled};
    /// use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
    ///
    /// let moments = Moments::new(2, &[2.0], &[1.0])?; // two values, from a convolution's epilogue
    /// let pooled = Pooled::<f32>::of(&moments, 1e-5)?;
    /// let (mut y, mut saved, mut workspace) = ([0.0; 2], Saved::default(), Workspace::default());
    /// let (shape, x) = (Shape::nc(2, 1)?, &[1.0, 3.0]);
    /// let step = Forward::new(shape, x, &mut y[..]);
    /// pooled.forward(&DefaultBackend::default(), step, &mut saved, &mut workspace)?; // the map alone
    /// assert!((y[1] - 1.0).abs() < 1e-5);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn of(moments: &Moments<T::Compute>, eps: f64) -> Result<Self, Error> {
        let mut pooled = Self::new(moments.features(), eps)?;
        (pooled.count, pooled.round) = (moments.count(), Round::Settled);
        if pooled.count > 0 {
            let mut stats = pooled.stats.as_mut();
            moments.each().iter().enumerate().for_each(|(f, own)| stats.set(f, &own.stats(eps)));
            if moments.each().iter().any(|own| own.unit != 0) {
                pooled.moments = moments.each().to_vec();
            }
        }
        Ok(pooled)
    }

    /// The sums of a part, whose first sample is sample `first` of the batch. A sample is an index of [`Shape::outer`]: an entry of
    /// the batch axis, in channels last a position.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Features`], and [`Error::Parts`] where the statistics are there already.
    pub fn sum<B: Backend>(
        &self,
        backend: &B,
        part: Part<'_, T>,
        first: usize,
        workspace: &mut Workspace<T>,
    ) -> Result<PartialSums<T::Compute>, Error> {
        let Part { shape, x, mask } = part;
        self.check_features("x", shape)?;
        let (kind, pilots) = self.wanted()?;
        part.check()?;
        check_samples(shape, first)?;
        let mut sums = PartialSums::new(of(kind, shape, pilots));
        let part = driver::Part { shape, of: [Some(x), None], mask, first, pilots, stats: None };
        driver::sum_part(backend, part, workspace, &mut |summed| sums.push(summed));
        Ok(sums)
    }

    /// Takes in the sums of all parts. True: the statistics are there. False: all parts are to be summed once more, with this
    /// value, and brought here again.
    ///
    /// The answer follows from the bits of the sums, so that all who merge the same ones get the same.
    ///
    /// # Errors
    /// [`Error::Parts`] where a part is missing before another one, or in the second round, and where sums are of something else;
    /// [`Error::OneValue`] where the whole batch has one value per feature and [`one_value`](Self::one_value) refuses it. Nothing is then changed. Which part is the last one
    /// nobody but the caller knows. A batch without any value is Ok.
    pub fn settle(&mut self, sums: &PartialSums<T::Compute>) -> Result<bool, Error> {
        let (kind, pilots) = self.wanted()?;
        let again = pilots.is_some();
        let Total { totals, count, .. } = sums.total((kind, self.features), (None, around(pilots)))?;
        if again && count != self.count {
            let expected = format!("sums over the {} values per feature of the first round", self.count);
            return Err(wrong(&expected, &format!("sums over {count}")));
        }
        self.check_count(count)?;
        self.count = count;
        let mut stats = self.stats.as_mut();
        if count == 0 {
            stats.clear();
        } else if again {
            features::recentred(count, self.eps, &totals, stats, &self.again);
        } else if features::statistics(count, self.eps, &totals, stats.reborrow(), &mut self.again) {
            self.round = Round::AroundMeans;
            return Ok(false);
        }
        self.round = Round::Settled;
        Ok(true)
    }

    /// The training forward of a part with the statistics of the batch, which are `saved` as that of the part.
    /// [`functions::commit`](crate::functions::commit) takes the state of any part, once.
    ///
    /// # Errors
    /// As [`functions::train`](crate::functions::train); [`Error::Options`] for ghost batches; [`Error::Parts`] for another
    /// eps, for more values than the statistics are of, and before they are there. Nothing is then written.
    pub fn forward<B: Backend>(
        &self,
        backend: &B,
        step: Forward<'_, T>,
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        if self.round != Round::Settled {
            return Err(wrong("settled statistics", "ones that wait for sums"));
        }
        self.check_count(self.count)?;
        self.check_features("x", step.shape)?;
        if step.eps.to_bits() != self.eps.to_bits() {
            return Err(wrong(&format!("the eps of the statistics, {}", self.eps), &step.eps.to_string()));
        }
        self.run(backend, checked(step)?, saved, workspace)
    }

    /// As [`forward`](Self::forward), of a step that has been checked.
    pub(in crate::layer) fn run<'s, B: Backend>(
        &self,
        backend: &B,
        step: Strided<'s, T>,
        saved: &'s mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let renorm = step.check(self.count, Single::Batch)?;
        let Strided { shape, sizes, x, y, params, options, .. } = step;
        let gaps = options.mask.map(|mask| workspace.take_gaps(shape, mask));
        let own = gaps.as_ref().map_or(shape.count(), Gaps::valid);
        let fits = own <= self.count;
        if fits {
            saved.reset(shape, sizes, Mode::Train, true, self.eps, self.count);
            (saved.stats, saved.moments) = (self.stats.clone(), self.moments.clone());
            saved.done = options.done();
            if let Some((limits, by)) = renorm {
                self.renorm(saved.moved.taking(limits, by, self.eps));
            }
            let (post, eps, count) =
                (driver::post(options.residual, options.activation.corners()), self.eps, self.count);
            let stats = Statistics::Pooled(saved.stats.as_ref(), &saved.moments);
            let renorm = saved.moved.get().map(Renorm::By);
            let step = driver::Forward { shape, x, y, post, params, stats, eps, count, renorm };
            driver::run_among(backend, step, gaps.as_ref(), workspace);
        }
        if let Some(gaps) = gaps {
            workspace.put_gaps(gaps);
        }
        match fits {
            true => Ok(()),
            false => {
                let expected =
                    format!("at most the {} values per feature of the statistics in x", self.count);
                Err(wrong(&expected, &own.to_string()))
            }
        }
    }

    /// The features whose sums do not tell their statistics, those of f64 alone: out of range, or of one value throughout.
    pub(in crate::layer) fn lost(&self) -> Vec<usize> {
        let stats = self.stats.as_ref();
        let fits =
            |f: &usize| maths::Moments::fit::<T::Compute>(stats.k[*f].to_f64(), stats.var[*f].to_f64());
        (0..if self.count > 0 { self.features } else { 0 }).filter(|f| !fits(f)).collect()
    }

    /// Takes the statistics of a feature from the moments of the whole batch.
    pub(in crate::layer) fn take(&mut self, feature: usize, moments: maths::Moments) {
        self.stats.as_mut().set(feature, &moments.stats(self.eps));
        if moments.unit != 0 {
            self.moments.resize(self.features, maths::Moments::default());
            self.moments[feature] = moments;
        }
    }

    /// Takes r and d of the whole batch.
    fn renorm(&self, mut taking: Taking<'_, T::Compute>) {
        if self.count == 0 {
            return;
        }
        taking.take(self.stats.as_ref());
        for (f, moments) in self.moments.iter().enumerate().filter(|(_, moments)| moments.unit != 0) {
            taking.take_framed(f, &moments.framed::<T::Compute>(self.eps).0);
        }
    }

    /// Which sums come next, and what they are taken around.
    fn wanted(&self) -> Result<Wanted<'_, T::Compute>, Error> {
        match self.round {
            Round::AroundZero => Ok((Kind::Moments, None)),
            Round::AroundMeans => Ok((Kind::Recentred, Some(&self.stats.k))),
            Round::Settled => Err(wrong("sums for statistics that are not known yet", "settled ones")),
        }
    }

    /// Whether there is a spread to divide by.
    fn check_count(&self, count: usize) -> Result<(), Error> {
        if count == 1 && self.features > 0 && self.one_value == OneValue::Refused {
            let got = Sizes::Slice(Shape::new(1, self.features, 1)?);
            return Err(Error::OneValue { mode: Mode::Train, of: Single::Batch, got });
        }
        Ok(())
    }

    fn check_features(&self, what: &'static str, shape: Shape) -> Result<(), Error> {
        let expected = self.features;
        match shape.features() == expected {
            true => Ok(()),
            false => Err(Error::Features { what, expected, got: Sizes::Slice(shape) }),
        }
    }
}

//! A batch in parts: micro-batches one after the other, or the shares of several machines.
//!
//! A part's sums are a value, [`PartialSums`]. Whoever has those of all parts, in any order, has what the whole batch would
//! give. Where the parts are cut at [leaves](split_every) the bits are the same, whatever the number of parts; elsewhere the errors
//! stay within the same limits. Statistics and gradients follow from all of the sums, outputs from each part and them:
//!
//! ```text
//! forward    Pooled::sum of each part → merge → Pooled::settle, which may ask for all parts once more → Pooled::forward of each
//! backward   sum_gradients of each part → merge → backward of each
//! ```
//!
//! [`Moments`] are statistics without that promise of bits, within the same limits: taken in one go over each part, by this crate or
//! by somebody else, and merged in any order. They take the place of the first two steps, and nobody has to go over the parts twice:
//!
//! ```text
//! forward    Moments::of each part → merge → Pooled::of → Pooled::forward of each
//! ```
//!
//! Not the same to the bit are features of f64 that leave the kernels' [range](crate#range): a whole batch takes their sums anew in
//! other units. Sums of x may overflow there, [`Moments`] and the sums of gradients do not.

mod moments;
mod sums;

pub use moments::Moments;
pub use sums::PartialSums;

use super::checked::Strided;
use super::config::check_eps;
use super::error::{Error, check_len};
use super::functions::{Backward, Forward};
use super::mode::Mode;
use super::one_value::{OneValue, Single};
use super::saved::Saved;
use super::sizes::Sizes;
use crate::driver::{self, Given, Part, Statistics, Workspace};
use crate::kernel::Backend;
use crate::maths::frame::Frame;
use crate::maths::{self, StatsVec, features};
use crate::num::{Element, Real, Wide};
use crate::tensor::{Layout, Shape, ShapeError};
use sums::{Kind, Of, Total, around};

/// A part of a batch must begin and end at a multiple of so many entries of the first axis, or at the batch's end, for the bits
/// of the whole. `dims` are those of any part or of the whole: their first one does not matter.
///
/// # Errors
/// As [`Shape::from_dims`].
///
/// ```
/// use batchnorm::{Layout, parts};
///
/// let every = parts::split_every(&[256, 64, 28, 28], Layout::ChannelsFirst)?;
/// let cut = 256 / 2 / every * every; // near the middle
/// assert_eq!(cut % every, 0);
/// # Ok::<(), batchnorm::ShapeError>(())
/// ```
pub fn split_every(dims: &[usize], layout: Layout) -> Result<usize, ShapeError> {
    let one: Vec<usize> =
        dims.iter().enumerate().map(|(axis, &len)| if axis == 0 { 1 } else { len }).collect();
    let shape = Shape::from_dims(&one, layout)?;
    let leaf = driver::leaf_samples(shape.features(), shape.inner());
    // In channels last an entry is as many samples as it has positions.
    let (mut a, mut b) = (leaf, shape.outer());
    while b > 0 {
        (a, b) = (b, a % b);
    }
    Ok(leaf / a.max(1))
}

/// The statistics of a batch in parts, on their way from the parts' sums.
///
/// A new one sums around 0. [`settle`](Self::settle) takes in the sums of all parts and says whether they are enough. Where a
/// feature's mean is far from zero they are not: all parts are then summed once more, around the means. Whoever brings
/// parts together must be able to go over them twice.
///
/// ```
/// use batchnorm::functions::Forward;
/// use batchnorm::parts::{PartialSums, Pooled};
/// use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
///
/// let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
/// let parts = [[1.0_f32, 3.0], [5.0, 7.0]]; // two parts of two samples each, one feature
/// let shape = Shape::nc(2, 1)?;
/// let mut pooled = Pooled::new(1, 1e-5)?;
/// loop {
///     let mut sums = PartialSums::default();
///     for (part, x) in parts.iter().enumerate() {
///         sums.merge(pooled.sum(&backend, shape, x, 2 * part, &mut workspace)?)?;
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

    /// The sums of a part: `x` of the shape `shape`, whose first sample is sample `first` of the batch. A sample is an index of
    /// [`Shape::outer`]: an entry of the batch axis, in channels last a position.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Features`], and [`Error::Parts`] where the statistics are there already.
    pub fn sum<B: Backend>(
        &self,
        backend: &B,
        shape: Shape,
        x: &[T],
        first: usize,
        workspace: &mut Workspace<T>,
    ) -> Result<PartialSums<T::Compute>, Error> {
        self.check_features("x", shape)?;
        let (kind, pilots) = self.wanted()?;
        check_len("x", shape.len(), x.len())?;
        check_samples(shape, first)?;
        let mut sums = PartialSums::new(of(kind, shape, pilots));
        let part = Part { shape, of: [Some(x), None], first, pilots, stats: None };
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
    /// [`functions::commit`](super::functions::commit) takes the state of any part, once.
    ///
    /// # Errors
    /// As [`functions::train`](super::functions::train); [`Error::Parts`] for another
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
        step.options.check_part::<T>()?;
        if step.eps.to_bits() != self.eps.to_bits() {
            return Err(wrong(&format!("the eps of the statistics, {}", self.eps), &step.eps.to_string()));
        }
        if step.shape.count() > self.count {
            let expected = format!("at most the {} values per feature of the statistics in x", self.count);
            return Err(wrong(&expected, &format!("{}", step.shape.count())));
        }
        let Strided { shape, sizes, x, y, params, options, .. } = step.checked(Mode::Train, None)?;
        saved.reset(shape, sizes, Mode::Train, true, self.eps, self.count);
        (saved.stats, saved.moments) = (self.stats.clone(), self.moments.clone());
        saved.done = options.done();
        let (post, eps, count, renorm) =
            (driver::post(options.residual, options.activation.corners()), self.eps, self.count, None);
        let stats = Statistics::Pooled(saved.stats.as_ref(), &saved.moments);
        let step = driver::Forward { shape, x, y, post, params, stats, eps, count, renorm };
        driver::run(backend, step, workspace);
        Ok(())
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

/// The sums of a part that its backward needs: Σdy and Σdy·(x−k). `saved` is what the part's forward left, `first` as in
/// [`Pooled::sum`].
///
/// # Errors
/// [`Error::EmptySaved`], and [`Error::Length`] where x or dy does not fit the saved shape.
pub fn sum_gradients<T: Element, B: Backend>(
    backend: &B,
    [x, dy]: [&[T]; 2],
    first: usize,
    saved: &Saved<T>,
    workspace: &mut Workspace<T>,
) -> Result<PartialSums<T::Compute>, Error> {
    saved.check_gradients()?;
    let shape = saved.shape;
    check_len("x", shape.len(), x.len())?;
    check_len("dy", shape.len(), dy.len())?;
    let pilots = pilots(saved);
    check_samples(shape, first)?;
    let mut sums = PartialSums::new(of(Kind::Gradients, shape, pilots.as_deref()));
    let (pilots, stats) = (pilots.as_deref(), Some(saved.stats.as_ref()));
    let part = Part { shape, of: [Some(x), Some(dy)], first, pilots, stats };
    driver::sum_part(backend, part, workspace, &mut |summed| sums.push(summed));
    Ok(sums)
}

/// The backward of a part: its dx, and dγ and dβ of the whole batch, from the sums of all parts.
///
/// # Errors
/// As [`functions::backward`](super::functions::backward), and [`Error::Parts`] where the sums are not those of all parts of the
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
    let shape = saved.shape;
    let pilots = pilots(saved);
    let expected = (Some(shape.inner()), around(pilots.as_deref()));
    let Total { totals, hard, count } = sums.total((Kind::Gradients, shape.features()), expected)?;
    let (own, whole) = (shape.count(), saved.count);
    if count < own || saved.from_batch && count != whole {
        let expected = match saved.from_batch {
            true => format!("sums over the {whole} values per feature of the forward"),
            false => format!("sums over the {own} values per feature of this part at least"),
        };
        return Err(wrong(&expected, &format!("sums over {count}")));
    }
    let (stats, moments) = (saved.stats.as_ref(), &saved.moments[..]);
    let hard = hard.iter().enumerate().map(|(f, sums)| {
        let frame = match moments.get(f).filter(|moments| moments.unit != 0) {
            Some(moments) => moments.framed::<T::Compute>(saved.eps).0,
            None => Frame::given(&stats.get(f), 0),
        };
        let pilot = pilots.as_ref().map_or(0.0, |pilots| pilots[f].to_f64());
        Some((*sums)?.gradients(&frame, pilot, stats.invstd[f].to_f64()))
    });
    let hard = hard.collect::<Vec<_>>();
    let given = Some(Given { totals: &totals, hard: &hard, moments });
    let mut step = step.checked(saved)?;
    saved.done.check(&step.kept)?;
    step.pass_all_on(shape);
    let step = driver::Backward { given, whole: true, ..step.step(saved, None) };
    driver::run(backend, step, workspace);
    Ok(())
}

/// What the backward's sums are taken around, where that is not 0 for all features.
fn pilots<T: Element>(saved: &Saved<T>) -> Option<Vec<T::Compute>> {
    let stats = saved.stats.as_ref();
    features::off_centre(saved.from_batch, stats).then(|| {
        let mut pilots = vec![T::Compute::default(); saved.shape.features()];
        features::grad_pilots(saved.from_batch, stats, &mut pilots);
        pilots
    })
}

fn of<R: Real>(kind: Kind, shape: Shape, pilots: Option<&[R]>) -> Of {
    Of { kind, features: shape.features(), inner: shape.inner(), around: around(pilots) }
}

/// Whether the samples of a part, and their leaves, can be counted.
fn check_samples(shape: Shape, first: usize) -> Result<(), Error> {
    let leaf = driver::leaf_samples(shape.features(), shape.inner());
    let end = first.checked_add(shape.outer()).and_then(|end| end.checked_next_multiple_of(leaf));
    let expected = "a first sample with room behind it for the part's";
    end.map_or_else(|| Err(wrong(expected, &first.to_string())), |_| Ok(()))
}

fn wrong(expected: &str, got: &str) -> Error {
    Error::Parts { expected: expected.into(), got: got.into() }
}

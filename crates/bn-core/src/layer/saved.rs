//! What a forward leaves for its backward: O(C) numbers, the shape and the mode.

use super::error::Error;
use super::mode::Mode;
use super::options::Done;
use super::sizes::Sizes;
use crate::maths::renorm::MovedVec;
use crate::maths::{Moments, StatsVec};
use crate::num::{Element, Real};
use crate::tensor::Shape;
use std::sync::OnceLock;

/// The state a forward saves for the backward: per feature the mean (as the pair k + δ), the variance and
/// invstd = 1/√(σ² + eps), together with the shape and the mode. The input itself is passed again.
///
/// An empty one, `Saved::default()`, can be handed to any forward; it is filled in place and allocates only
/// when the number of features grows. A backward refuses it.
///
/// With the feature `serde` it comes back with every bit, NaN included, from any format. What no forward can have left, with
/// running variances of 0 and above, is refused with the field's name.
#[derive(Clone, Debug)]
pub struct Saved<T: Element> {
    /// As the tensor lies in memory.
    pub(super) shape: Shape,
    /// As the caller has it. For messages alone: it is neither compared nor stored.
    pub(super) sizes: Sizes,
    pub(super) mode: Mode,
    /// Whether the statistics are the batch's: the gradient then goes through them.
    pub(super) from_batch: bool,
    /// The values of a feature that the statistics are of.
    pub(super) count: usize,
    /// 0 where no forward has filled it.
    pub(super) eps: f64,
    pub(super) done: Done,
    pub(super) stats: StatsVec<T::Compute>,
    /// What the statistics are from, where they came as moments and some leave the range; else empty.
    pub(super) moments: Vec<Moments>,
    /// r and d of a renormalization.
    pub(super) moved: MovedVec<T::Compute>,
    /// The states of the virtual batches, where there were several; the statistics here are then those of the whole.
    pub(super) ghosts: Vec<Self>,
    rounded: Rounded<T::Compute>,
}

/// The variances and the invstd in the type itself, from when somebody asks on.
#[derive(Clone, Debug)]
struct Rounded<R>(OnceLock<[Vec<R>; 2]>);

impl<R> Default for Rounded<R> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Element> Default for Saved<T> {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            sizes: Sizes::default(),
            mode: Mode::default(),
            from_batch: false,
            count: 0,
            eps: 0.0,
            done: Done::default(),
            stats: StatsVec::<T::Compute>::default(),
            moments: Vec::new(),
            moved: MovedVec::<T::Compute>::default(),
            ghosts: Vec::new(),
            rounded: Rounded::default(),
        }
    }
}

impl<T: Element> PartialEq for Saved<T> {
    fn eq(&self, other: &Self) -> bool {
        let key =
            |saved: &Self| (saved.shape, saved.mode, saved.from_batch, saved.count, saved.eps, saved.done);
        let same = key(self) == key(other) && self.stats == other.stats && self.moments == other.moments;
        same && self.moved == other.moved && self.ghosts == other.ghosts
    }
}

impl<T: Element> Saved<T> {
    /// The shape of the forward's tensor, as it lies in memory: an (N,C,H,W) view of (N,H,W,C) memory has the latter's.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Shape};
    /// use ndarray::Array4;
    ///
    /// let mut bn = BatchNorm::<f32>::new(3)?;
    /// let (_y, saved) = bn.forward(&Array4::zeros((2, 3, 4, 4)))?;
    /// assert_eq!(saved.shape(), Shape::nchw(2, 3, 4, 4)?);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The mode of the forward.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Mode};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (_y, saved) = bn.forward(&array![[1.0], [3.0]])?;
    /// assert_eq!(saved.mode(), Mode::Train);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the statistics are those of the batch, so that the backward goes through them. Otherwise they are the running ones:
    /// of an evaluation, or of a training forward with [frozen](crate::Frozen) statistics.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Frozen};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// assert!(bn.forward(&array![[1.0], [3.0]])?.1.from_batch());
    /// bn.set_frozen(Frozen::Statistics)?;
    /// assert!(!bn.forward(&array![[1.0], [3.0]])?.1.from_batch());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn from_batch(&self) -> bool {
        self.from_batch
    }

    /// μ of each feature as it was used, the batch's or the running one, rounded to the type; in units of x. Shape (C,).
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(2)?;
    /// let (_y, saved) = bn.forward(&array![[1.0, 0.0], [3.0, 8.0]])?;
    /// assert_eq!((saved.mean(), saved.var()), (&[2.0, 4.0][..], &[1.0, 16.0][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn mean(&self) -> &[T::Compute] {
        &self.stats.k
    }

    /// σ² of each feature as it was used, the biased variance of the batch or the running one, rounded to the type; in units of
    /// x². Shape (C,). The first call after a forward rounds and allocates; example at [`mean`](Self::mean).
    #[must_use]
    pub fn var(&self) -> &[T::Compute] {
        &self.rounded()[0]
    }

    /// 1/√(σ² + eps) of each feature, rounded to the type once; in units of 1/x. Shape (C,). Allocates as [`var`](Self::var)
    /// does.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Config};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::with_config(1, Config::default().eps(3.0))?;
    /// let (_y, saved) = bn.forward(&array![[1.0], [3.0]])?;
    /// assert_eq!(saved.invstd(), [0.5]); // 1/√(1 + 3)
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn invstd(&self) -> &[T::Compute] {
        &self.rounded()[1]
    }

    /// r and d of a forward with [`Options::renorm`](crate::Options), each rounded to the type: shape (C,). `None` of another one, and
    /// of one in several ghost batches, each of which has its own.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Options, Renorm};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?; // running mean 0 and variance 1
    /// let options = Options::default().renorm(Renorm { r_max: 3.0, d_max: 1.5 });
    /// let (_y, saved) = bn.forward_with(&array![[1.0], [3.0]], options)?;
    /// assert_eq!(saved.renorm(), Some([vec![1.0], vec![1.5]])); // σ/σᵣ, and 2 clipped
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn renorm(&self) -> Option<[Vec<T::Compute>; 2]> {
        let moved = self.moved.get()?;
        Some([moved.r, moved.d].map(|wide| wide.iter().map(|&v| T::Compute::round(v)).collect()))
    }

    /// The states of the virtual batches of a forward with [`Options::ghost`](crate::Options), in their order; none where there was
    /// one. [`mean`](Self::mean) and [`var`](Self::var) are then those of the whole batch.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Options};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let x = array![[1.0], [3.0], [5.0], [7.0], [9.0]];
    /// let (_y, saved) = bn.forward_with(&x, Options::default().ghost(2))?;
    /// let means: Vec<f32> = saved.ghosts().iter().map(|ghost| ghost.mean()[0]).collect();
    /// assert_eq!((means, saved.mean()[0]), (vec![2.0, 7.0], 5.0)); // 1, 3 and 5, 7, 9
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn ghosts(&self) -> &[Self] {
        &self.ghosts
    }

    /// Whether parts have gradients of it.
    pub(super) fn check_gradients(&self) -> Result<(), Error> {
        self.check(self.mode)?;
        match self.ghosts.is_empty() {
            true => Ok(()),
            false => Err(Error::Options {
                expected: "a forward by the statistics of a whole batch".into(),
                got: "one in ghost batches".into(),
            }),
        }
    }

    /// Whether the statistics went into the map as they are.
    pub(super) fn check_plain(&self) -> Result<(), Error> {
        let got = match (self.moved.get(), &self.ghosts[..]) {
            (None, []) => return Ok(()),
            (Some(_), _) => "one with renorm",
            (None, _) => "one in ghost batches",
        };
        Err(Error::Options {
            expected: "a forward of a whole batch by its own statistics".into(),
            got: got.into(),
        })
    }

    /// Whether its statistics are of what its forward saw, and not of a batch that this was a part of.
    pub(super) fn check_no_part(&self) -> Result<(), Error> {
        // Of a mask the valid ones count, which the backward compares with its own.
        match self.from_batch && !self.done.mask && self.count != self.shape.count() {
            true => Err(Error::Parts {
                expected: format!("the saved state of a whole batch of {} values per feature", self.count),
                got: format!("that of a part of {}", self.shape.count()),
            }),
            false => Ok(()),
        }
    }

    fn rounded(&self) -> &[Vec<T::Compute>; 2] {
        self.rounded.0.get_or_init(|| {
            [&self.stats.var, &self.stats.invstd]
                .map(|wide| wide.iter().map(|&v| T::Compute::round(v)).collect())
        })
    }

    /// Whether a forward in this mode has filled it.
    pub(super) fn check(&self, expected: Mode) -> Result<(), Error> {
        if self.eps == 0.0 {
            return Err(Error::EmptySaved);
        }
        match self.mode == expected {
            true => Ok(()),
            false => Err(Error::SavedMode { expected, got: self.mode }),
        }
    }

    /// Makes room for the statistics of a forward over `count` values per feature. Of an empty batch there are none: they are zeros.
    pub(super) fn reset(
        &mut self,
        shape: Shape,
        sizes: Sizes,
        mode: Mode,
        from_batch: bool,
        eps: f64,
        count: usize,
    ) {
        (self.shape, self.sizes) = (shape, sizes);
        (self.mode, self.from_batch, self.eps) = (mode, from_batch, eps);
        self.count = count;
        self.done = Done::default();
        if count == 0 {
            self.stats.resize(0);
        }
        self.stats.resize(shape.features());
        self.moments.clear();
        self.moved.resize(0);
        self.ghosts.clear();
        self.rounded = Rounded::default();
    }
}

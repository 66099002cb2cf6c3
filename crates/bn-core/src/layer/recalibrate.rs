//! Running statistics of a whole data set, for weights that were not trained step by step.

use super::config::RunningVar;
use super::error::Error;
use super::mode::Mode;
use super::parts::Moments;
use super::running::RunningStats;
use super::saved::Saved;
use crate::num::{Element, Real};

/// Collects the statistics of batches into those of the whole population: mean and variance of every value that it saw.
///
/// Running statistics are of the weights that were trained. Averaged weights (SWA, EMA, a schedule-free optimizer) never saw a
/// batch, and need statistics of their own ([Izmailov et al. 2018](https://arxiv.org/abs/1803.05407), section 3.2; "precise BN"
/// of [Wu and Johnson 2021](https://arxiv.org/abs/2105.07576), section 3). This is no average of batches' averages: a batch counts by
/// its number of values, and what lies between the means of batches is part of the variance.
///
/// One for each layer. Batches run through the network with the batches' own statistics, and commit nothing:
///
/// ```
/// use batchnorm::{BatchNorm, Recalibrate};
/// use ndarray::array;
///
/// let mut bn = BatchNorm::<f32>::new(1)?; // its weights have just been averaged
/// let mut recalibrate = Recalibrate::default();
/// for x in [array![[1.0], [3.0]], array![[5.0], [7.0]]] {
///     let (_y, saved) = bn.forward_uncommitted(&x)?; // y goes on to the layers behind
///     recalibrate.add(&saved)?;
/// }
/// let running = recalibrate.finish(bn.config().running_var)?;
/// assert_eq!(running.mean, array![4.0]);
/// assert_eq!(running.var, array![20.0 / 3.0]); // Σ(x−4)²/(4−1); a mean of both variances is 2
/// bn.running = Some(running);
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// With the feature `serde` it can be stored between batches.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "R: Real"))]
pub struct Recalibrate<R> {
    moments: Moments<R>,
    batches: i64,
}

impl<R> Default for Recalibrate<R> {
    fn default() -> Self {
        Self { moments: Moments::default(), batches: 0 }
    }
}

impl<R: Real> Recalibrate<R> {
    /// Takes in the batch of a training forward. An empty batch changes nothing. Of a batch in [`parts`](super::parts), each of
    /// which saves the statistics of the whole, add one.
    ///
    /// # Errors
    /// [`Error::SavedMode`] for the state of an evaluation, [`Error::EmptySaved`], [`Error::Parts`] for another layer's
    /// number of features. Nothing is then changed. Example at [`Recalibrate`].
    pub fn add<T: Element<Compute = R>>(&mut self, saved: &Saved<T>) -> Result<(), Error> {
        saved.check(Mode::Train)?;
        self.moments.merge(&Moments::of_saved(saved)?)?;
        self.batches = self.batches.saturating_add(i64::from(saved.count > 0));
        Ok(())
    }

    /// Takes in what another one saw, on another machine say.
    ///
    /// # Errors
    /// [`Error::Parts`] where the numbers of features differ. Nothing is then changed.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Recalibrate};
    /// use ndarray::array;
    ///
    /// let bn = BatchNorm::<f32>::new(1)?;
    /// let mut shards = [Recalibrate::default(), Recalibrate::default()];
    /// for (shard, x) in shards.iter_mut().zip([array![[1.0], [3.0]], array![[5.0], [7.0]]]) {
    ///     shard.add(&bn.forward_uncommitted(&x)?.1)?;
    /// }
    /// let [mut all, other] = shards;
    /// all.merge(&other)?;
    /// assert_eq!(all.finish(bn.config().running_var)?.mean, array![4.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.moments.merge(&other.moments)?;
        self.batches = self.batches.saturating_add(other.batches);
        Ok(())
    }

    /// The running statistics: the mean of all values, and their variance, times n/(n−1) unless `kind` is
    /// [`RunningVar::Biased`], each rounded once. n counts all values of a feature. `num_batches_tracked` is the number of batches.
    ///
    /// # Errors
    /// [`Error::Parts`] where no value was seen. Example at [`Recalibrate`].
    pub fn finish(&self, kind: RunningVar) -> Result<RunningStats<R>, Error> {
        if self.moments.count() == 0 {
            let (expected, got) = ("batches to take running statistics of", "none with a value");
            return Err(Error::Parts { expected: expected.into(), got: got.into() });
        }
        Ok(self.moments.running(kind, self.batches))
    }
}

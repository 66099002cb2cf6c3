//! What changes in a layer besides its parameters: the running statistics, and settings that may change while it trains.

use super::config::{check_eps, check_momentum};
use super::functions::{self, Commit};
use super::running::filled;
use super::{BatchNorm, Config, Error, Frozen, Mode, NonFinite, RunningStats, Saved};
use crate::kernel::Backend;
use crate::num::{Element, Real};
use ndarray::Array1;

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// Weighs the statistics of a training forward into the running ones: r ← (1−m)·r + m·s, m being the
    /// [`momentum`](Config::momentum). A feature whose batch is not finite is taken in, or left out where the config says so:
    /// [`NonFinite`]. The commit is apart from the forward, so that a forward computed again (activation checkpointing) is not
    /// counted twice. Without tracked statistics, for an empty batch, and where the statistics are [frozen](Frozen), now or in
    /// the forward, nothing changes.
    ///
    /// # Errors
    /// [`Error::SavedMode`] for the state of an evaluation, [`Error::EmptySaved`], [`Error::Features`] for another layer's
    /// state, [`Error::Length`] where the running statistics were replaced by ones of another length.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// let (_y, saved) = bn.forward_uncommitted(&array![[1.0], [3.0]])?;
    /// bn.commit(&saved)?;
    /// let running = bn.running.as_ref().expect("tracked by default");
    /// assert_eq!(running.mean, array![0.2]); // 0.9·0 + 0.1·2
    /// assert_eq!(running.var, array![1.1]); // 0.9·1 + 0.1·2, the unbiased variance
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn commit(&mut self, saved: &Saved<T>) -> Result<(), Error> {
        self.check_saved(saved, Mode::Train)?;
        self.params()?;
        let Config { momentum, running_var: kind, non_finite, .. } = self.config;
        let taken_in = saved.count > 0 && saved.from_batch && !self.config.frozen.statistics();
        if let Some(running) = self.running.as_mut().filter(|_| taken_in) {
            let RunningStats { mean, var, num_batches_tracked, left_out } = running;
            let left_out = match non_finite {
                NonFinite::TakenIn => None,
                NonFinite::LeftOut => {
                    if left_out.is_empty() {
                        *left_out = filled(self.features, 0)?;
                    }
                    Some(contiguous(left_out))
                }
            };
            *num_batches_tracked = num_batches_tracked.saturating_add(1);
            let (mean, var, batches) = (contiguous(mean), contiguous(var), *num_batches_tracked);
            let commit = Commit { mean, var, momentum, batches, kind, left_out };
            functions::commit(&self.backend, saved, commit)?;
        }
        Ok(())
    }

    /// Sets the [`momentum`](Config::momentum) of the commits to come, a schedule's next one say.
    ///
    /// # Errors
    /// [`Error::Momentum`] unless it is from 0 to 1 or `None`. The layer keeps the one it had.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::<f32>::new(64)?;
    /// bn.set_momentum(Some(0.01))?;
    /// assert_eq!(bn.config().momentum, Some(0.01));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn set_momentum(&mut self, momentum: Option<f64>) -> Result<(), Error> {
        check_momentum(momentum)?;
        self.config.momentum = momentum;
        Ok(())
    }

    /// Sets the [`eps`](Config::eps) of the forwards to come. A backward takes that of its forward.
    ///
    /// # Errors
    /// [`Error::Eps`] unless it is finite and > 0. The layer keeps the one it had.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::<f32>::new(64)?;
    /// bn.set_eps(1e-3)?;
    /// assert_eq!(bn.config().eps, 1e-3);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn set_eps(&mut self, eps: f64) -> Result<(), Error> {
        check_eps(eps)?;
        self.config.eps = eps;
        Ok(())
    }

    /// Freezes statistics, parameters, both or nothing, from the next call on: [`Frozen`]. A training call does not undo it. The
    /// statistics that a forward took before are those of its backward.
    ///
    /// # Errors
    /// [`Error::NothingToFreeze`] for the statistics of a layer that tracks none. What was frozen stays so.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, Frozen};
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// bn.set_frozen(Frozen::Statistics)?;
    /// bn.forward(&array![[1.0], [3.0]])?;
    /// assert_eq!(bn.running, BatchNorm::<f32>::new(1)?.running); // as before
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn set_frozen(&mut self, frozen: Frozen) -> Result<(), Error> {
        if frozen.statistics() && self.running.is_none() {
            return Err(Error::NothingToFreeze);
        }
        self.config.frozen = frozen;
        Ok(())
    }

    /// Sets the running statistics back to those of a new layer: mean 0, variance 1, no batch, none left out; frozen ones too. γ and β stay. A layer
    /// that tracks none stays without.
    ///
    /// Before statistics are taken anew over a whole data set, with `set_momentum(None)`, this forgets those of the training.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::array;
    ///
    /// let mut bn = BatchNorm::<f32>::new(1)?;
    /// bn.forward(&array![[1.0], [3.0]])?;
    /// bn.reset_running_stats();
    /// assert_eq!(bn.running, BatchNorm::<f32>::new(1)?.running);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn reset_running_stats(&mut self) {
        if let Some(RunningStats { mean, var, num_batches_tracked, left_out }) = &mut self.running {
            mean.fill(T::Compute::default());
            var.fill(T::Compute::from_f64(1.0));
            *num_batches_tracked = 0;
            left_out.fill(0);
        }
    }
}

/// The elements of an array that a caller may have replaced by one with a stride; laid side by side then.
fn contiguous<V: Clone>(array: &mut Array1<V>) -> &mut [V] {
    if !array.is_standard_layout() {
        *array = array.as_standard_layout().into_owned();
    }
    array.as_slice_mut().unwrap_or_default()
}

//! Weighing the statistics of a batch into running ones.

use super::config::{Config, RunningVar, check_momentum};
use super::error::{Error, check_len};
use super::mode::Mode;
use super::saved::Saved;
use crate::kernel::Backend;
use crate::maths::features;
use crate::num::{Element, Real, Wide};

/// Running statistics to weigh a batch into.
#[derive(Debug)]
pub struct Commit<'a, R> {
    /// The running mean, of length C.
    pub mean: &'a mut [R],
    /// The running variance, likewise.
    pub var: &'a mut [R],
    /// The weight of the new statistic, from 0 to 1; `None` for the cumulative average, 1/`batches`.
    pub momentum: Option<f64>,
    /// The number of batches, with this one and those that were left out, from 1 on. It is looked at where `momentum` is `None`.
    pub batches: i64,
    /// Which variance is tracked.
    pub kind: RunningVar,
    /// How many batches each feature left out before, of length C: a feature whose batch is not finite is then left out and
    /// counted here. `None`: it is taken in. See [`NonFinite`](crate::NonFinite).
    pub left_out: Option<&'a mut [i64]>,
}

impl<'a, R> Commit<'a, R> {
    /// Into these, with momentum 0.1, of the first batch, with n/(n−1) in the variance, and taken in be it finite or not.
    ///
    /// ```
    /// use batchnorm::functions::Commit;
    ///
    /// let (mut mean, mut var) = ([0.0_f32], [1.0]);
    /// let commit = Commit { momentum: None, batches: 7, ..Commit::new(&mut mean, &mut var) };
    /// assert!(commit.left_out.is_none());
    /// ```
    #[must_use]
    pub fn new(mean: &'a mut [R], var: &'a mut [R]) -> Self {
        let Config { momentum, running_var: kind, .. } = Config::default();
        Self { mean, var, momentum, batches: 1, kind, left_out: None }
    }
}

/// Weighs the statistics of a training forward into running ones: r ← (1−m)·r + m·s. An empty batch changes nothing, nor does
/// the forward of a layer whose statistics are [frozen](crate::Frozen).
///
/// # Errors
/// [`Error::SavedMode`] for the state of an evaluation, [`Error::EmptySaved`], [`Error::Length`], [`Error::Momentum`]. Nothing is then written.
pub fn commit<T: Element, B: Backend>(
    backend: &B,
    saved: &Saved<T>,
    Commit { mean, var, momentum, batches, kind, left_out }: Commit<'_, T::Compute>,
) -> Result<(), Error> {
    saved.check(Mode::Train)?;
    check_momentum(momentum)?;
    let features = saved.shape.features();
    check_len("running_mean", features, mean.len())?;
    check_len("running_var", features, var.len())?;
    if let Some(left_out) = &left_out {
        check_len("left_out", features, left_out.len())?;
    }
    if saved.count == 0 || !saved.from_batch {
        return Ok(());
    }
    let wide = <T::Compute as Real>::Wide::from_f64;
    // Of so many batches this is the last.
    let weight = |batches: i64| match momentum {
        Some(momentum) => wide(momentum),
        None => wide(1.0) / wide(batches.max(1) as f64),
    };
    let n = saved.count as f64;
    let bessel = match kind {
        RunningVar::Unbiased if saved.count > 1 => wide(n) / wide(n - 1.0),
        _ => wide(1.0),
    };
    let (stats, running) = (saved.stats.as_ref(), [mean, var]);
    match left_out {
        Some(left_out) => features::commit_finite(
            stats,
            |left_out| weight(batches.saturating_sub(left_out)),
            bessel,
            running,
            left_out,
        ),
        None => {
            let weight = weight(batches);
            backend.vectorize(
                #[inline(always)]
                || features::commit(stats, weight, bessel, running),
            );
        }
    }
    Ok(())
}

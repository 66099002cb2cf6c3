//! Layers whose steps go over ranks.

use super::communicator::Communicator;
use super::header::{Asked, Pass};
use super::synchronized::Synchronized;
use crate::driver::Workspace;
use crate::kernel::Backend;
use crate::layer::error::{Error, check_len};
use crate::layer::functions::{Backward, DoubleBackward, Forward};
use crate::layer::mode::Mode;
use crate::layer::saved::Saved;
use crate::layer::sizes::Sizes;
use crate::layer::{BatchNorm, Config};
use crate::num::Element;

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// As [`forward_step`](Self::forward_step), with the statistics of all ranks, which every rank's running ones take in. The example
    /// stands at [`ranks`](crate::ranks). A layer whose statistics are [frozen](crate::Frozen) has nothing to synchronize, and sends
    /// nothing.
    ///
    /// # Errors
    /// As [`Synchronized::train`]; [`Error::Features`]. Nothing is then written.
    pub fn forward_ranks<C: Communicator>(
        &mut self,
        step: Forward<'_, T>,
        mut ranks: Synchronized<'_, C>,
        saved: &mut Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        if self.config.frozen.statistics() {
            return self.forward_step(step, saved, workspace);
        }
        let Config { eps, one_value, .. } = self.config;
        let fits = self.check_features("x", &Sizes::Slice(step.shape)).and_then(|()| self.params());
        let (weight, bias) =
            fits.map_err(|error| ranks.failed::<T>(Pass::Forward, (step.shape, eps), error))?;
        self.with_running(Mode::Train, |_, renorm_by| {
            let step = Forward { weight, bias, eps, one_value, renorm_by, ..step };
            ranks.train(&self.backend, step, saved, workspace)
        })?;
        self.commit(saved)
    }

    /// As [`backward_step`](Self::backward_step), of the forward that [`forward_ranks`](Self::forward_ranks) saved: dx goes through the
    /// statistics of all ranks.
    ///
    /// # Errors
    /// As [`Synchronized::backward`]; [`Error::Features`] for another layer's state; [`Error::Length`] for a gradient of a parameter
    /// that is frozen or absent. Nothing is then written.
    pub fn backward_ranks<C: Communicator>(
        &self,
        step: Backward<'_, T>,
        mut ranks: Synchronized<'_, C>,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let of = (saved.shape(), saved.eps);
        let fits = self.check_backward(&step, saved);
        let (weight, bias) = fits.map_err(|error| ranks.failed::<T>(Pass::Backward, of, error))?;
        let step = Backward { weight, bias, ..step };
        ranks.backward(&self.backend, step, saved, workspace)
    }

    /// The double backward of the forward that [`forward_ranks`](Self::forward_ranks) saved, with the layer's γ, through the statistics
    /// of all ranks. An example stands at [`Synchronized::double_backward`].
    ///
    /// # Errors
    /// As [`Synchronized::double_backward`]; [`Error::Features`] for another layer's state; [`Error::Length`] for a gradient of a γ
    /// that is frozen or absent. Nothing is then written.
    pub fn double_backward_ranks<C: Communicator>(
        &self,
        step: DoubleBackward<'_, T>,
        mut ranks: Synchronized<'_, C>,
        saved: &Saved<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<(), Error> {
        let of = (saved.shape(), saved.eps);
        let learned = Backward { dweight: None, ..Backward::new(step.x, step.dy) };
        let unlearned = step.d_weight.as_deref().filter(|_| !self.config.learned()[0]);
        let fits = self.check_backward(&learned, saved).and_then(|(weight, _)| {
            unlearned.map_or(Ok(()), |to| check_len("d_weight", 0, to.len())).map(|()| weight)
        });
        let pass = Pass::DoubleBackward(Asked::default());
        let weight = fits.map_err(|error| ranks.failed::<T>(pass, of, error))?;
        ranks.double_backward(&self.backend, DoubleBackward { weight, ..step }, saved, workspace)
    }
}

//! Forwards that are renormalized: which of them are, and by what.

use super::checked::Strided;
use super::error::Error;
use super::mode::Mode;
use super::renorm::{Against, Renorm, wrong};
use crate::num::Element;

impl<'a, T: Element> Strided<'a, T> {
    /// What it is renormalized by, if it is.
    pub(super) fn renorm(&self) -> Result<Option<Against<'a, T::Compute>>, Error> {
        let Some(renorm) = self.options.renorm else {
            return Ok(None);
        };
        renorm.check()?;
        if self.mode == Mode::Eval || self.running.is_some() {
            return Ok(None);
        }
        if self.options.mask.is_some() {
            return Err(wrong("no mask beside renorm", "one".into()));
        }
        let by = self.renorm_by.ok_or_else(|| wrong("running statistics beside renorm", "none".into()))?;
        let Renorm { r_max, d_max } = renorm;
        Ok(Some(([r_max, d_max], [by.mean, by.var])))
    }
}

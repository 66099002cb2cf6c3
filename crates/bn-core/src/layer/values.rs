//! What a stored layer may hold, in whichever format it was stored.

use super::error::Error;
use std::borrow::Cow;

/// What each value of an array must be.
pub(super) struct Values {
    expected: &'static str,
    holds: fn(f64) -> bool,
}

/// Of parameters and means. An infinity may come from training.
pub(super) const NUMBERS: Values = Values { expected: "numbers", holds: |v| !v.is_nan() };

/// Of variances. That of large values overflows.
pub(super) const VARIANCES: Values = Values { expected: "numbers of 0 and above", holds: |v| v >= 0.0 };

impl Values {
    /// Whether every value of `what` is as it should be.
    pub(super) fn check(
        &self,
        what: impl Into<Cow<'static, str>>,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<(), Error> {
        let wrong = values.into_iter().enumerate().find(|&(_, v)| !(self.holds)(v));
        wrong.map_or(Ok(()), |(feature, v)| {
            let got = format!("{v} for feature {feature}");
            Err(Error::State { what: what.into(), expected: self.expected.into(), got })
        })
    }
}

/// Whether a number of batches is one.
pub(super) fn check_count(what: impl Into<Cow<'static, str>>, count: i64) -> Result<(), Error> {
    if count >= 0 {
        return Ok(());
    }
    let (expected, got) = ("a count of 0 or above".into(), count.to_string());
    Err(Error::State { what: what.into(), expected, got })
}

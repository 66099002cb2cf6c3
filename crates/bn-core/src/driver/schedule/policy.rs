//! Whether schedules are learned.

use super::candidates::MOST;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whether schedules are learned. It changes the speed of steps and no bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Steps try candidates in turn, and take the best one from then on.
    Learn,
    /// Steps take the first guess, or what was [loaded](super::load), and no time is taken.
    Fixed,
    /// Steps take the candidate of this number, where their kind of tensor has so many: to compare candidates.
    Candidate(usize),
    /// The same on a small scale, for tests: a block is a small part of the candidate's, and outputs of any size are written
    /// past the caches where the candidate writes any so. Small tensors meet every way of going about memory then.
    Miniature(usize),
}

/// The variable that names a policy.
const VARIABLE: &str = "BATCHNORM_SCHEDULE";

/// Candidates from here on are in miniature.
const MINIATURE: u8 = 100;
const UNSET: u8 = u8::MAX;
const FIXED: u8 = u8::MAX - 1;
const LEARN: u8 = u8::MAX - 2;
static POLICY: AtomicU8 = AtomicU8::new(UNSET);

impl Policy {
    /// The policy of this program: what [`set`](Self::set) said, or the variable `BATCHNORM_SCHEDULE`, or [`Policy::Learn`].
    #[must_use]
    pub fn get() -> Self {
        match POLICY.load(Relaxed) {
            UNSET => {
                let policy = Self::wanted().and_then(Result::ok).unwrap_or(Self::Learn);
                // Unless someone has set one meanwhile.
                let _ = POLICY.compare_exchange(UNSET, policy.number(), Relaxed, Relaxed);
                Self::get()
            }
            FIXED => Self::Fixed,
            LEARN => Self::Learn,
            number if number >= MINIATURE => Self::Miniature((number - MINIATURE).into()),
            number => Self::Candidate(number.into()),
        }
    }

    /// Takes this policy for all steps that begin from now on.
    pub fn set(self) {
        POLICY.store(self.number(), Relaxed);
    }

    fn number(self) -> u8 {
        match self {
            Self::Learn => LEARN,
            Self::Fixed => FIXED,
            Self::Candidate(number) => number.min(MOST) as u8,
            Self::Miniature(number) => number.min(MOST) as u8 + MINIATURE,
        }
    }

    /// What the variable `BATCHNORM_SCHEDULE` asks for: nothing where it is unset or empty, else a policy, or why it is none.
    /// Steps learn where it is none: that is no reason to stop a program.
    #[must_use]
    pub fn wanted() -> Option<Result<Self, PolicyError>> {
        let name = std::env::var_os(VARIABLE).filter(|name| !name.is_empty())?;
        Some(name.to_string_lossy().parse())
    }
}

/// A name that is no policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected learn, fixed or the number of a candidate below {MOST}, got {:?}", self.0)
    }
}

impl std::error::Error for PolicyError {}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        match name {
            "learn" => Ok(Self::Learn),
            "fixed" => Ok(Self::Fixed),
            number => match number.parse() {
                Ok(number) if number < MOST => Ok(Self::Candidate(number)),
                _ => Err(PolicyError(name.into())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_by_name() {
        let read = |name: &str| name.parse::<Policy>();
        assert_eq!(read("learn"), Ok(Policy::Learn));
        assert_eq!(read("fixed"), Ok(Policy::Fixed));
        assert_eq!(read("3"), Ok(Policy::Candidate(3)));
        let told = "expected learn, fixed or the number of a candidate below 11, got \"11\"";
        assert_eq!(read("11").unwrap_err().to_string(), told);
    }
}

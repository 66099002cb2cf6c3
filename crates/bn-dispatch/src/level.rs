//! Instruction sets, and which of them this machine has.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What the build's target has: SSE2 in a plain x86-64 build, NEON on aarch64.
    Baseline,
    /// AVX2, FMA and F16C, which every machine with AVX2 has.
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    Avx512,
}

impl Level {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Avx2, Self::Avx512];

    /// The name that reports and the variable `BATCHNORM_LEVEL` use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The best level of this machine, or the one that the variable `BATCHNORM_LEVEL` names, where the machine
    /// has it. Found out once.
    ///
    /// It gives a level whatever the variable holds: all levels give the same bits, so a name that cannot be followed
    /// is no reason to stop a program. One that must not go on unheard, such as a benchmark, asks [`Level::wanted`].
    #[must_use]
    pub fn detect() -> Self {
        static FOUND: OnceLock<Level> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let best = Self::ALL.into_iter().rfind(|l| l.is_available()).unwrap_or(Self::Baseline);
            Self::wanted().and_then(Result::ok).unwrap_or(best)
        })
    }

    /// What the variable `BATCHNORM_LEVEL` asks for: nothing where it is unset or empty, else a level that this
    /// machine has, or why it cannot be followed.
    #[must_use]
    pub fn wanted() -> Option<Result<Self, LevelError>> {
        let name = std::env::var_os(VARIABLE).filter(|name| !name.is_empty())?;
        Some(name.to_string_lossy().parse().and_then(|level: Self| match level.is_available() {
            true => Ok(level),
            false => Err(LevelError::Unavailable(level)),
        }))
    }
}

/// The variable that names a level.
const VARIABLE: &str = "BATCHNORM_LEVEL";

/// Why a level cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LevelError {
    /// No level has this name.
    Unknown(String),
    /// This machine has not the level's instructions.
    Unavailable(Level),
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pick: fn(Level) -> bool| {
            let names = Level::ALL.into_iter().filter(|&level| pick(level)).map(Level::name);
            names.collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Unknown(got) => write!(f, "expected a level of {}, got {got:?}", names(|_| true)),
            Self::Unavailable(level) => {
                write!(
                    f,
                    "expected a level that this machine has ({}), got {level}",
                    names(Level::is_available)
                )
            }
        }
    }
}

impl std::error::Error for LevelError {}

impl FromStr for Level {
    type Err = LevelError;

    /// The level of this name, whether this machine has it or not.
    fn from_str(name: &str) -> Result<Self, LevelError> {
        let found = Self::ALL.into_iter().find(|level| level.name() == name);
        found.ok_or_else(|| LevelError::Unknown(name.into()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_by_name() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        let error = "AVX2".parse::<Level>().unwrap_err().to_string();
        assert_eq!(error, "expected a level of baseline, avx2, avx512, got \"AVX2\"");
        let error = LevelError::Unavailable(Level::Avx512).to_string();
        assert!(error.starts_with("expected a level that this machine has (baseline"), "{error}");
        assert!(error.ends_with("), got avx512"), "{error}");
    }
}

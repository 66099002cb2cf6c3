//! Which steps share what was learned: those of one pass over tensors of about one shape.

use super::candidates::Kind;
use std::fmt;
use std::str::FromStr;

/// What a step does with its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Sums of x, then y: training.
    Forward,
    /// y alone, or dx from known sums: evaluation.
    Apply,
    /// Sums of x and dy, then dx through the statistics.
    Backward,
    /// Sums of x and dy, then dx where statistics are constants.
    Constants,
    /// Sums alone.
    Sums,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Forward, Self::Apply, Self::Backward, Self::Constants, Self::Sums];

    /// What reports and files call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Apply => "apply",
            Self::Backward => "backward",
            Self::Constants => "constants",
            Self::Sums => "sums",
        }
    }

    /// How many tensors it reads or writes.
    pub(super) fn tensors(self) -> usize {
        match self {
            Self::Backward | Self::Constants => 3,
            Self::Forward | Self::Apply | Self::Sums => 2,
        }
    }

    pub(super) fn sums(self) -> bool {
        self != Self::Apply
    }

    pub(super) fn maps(self) -> bool {
        self != Self::Sums
    }
}

/// A name of up to 24 bytes, held by itself; what is longer is cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u8; Self::LEN]);

impl Name {
    const LEN: usize = 24;

    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; Self::LEN];
        for (to, &from) in bytes.iter_mut().zip(name.as_bytes()) {
            *to = from;
        }
        Self(bytes)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(Self::LEN);
        f.pad(&String::from_utf8_lossy(&self.0[..len]))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Steps that share what was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The kernels' name for themselves: their instruction set, or their crate.
    pub kernels: Name,
    /// The element type's name.
    pub element: Name,
    /// What is done.
    pub task: Task,
    /// How features lie.
    pub kind: Kind,
    /// ⌊log₂⌋ of the samples, the features and the values of a feature in a sample, as they are walked.
    pub size: [u32; 3],
    /// Threads that the step may use.
    pub threads: usize,
}

/// As a line of a file has it: `avx512 f32 forward runs 5,6,11 1`.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernels, element, task, kind, size: [outer, features, inner], threads } = self;
        let (task, kind) = (task.name(), kind.name());
        write!(f, "{kernels} {element} {task} {kind} {outer},{features},{inner} {threads}")
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let &[kernels, element, task, kind, size, threads] = &words[..] else {
            return Err(format!("expected kernels, type, task, kind, sizes and threads, got {text:?}"));
        };
        if kernels.len() > Name::LEN {
            return Err(format!("expected a name of at most {} bytes, got {kernels:?}", Name::LEN));
        }
        let number = |what: &str, text: &str| {
            text.parse::<u32>().map_err(|_| format!("expected {what}, got {text:?}"))
        };
        let sizes = size.split(',').map(|n| number("the logarithms of three sizes", n));
        let size = sizes.collect::<Result<Vec<_>, _>>()?;
        let size = size.try_into().map_err(|_| format!("expected three sizes, got {text:?}"))?;
        let task = Task::ALL.into_iter().find(|known| known.name() == task);
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
        Ok(Self {
            kernels: Name::new(kernels),
            element: Name::new(element),
            task: task.ok_or_else(|| format!("expected a task, got {:?}", words[2]))?,
            kind: kind.ok_or_else(|| format!("expected a kind of tensor, got {:?}", words[3]))?,
            size,
            threads: number("a number of threads", threads)?.max(1) as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_as_it_is_written() {
        let text = "avx512 f32 forward runs 5,6,11 2";
        let class: Class = text.parse().unwrap();
        assert_eq!((class.to_string().as_str(), class.size, class.threads), (text, [5, 6, 11], 2));
    }

    #[test]
    fn what_is_no_class_is_told() {
        for (text, told) in [
            ("avx512 f32", "expected kernels"),
            ("avx512 f32 sideways runs 5,6,11 2", "expected a task, got \"sideways\""),
            ("avx512 f32 forward tubes 5,6,11 2", "expected a kind of tensor, got \"tubes\""),
            ("avx512 f32 forward runs 5,6 2", "expected three sizes"),
            ("avx512 f32 forward runs 5,x,1 2", "expected the logarithms of three sizes, got \"x\""),
            ("avx512 f32 forward runs 5,6,1 two", "expected a number of threads, got \"two\""),
        ] {
            let error = text.parse::<Class>().unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}

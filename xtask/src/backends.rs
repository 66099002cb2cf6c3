//! The backends that are compiled in: every combination of kernels, level and executor.

mod level;

use bn_conformance::any::Candidate;
use bn_conformance::eager::Eager;
use bn_core::Backend;
use bn_dispatch::{Dispatch, Level};
use bn_rayon::Rayon;
use bn_scalar::Scalar;
use bn_wide::Wide;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use level::{Avx2, Avx512, Baseline};

/// A backend, or the instruction set that this machine has not.
type Entry = Result<Candidate, (String, Level)>;

/// One line per combination. The first is the one whose bits the others must give.
const BACKENDS: &[fn() -> Entry] = &[
    anywhere::<Scalar>,
    anywhere::<Wide>,
    anywhere::<Dispatch>,
    at::<Baseline>,
    at::<Avx2>,
    at::<Avx512>,
    anywhere::<Rayon<Scalar>>,
    anywhere::<Rayon<Wide>>,
    anywhere::<Rayon<Dispatch>>,
    at::<Rayon<Baseline>>,
    at::<Rayon<Avx2>>,
    at::<Rayon<Avx512>>,
];

/// Those of them that run on rayon, whatever the size of the tensor.
const EAGER: &[fn() -> Entry] = &[
    anywhere::<Eager<Rayon<Scalar>>>,
    anywhere::<Eager<Rayon<Wide>>>,
    anywhere::<Eager<Rayon<Dispatch>>>,
    at::<Eager<Rayon<Baseline>>>,
    at::<Eager<Rayon<Avx2>>>,
    at::<Eager<Rayon<Avx512>>>,
];

fn anywhere<B: Backend + Clone + Default>() -> Entry {
    Ok(Candidate::of::<B>())
}

/// Kernels of one level, where the machine has it.
fn at<B: Backend + Clone + Default + level::Fixed>() -> Entry {
    match Dispatch::at(B::LEVEL) {
        Some(_) => anywhere::<B>(),
        None => Err((B::default().name().into(), B::LEVEL)),
    }
}

/// Every backend that this machine can run.
pub(crate) fn available() -> Vec<Candidate> {
    BACKENDS.iter().filter_map(|entry| entry().ok()).collect()
}

/// Every one of these on rayon, made to share out small tensors as well.
pub(crate) fn eager() -> Vec<Candidate> {
    EAGER.iter().filter_map(|entry| entry().ok()).collect()
}

/// Every other one, and the instruction set that is missing.
pub(crate) fn unavailable() -> Vec<(String, Level)> {
    BACKENDS.iter().filter_map(|entry| entry().err()).collect()
}

/// The name that stands for every backend.
pub(crate) const ALL: &str = "all";

/// Which backends are meant: one of them, or all.
pub(crate) fn parser() -> impl TypedValueParser<Value = Vec<Candidate>> {
    let names = available().into_iter().map(|b| b.name.into_owned()).chain([ALL.to_string()]);
    PossibleValuesParser::new(names).map(|name| pick(&name))
}

fn pick(name: &str) -> Vec<Candidate> {
    available().into_iter().filter(|b| name == ALL || b.name == name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_have_names_of_their_own() {
        let mut names: Vec<String> = available().into_iter().map(|b| b.name.into_owned()).collect();
        assert_eq!(names[0], "scalar");
        for name in &names {
            assert_eq!(pick(name).len(), 1, "{name}");
        }
        assert_eq!(pick(ALL).len(), names.len());
        let shared: Vec<String> = eager().into_iter().map(|b| b.name.into_owned()).collect();
        let on_rayon: Vec<&String> = names.iter().filter(|name| name.starts_with("rayon+")).collect();
        assert_eq!(on_rayon, shared.iter().collect::<Vec<_>>());
        names.extend(unavailable().into_iter().map(|(name, _)| name));
        names.push(ALL.into());
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (count, BACKENDS.len() + 1));
    }
}

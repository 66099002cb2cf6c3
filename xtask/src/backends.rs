//! Which backends a verb runs.

use bn_conformance::any::Candidate;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use xtask::available;

/// Those that a verb runs.
pub(crate) type Backends = Vec<Candidate>;

/// The name that stands for every backend.
pub(crate) const ALL: &str = "all";

/// Which backends are meant: one of them, or all.
pub(crate) fn parser() -> impl TypedValueParser<Value = Backends> {
    let names = available().into_iter().map(|b| b.name.into_owned()).chain([ALL.to_string()]);
    PossibleValuesParser::new(names).map(|name| pick(&name))
}

fn pick(name: &str) -> Backends {
    available().into_iter().filter(|b| name == ALL || b.name == name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::{eager, kernels, unavailable};

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
        assert_eq!((names.len(), count), (count, 2 * kernels() + 1));
    }

    /// The bench has combinations of its own; a backend that joins these joins those.
    #[test]
    fn every_backend_is_timed() {
        let timed =
            [false, true].map(|on_rayon| benches::layer::Kernels::ALL.map(|k| k.name(on_rayon))).concat();
        for name in
            available().into_iter().map(|b| b.name.into_owned()).chain(unavailable().into_iter().map(|u| u.0))
        {
            assert!(timed.contains(&name), "{name} in {timed:?}");
        }
    }
}

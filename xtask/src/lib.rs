//! The backends that are compiled in: every combination of kernels, level and executor.
//!
//! They are a library, so that the layer and the suite are compiled for them once, and not again for the tests of the program.

mod kernels;

use bn_conformance::any::Candidate;
use bn_conformance::eager::Eager;
use bn_core::Backend;
use bn_dispatch::Level;
use bn_rayon::Rayon;
use bn_scalar::Scalar;
use kernels::Kernels;

/// Every backend that this machine can run. The first is the one whose bits the others must give.
#[must_use]
pub fn available() -> Vec<Candidate> {
    let serial = Kernels::all().flatten().map(Candidate::from);
    serial.chain(Kernels::all().flatten().map(|kernels| Rayon(kernels).into())).collect()
}

/// Every one of these on rayon, made to share out small tensors as well.
#[must_use]
pub fn eager() -> Vec<Candidate> {
    Kernels::all().flatten().map(|kernels| Eager(Rayon(kernels)).into()).collect()
}

/// The same, each of which runs every case in `n` parts.
#[must_use]
pub fn eager_in_parts(n: usize) -> Vec<Candidate> {
    Kernels::all().flatten().map(|kernels| Candidate::in_parts(Eager(Rayon(kernels)), n)).collect()
}

/// Every other one, and the instruction set that is missing.
#[must_use]
pub fn unavailable() -> Vec<(String, Level)> {
    let missing = Kernels::all().filter_map(Result::err);
    let names = missing.map(|level| (Kernels::name_at(level), level));
    names.flat_map(|(name, level)| [(name.clone(), level), (format!("rayon+{name}"), level)]).collect()
}

/// How many kernels there are, with those that this machine has not.
#[must_use]
pub fn kernels() -> usize {
    Kernels::all().count()
}

/// The plain kernels, whose bits all others give.
#[must_use]
pub fn plain() -> impl Backend + Clone {
    Kernels::Scalar(Scalar)
}

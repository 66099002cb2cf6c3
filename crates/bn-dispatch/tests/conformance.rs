//! The dispatched kernels, at this machine's best level, against the oracle, the case files and the identities.

#[test]
fn conforms() {
    bn_conformance::assert_conforms(bn_dispatch::Dispatch::default());
}

//! The kernels on `wide` against the oracle, the case files and the identities.

#[test]
fn conforms() {
    bn_conformance::assert_conforms(bn_wide::Wide);
}

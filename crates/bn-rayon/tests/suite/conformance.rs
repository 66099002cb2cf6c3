//! Kernels run by rayon against the oracle, the case files and the identities.

#[test]
fn conforms() {
    bn_conformance::assert_conforms(bn_rayon::Rayon(bn_scalar::Scalar));
}

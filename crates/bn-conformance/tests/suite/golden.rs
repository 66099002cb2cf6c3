//! The committed digests, and how they are written anew: see `bn_conformance::golden`.

use bn_conformance::any::Candidate;
use bn_conformance::golden::{PATH, differences, digests, faults};
use bn_scalar::Scalar;

#[test]
fn bits_are_the_committed_ones() {
    let scalar = Candidate::from(Scalar);
    if std::env::var("BATCHNORM_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(PATH, digests(&scalar)).unwrap();
    }
    assert_eq!(faults(&scalar).unwrap(), Vec::<String>::new());
}

#[test]
fn another_digest_and_another_number_of_lines_are_faults() {
    let committed = std::fs::read_to_string(PATH).unwrap();
    assert_eq!(differences(&committed, &committed).len(), 0);
    let other = committed.replacen(" first ", " first 0", 1);
    assert_eq!(differences(&other, &committed).len(), 1);
    assert_eq!(differences(&format!("{committed}more\n"), &committed).len(), 1);
}

//! The suite on a backend that is wrong.

use bn_conformance::any::Candidate;
use bn_conformance::case::Results;
use bn_conformance::suite::{Origin, conform};
use bn_scalar::Scalar;
use std::sync::Arc;

/// A backend a thousandth off everywhere.
#[test]
fn the_runner_sees_a_wrong_backend() {
    let off = Candidate {
        name: "off".into(),
        run: Arc::new(|case| {
            let mut got = Results::default();
            for (tensor, values) in case.run(&Scalar)?.iter() {
                got.insert(tensor, values.iter().map(|v| v + v.abs() * 1e-3).collect());
            }
            Ok(got)
        }),
        other_bits: Arc::new(|_| Ok(vec!["dx over dy"])),
        identities: Arc::new(|| vec!["an identity".into()]),
        ..Scalar.into()
    };
    let reports = conform(&[Scalar.into(), off], &|_, _| ());
    assert_eq!(reports[0].failures().count(), 0);
    let tally = reports[1].tally(|o| o.origin == Origin::File);
    assert_eq!((tally.pass, tally.skip), (0, 0), "{tally:?}");
    assert_eq!(tally.other_bits, tally.fail);
    let reasons =
        ["y: error ", "other bits than the first backend's in y", "other bits of dx over dy", "an identity"];
    for reason in reasons {
        assert!(reports[1].failures().any(|f| f.contains(reason)), "expected {reason:?}");
    }
}

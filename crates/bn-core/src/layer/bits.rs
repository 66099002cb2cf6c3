//! Numbers by their bits, for serde: a text of digits need not come back to them, and has no NaN.

use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(|v| v.to_bits()))
}

pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<f64>, D::Error> {
    Ok(Vec::<u64>::deserialize(from)?.into_iter().map(f64::from_bits).collect())
}

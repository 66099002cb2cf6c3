//! What several files of these tests need.

use batchnorm::Error;

/// Numbers that look random: the same for the same seed, within 1.7 of `centre`.
pub(crate) fn values(len: usize, seed: usize, centre: f32) -> Vec<f32> {
    (0..len).map(|i| (((i + seed) * 7919 % 4099) as f32 / 2049.5 - 1.0) * 1.7 + centre).collect()
}

/// The bits of values, which compare where NaN does not.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// What an error says.
pub(crate) fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

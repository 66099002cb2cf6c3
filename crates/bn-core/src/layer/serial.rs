//! The layer with serde: its settings, parameters and running statistics. The backend is no part of it, since
//! every backend gives the same bits; the one that loads is made by `Default`.
//!
//! What comes in is checked as a new layer is, and its arrays against its number of features: a damaged file
//! is an error of the format, never a layer that fails later. Nothing is allocated from a number in the file.

use super::{BatchNorm, Config, Error, RunningStats};
use crate::kernel::Backend;
use crate::num::Element;
use crate::tensor::Shape;
use ndarray::Array1;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is written. `Parts` reads the same fields in the same order, which formats without names need.
#[derive(Serialize)]
#[serde(rename = "BatchNorm")]
struct PartsRef<'a, R> {
    features: usize,
    config: &'a Config,
    weight: &'a Array1<R>,
    bias: &'a Array1<R>,
    running: Option<&'a RunningStats<R>>,
}

#[derive(Deserialize)]
#[serde(rename = "BatchNorm")]
struct Parts<R> {
    features: usize,
    config: Config,
    weight: Array1<R>,
    bias: Array1<R>,
    running: Option<RunningStats<R>>,
}

impl<T: Element, B> Serialize for BatchNorm<T, B>
where
    T::Compute: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { weight, bias, running, features, config, backend: _ } = self;
        PartsRef { features: *features, config, weight, bias, running: running.as_ref() }
            .serialize(serializer)
    }
}

impl<'de, T: Element, B: Backend + Default> Deserialize<'de> for BatchNorm<T, B>
where
    T::Compute: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Parts::deserialize(deserializer)?.into_layer().map_err(de::Error::custom)
    }
}

impl<R> Parts<R> {
    fn into_layer<T: Element<Compute = R>, B: Backend + Default>(self) -> Result<BatchNorm<T, B>, Error> {
        let Self { features, config, weight, bias, running } = self;
        config.check()?;
        Shape::new(1, features, size_of::<f64>())?;
        let layer = BatchNorm { weight, bias, running, features, config, backend: B::default() };
        layer.params()?;
        Ok(layer)
    }
}

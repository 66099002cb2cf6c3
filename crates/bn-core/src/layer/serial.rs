//! The layer with serde: its settings, parameters and running statistics. The backend is no part of it, since
//! every backend gives the same bits; the one that loads is made by `Default`.
//!
//! What comes in is checked as a new layer is, its arrays against its number of features, and its numbers for what no training
//! leaves: a damaged file is an error of the format, never a layer that fails later. Nothing is allocated from a number in the
//! file.

use super::running::filled;
use super::values::{NUMBERS, VARIANCES, check_count};
use super::{BatchNorm, Config, Error, RunningStats, check_room};
use crate::kernel::Backend;
use crate::num::{Element, Real};
use ndarray::Array1;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is written. `Parts` reads the same fields in the same order, which formats without names need.
#[derive(Serialize)]
#[serde(rename = "BatchNorm")]
struct PartsRef<'a, R> {
    features: usize,
    config: Config,
    weight: &'a Array1<R>,
    bias: &'a Array1<R>,
    running: Option<&'a RunningStats<R>>,
}

#[derive(Deserialize)]
#[serde(rename = "BatchNorm", deny_unknown_fields)]
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
        let running = running.as_ref();
        // A caller may have taken the statistics away, or given some to a layer without.
        let config = config.track_running_stats(running.is_some());
        PartsRef { features: *features, config, weight, bias, running }.serialize(serializer)
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

impl<R: Real> Parts<R> {
    fn into_layer<T: Element<Compute = R>, B: Backend + Default>(self) -> Result<BatchNorm<T, B>, Error> {
        let Self { features, config, weight, bias, running } = self;
        config.check()?;
        check_room(features)?;
        let tracked = config.track_running_stats;
        if tracked != running.is_some() {
            let expected = format!("{} as track_running_stats is {tracked}", statistics(tracked));
            let got = statistics(!tracked).to_string();
            return Err(Error::State { what: "running".into(), expected, got });
        }
        let mut layer = BatchNorm { weight, bias, running, features, config, backend: B::default() };
        layer.params()?;
        NUMBERS.check("weight", values(&layer.weight))?;
        NUMBERS.check("bias", values(&layer.bias))?;
        if let Some(RunningStats { mean, var, num_batches_tracked, left_out }) = &mut layer.running {
            NUMBERS.check("running_mean", values(mean))?;
            VARIANCES.check("running_var", values(var))?;
            check_count("num_batches_tracked", *num_batches_tracked)?;
            left_out.iter().try_for_each(|&count| check_count("left_out", count))?;
            if left_out.is_empty() {
                *left_out = filled(features, 0)?;
            }
        }
        Ok(layer)
    }
}

fn statistics(tracked: bool) -> &'static str {
    if tracked { "statistics" } else { "none" }
}

fn values<R: Real>(array: &Array1<R>) -> impl Iterator<Item = f64> {
    array.iter().map(|v| v.to_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{KernelSet, Kernels};
    use std::borrow::Cow;

    /// A backend that is named and never run.
    #[derive(Default)]
    struct Nobody;

    impl KernelSet for Nobody {
        fn name(&self) -> Cow<'static, str> {
            "nobody".into()
        }
        fn f32(&self) -> &dyn Kernels<f32> {
            unreachable!("no step is run")
        }
        fn f64(&self) -> &dyn Kernels<f64> {
            unreachable!("no step is run")
        }
    }

    fn loaded(poison: impl FnOnce(&mut Parts<f32>, &mut RunningStats<f32>)) -> Result<(), String> {
        let ones = Array1::ones(3);
        let (features, config, weight, bias) = (3, Config::default(), ones.clone(), ones);
        let mut parts = Parts { features, config, weight, bias, running: None };
        let mut running = RunningStats::new(3);
        poison(&mut parts, &mut running);
        parts.running = Some(running);
        parts.into_layer::<f32, Nobody>().map(|_| ()).map_err(|error| error.to_string())
    }

    /// JSON has no NaN, and postcard no messages: both are needed to see this one from outside.
    #[test]
    fn a_nan_is_refused_by_the_fields_name() {
        let nan = f32::NAN;
        assert_eq!(loaded(|_, _| ()), Ok(()));
        let says =
            |what: &str, expected: &str| Err(format!("expected {expected} in {what}, got NaN for feature 1"));
        assert_eq!(loaded(|parts, _| parts.weight[1] = nan), says("weight", "numbers"));
        assert_eq!(loaded(|parts, _| parts.bias[1] = nan), says("bias", "numbers"));
        assert_eq!(loaded(|_, running| running.mean[1] = nan), says("running_mean", "numbers"));
        assert_eq!(loaded(|_, running| running.var[1] = nan), says("running_var", "numbers of 0 and above"));
        let infinite = loaded(|_, running| running.var[1] = f32::INFINITY);
        assert_eq!(infinite, Ok(()), "the variance of large values overflows");
    }
}

//! What is computed per feature, between the sums and the maps: the same for every backend, in the wide type.

mod coef;
pub(crate) mod features;
pub(crate) mod frame;
mod hard_sums;
mod moments;
mod params;
pub(crate) mod renorm;
pub(crate) mod second;
mod second_hard;
mod stats;

pub(crate) use coef::Stats;
pub(crate) use hard_sums::{HardGrads, HardSums, plain};
pub(crate) use moments::Moments;
pub(crate) use params::Params;
pub(crate) use second_hard::{Side, WholeSums};
pub(crate) use stats::{StatsMut, StatsRef, StatsVec};

use crate::num::Real;

/// Both sums of a feature.
pub(crate) type Totals<R> = (<R as Real>::Wide, <R as Real>::Wide);

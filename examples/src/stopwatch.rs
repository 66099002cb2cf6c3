//! Where the time goes.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Where the time of the training steps went.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Stopwatch {
    /// In training steps.
    pub steps: Duration,
    /// In batch normalization.
    pub norm: Duration,
}

impl Stopwatch {
    /// Runs a piece of a batch-norm layer, on the clock.
    pub fn norm<R>(&mut self, piece: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = piece();
        self.norm += start.elapsed();
        result
    }
}

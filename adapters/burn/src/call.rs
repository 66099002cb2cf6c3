//! What a call of the layer does.

/// The settings of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// With the batch's statistics, which go into the running ones; else with the running ones.
    pub train: bool,
    /// Whether ReLU follows.
    pub relu: bool,
    /// Added to the variance.
    pub epsilon: f64,
    /// The weight of the batch's statistic in the running one.
    pub momentum: f64,
    /// Whether the running variance takes Σ(x−μ)²/(n−1), or Σ(x−μ)²/n.
    pub unbiased: bool,
}

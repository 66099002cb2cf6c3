//! The driver: one loop over blocks of features, each summed and then mapped while it is in cache.
//!
//! ```text
//! run                 the whole tensor as a step, in blocks (blocks.rs):
//!   share out         halves of the features, until a job has a scratch of its own
//!   for each block    as the step says (step.rs; forward.rs, backward.rs, apart.rs):
//!     sum             segment by segment into lanes, which are folded (reduce.rs)
//!     settle          sums become statistics or gradients (maths), or are taken again around their pilots
//!     coefficients    of the map
//!     map             while the kernels sum the next block, or rows shared out (rows.rs)
//!     hard features   mapped anew in f64 (hard)
//! ```
//!
//! What the numbers are follows from the [`plan`] alone; [`cut`] decides what changes none.

mod apart;
mod backward;
mod blocks;
mod convert;
mod cut;
mod forward;
mod hard;
mod pass;
mod plan;
mod reduce;
mod rows;
mod step;
mod tiles;
mod workspace;

pub use apart::Between;
pub(crate) use apart::{backward_apart, forward_apart};
pub(crate) use backward::Backward;
pub(crate) use blocks::run;
pub(crate) use cut::takes_strides;
pub(crate) use forward::{Forward, Statistics};
pub use workspace::Workspace;

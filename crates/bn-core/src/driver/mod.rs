//! The driver: one loop over blocks of features, each summed and then mapped while it is in cache.
//!
//! ```text
//! run                 the whole tensor as a step, in blocks (blocks.rs):
//!   share out         halves of the features, until a job has a scratch of its own
//!   for each block    as the step says (step.rs; forward.rs, backward.rs, second.rs, apart.rs, gather.rs):
//!     sum             unit by unit into lanes, which are folded and merged in a tree (reduce.rs, tree.rs)
//!     settle          sums become statistics or gradients (maths), or are taken again around their pilots
//!     coefficients    of the map
//!     map             while the kernels sum the next block, or rows shared out (rows.rs); in place or added (target.rs, onto.rs)
//!     hard features   mapped anew in f64 (hard)
//! ```
//!
//! What the numbers are follows from the [`plan`] alone. The [`schedule`] and its [`cut`] change none.

mod apart;
mod backward;
mod blocks;
mod convert;
mod cut;
mod forward;
mod gaps;
mod gate;
mod gather;
mod given;
mod hard;
mod kept;
mod mapping;
mod masked;
mod needs;
mod onto;
mod pass;
mod plan;
mod post;
mod reduce;
mod rooms;
mod rows;
pub mod schedule;
mod second;
mod step;
mod target;
mod tiles;
mod tree;
mod workspace;

pub(crate) use apart::{Part, Summed, nodes, sum_part};
pub(crate) use backward::Backward;
pub(crate) use cut::takes_strides;
pub(crate) use forward::{Forward, Renorm, Statistics};
pub(crate) use gaps::Gaps;
pub(crate) use gate::{Again, By, Gate};
pub(crate) use gather::moments;
pub(crate) use given::{Given, GivenSecond, Whole};
pub(crate) use masked::run_among;
pub(crate) use plan::leaf_samples;
pub(crate) use post::{Corners, clamp, post};
pub(crate) use rooms::room;
pub(crate) use second::{DoubleBackward, double_backward};
pub(crate) use target::Target;
pub(crate) use tree::are_siblings;
pub use workspace::Workspace;

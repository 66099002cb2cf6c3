//! The contract between the driver and those who compute: operations as data, what they work on, and the traits of a
//! backend.

mod acc;
mod backend;
mod ops;
mod schedule;
mod tile;
mod units;

pub use acc::{Acc, Plane};
pub(crate) use backend::sum_piece;
pub use backend::{Backend, Executor, Form, KernelSet, Kernels, Serial, map_then_sum};
pub use ops::{Affine, Clamp, Gate, GradAffine, Map, Out, Post, SecondAffine, Sum};
pub use schedule::{Ahead, Cache, Down, Fetch, Next, Schedule, Share, Turns};
pub use tile::{Hints, Spread, Tile, Walk};
pub use units::Units;

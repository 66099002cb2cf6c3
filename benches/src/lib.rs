//! What the benchmarks share, Criterion's beside this, `cargo xtask bench` and the peers:
//!
//! [`shapes`]: the lists of shapes in `shapes/*.txt`; [`inputs`]: a shape filled with data, and the comparison of
//! answers; [`variant`]: rows with an activation, a residual or a mask; [`hard`]: data that leave a type's comfortable range; [`implementation`]: what is timed, seen from outside;
//! [`layer`], [`textbook`], [`floor`]: the fused layer on every backend, the two strategies of the textbook, and the
//! least that memory allows; [`memory`]: the allocator's settings; [`threads`]: pools with a core for each thread; [`tune`]: schedules that are learned before anything is timed.

pub mod floor;
pub mod hard;
pub mod implementation;
pub mod inputs;
pub mod layer;
pub mod memory;
pub mod shapes;
pub mod textbook;
pub mod threads;
pub mod tune;
pub mod variant;
mod varied;

//! What the vector kernel crates share: how strips are gone over, not with which instructions.
//!
//! A kernel crate brings the vectors ([`Vector`], [`Lane`]), how elements are converted ([`Convert`]) and how runs are summed; everything here is compiled into it,
//! for its instruction sets. The driver knows nothing of this floor.

#![warn(clippy::disallowed_methods, reason = "the order of sums and products fixes the bits")]

mod convert;
mod fill;
mod gate;
mod linear;
mod maps;
mod pair;
mod stack;
mod terms;
mod vector;

pub use convert::{Convert, Plain, Same, Stored};
pub use fill::lines;
pub use maps::map;
pub use pair::{Held, TURN, map_and_sum, take_turns};
pub use stack::{EachStack, Stack, low_stacks, stacks};
pub use terms::{Lane, Sums, compensated};
pub use vector::{Chunk, Vector};

//! A step of the layer through candle's autograd, candle's beside ours, in turns; and the layer by itself:
//!
//! ```text
//! RAYON_NUM_THREADS=1 cargo run --release -p bn-candle --example candle_step
//! RAYON_NUM_THREADS=1 cargo run --release -p bn-candle --example candle_step_mimalloc
//! ```
//!
//! The second has mimalloc for its allocator, which hands memory out again instead of asking the system for fresh pages.

mod times;

fn main() -> std::process::ExitCode {
    times::main("the system's")
}

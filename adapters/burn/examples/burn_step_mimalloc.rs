//! The example `burn_step` with mimalloc for its allocator. These are the two lines of a program that wants it:

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "burn_step/times.rs"]
mod times;

fn main() -> std::process::ExitCode {
    times::main("mimalloc")
}

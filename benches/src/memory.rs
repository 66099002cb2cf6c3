//! The allocator while benchmarks run: freed memory is kept, not returned to the system.
//!
//! The textbook strategies allocate an array per operation. With glibc's defaults large arrays go back to the
//! system when they are freed, and the next one is paid for in page faults, a page at a time: about half or more
//! of the graph's time. What is to be compared is the strategies, so that cost is taken out; `peers/*.py` do the
//! same. It is in favour of the strategies that allocate; the fused layer with its buffers does not notice.

use std::io;
use std::process::Command;

/// Set to `returned`, leaves the allocator as it is. The variables below, where they are set already, stay too.
const CHOICE: &str = "BENCH_FREED";

/// glibc's settings: the size from which an array is a mapping of its own, and the free memory at the end of
/// the heap that is given back. Larger than any benchmark's arrays.
const SETTINGS: [&str; 2] = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];
const BYTES: &str = "64000000000";

/// One heap for all threads. Those that glibc gives to every thread but the first end at 64 MB and go back to the system
/// whatever the settings: on one of them the graph took two to four times as long.
pub const ONE_HEAP: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// Whether the allocator keeps what is freed.
#[must_use]
pub fn is_kept() -> bool {
    SETTINGS.iter().any(|name| std::env::var_os(name).is_some())
}

/// Starts the program anew with an allocator that keeps what is freed; to be called first in `main`. Returns where
/// that is so already, is not wanted, or is not known how (any C library but glibc).
///
/// # Errors
/// What the system says to the start of the program; the figures then hold page faults.
pub fn keep_freed() -> io::Result<()> {
    let returned = std::env::var_os(CHOICE).is_some_and(|choice| choice == "returned");
    if is_kept() || returned {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).envs(SETTINGS.map(|name| (name, BYTES))).envs([ONE_HEAP]);
    replace(again)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn replace(mut program: Command) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    Err(program.exec())
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn replace(_: Command) -> io::Result<()> {
    Ok(())
}

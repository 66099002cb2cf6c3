//! Threads to time on.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// The same for a peer that has OpenMP's threads.
pub const OPENMP: [(&str, &str); 2] = [("OMP_PROC_BIND", "true"), ("OMP_PLACES", "cores")];

/// A pool of `threads` threads, or of as many as rayon would start. If the cores that this program may use are no fewer, each
/// thread has one of them: left to the system, two threads now and then share a core for a while and are as slow as one. Where
/// a system cannot bind threads, they are not.
///
/// # Errors
/// If the threads cannot be started.
pub fn pool(threads: Option<usize>) -> Result<ThreadPool, ThreadPoolBuildError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let pool = ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build()?;
    if pool.current_num_threads() <= cores.len() {
        pool.broadcast(|thread| core_affinity::set_for_current(cores[thread.index()]));
    }
    Ok(pool)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_core_of_its_own_if_there_are_enough() {
        let cores = core_affinity::get_core_ids().unwrap().len();
        let bound = |threads| {
            let of_one = |_: rayon::BroadcastContext<'_>| core_affinity::get_core_ids().unwrap();
            pool(Some(threads)).unwrap().broadcast(of_one)
        };
        let mut alone: Vec<_> =
            bound(cores).into_iter().map(|of_one| <[_; 1]>::try_from(of_one).unwrap()).collect();
        alone.sort_unstable();
        alone.dedup();
        assert_eq!(alone.len(), cores);
        assert!(bound(cores + 1).iter().all(|of_one| of_one.len() == cores));
        assert_eq!(pool(None).unwrap().current_num_threads(), rayon::current_num_threads());
    }
}

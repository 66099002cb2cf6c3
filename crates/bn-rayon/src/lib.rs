//! Runs any kernels in parallel, on the rayon pool of the caller: the global one, or the one whose
//! `ThreadPool::install` the call is made in. A training loop had better run in there as a whole: then no pass has to
//! wait for a thread to take it in, and smaller tensors are shared out.
//!
//! It only runs what the driver cuts: blocks of features, or nodes of the sums and rows where features are few. The cuts
//! that matter for the numbers follow from the shape, so the bits are those of a serial run.

use bn_core::{Backend, Executor};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread that waits for another one's half stays awake. Rayon's go to sleep after about 10 µs, and on a
/// virtual machine it takes 25 µs and more to wake one.
const PATIENCE: Duration = Duration::from_micros(100);

/// `K`'s kernels, run by rayon.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rayon<K>(pub K);

/// The executor: [`rayon::join`], where who is done first stays awake for a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pool;

impl Executor for Pool {
    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
        let elsewhere = AtomicBool::new(false);
        rayon::join_context(
            |_| {
                a();
                stay_awake(&elsewhere);
            },
            |context| {
                elsewhere.store(context.migrated(), Ordering::Relaxed);
                b();
                elsewhere.store(false, Ordering::Relaxed);
            },
        );
    }

    fn width(&self) -> usize {
        rayon::current_num_threads()
    }

    fn is_inside(&self) -> bool {
        rayon::current_thread_index().is_some()
    }
}

/// Does other work of the pool, or none, as long as another thread is `busy`, but not for long. It is a hint only: it is
/// rayon that waits.
fn stay_awake(busy: &AtomicBool) {
    if !busy.load(Ordering::Relaxed) {
        return;
    }
    let start = Instant::now();
    while busy.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            thread::yield_now();
        }
    }
}

impl<K: Backend> Backend for Rayon<K> {
    type Kernels = K::Kernels;
    type Exec = Pool;

    fn name(&self) -> Cow<'static, str> {
        format!("rayon+{}", self.0.name()).into()
    }
    fn kernels(&self) -> &K::Kernels {
        self.0.kernels()
    }
    fn exec(&self) -> &Pool {
        &Pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    /// Both halves are under way at once, so that the first one waits for the second, longer and shorter than it is patient.
    #[test]
    fn who_waits_has_both_done() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for time in [Duration::ZERO, PATIENCE / 2, PATIENCE * 20] {
            let both = Barrier::new(2);
            let (mut a, mut b) = (0, 0);
            let mut late = || {
                both.wait();
                thread::sleep(time);
                b += 2;
            };
            let mut first = || {
                both.wait();
                a += 1;
            };
            pool.install(|| Pool.join(&mut first, &mut late));
            assert_eq!((a, b), (1, 2));
        }
    }

    #[test]
    fn a_pool_knows_who_is_inside() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        assert_eq!((Pool.is_inside(), pool.install(|| Pool.is_inside())), (false, true));
    }

    #[test]
    fn a_panic_ends_the_waiting() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let both = Barrier::new(2);
        let join = || {
            let mut late = || {
                both.wait();
                panic!("on purpose")
            };
            let mut first = || {
                both.wait();
            };
            Pool.join(&mut first, &mut late);
        };
        let result = catch_unwind(AssertUnwindSafe(|| pool.install(join)));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"on purpose"));
    }
}

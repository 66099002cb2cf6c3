//! What is timed, seen from outside: a name, three passes, an answer.

use crate::inputs::{Answer, Inputs, Outputs};
use crate::threads;
use crate::variant::Variant;
use bn_core::Element;
use rayon::ThreadPool;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// How long `threads` threads run before they are timed. While others take their turn they sleep, deeper than between two
/// layers of a network: on a virtual machine the first passes of several take up to twice as long. One only has to find its
/// core's clock and caches again: of (128,1024) the second pass takes 1.2 times as long as the tenth.
#[must_use]
pub fn waking(threads: usize) -> Duration {
    Duration::from_millis(if threads > 1 { 10 } else { 1 })
}

/// A part of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// From x to y, with what the backward needs.
    Forward,
    /// From dy to dx, dγ and dβ, with what the last forward left.
    Backward,
    /// Both.
    Step,
}

impl Pass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Backward, Self::Step];

    /// The name that reports and peers use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Step => "step",
        }
    }

    /// The least traffic in tensors: the forward reads x and writes y, the backward reads x and dy and writes dx.
    #[must_use]
    pub fn tensors(self) -> usize {
        match self {
            Self::Forward => 2,
            Self::Backward => 3,
            Self::Step => 5,
        }
    }

    /// The same of a variant: a residual is read, its gradient written. The gate of a ReLU can be computed again from x. That
    /// of a sum takes one tensor more: the output, or the residual.
    #[must_use]
    pub fn tensors_of(self, variant: Variant) -> usize {
        let more = match (variant, self) {
            (Variant::AddRelu, Self::Forward) => 1,
            (Variant::AddRelu, Self::Backward) => 2,
            (Variant::AddRelu, Self::Step) => 3,
            _ => 0,
        };
        self.tensors() + more
    }
}

/// What is timed. [`answer`](Self::answer) comes first: it runs a forward, which a backward needs.
pub trait Implementation<T: Element> {
    /// What reports call it.
    fn name(&self) -> &str;

    /// How many threads it may use.
    fn threads(&self) -> usize;

    /// The wall time of `runs` passes, one after the other, after such as are not timed for as long as [`waking`] says, one at
    /// least.
    ///
    /// # Errors
    /// What keeps it from running, in words.
    fn time(
        &mut self,
        pass: Pass,
        runs: u32,
        inputs: &Inputs<T>,
        outputs: &mut Outputs<T>,
    ) -> Result<Duration, String>;

    /// What a step gives, to be checked; `None` where there is nothing to check.
    ///
    /// # Errors
    /// As for [`time`](Self::time).
    fn answer(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) -> Result<Option<Answer<T>>, String>;
}

/// The passes of what runs in this program; [`Here`] makes an [`Implementation`] of them.
pub(crate) trait Passes<T: Element>: Send {
    fn forward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>);
    fn backward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>);
    fn step(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        self.forward(inputs, outputs);
        self.backward(inputs, outputs);
    }
    fn answer(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) -> Option<Answer<T>>;
    /// What a backward finds in the outputs, where others have written since the last forward. Not timed.
    fn before_backward(&mut self, _inputs: &Inputs<T>, _outputs: &mut Outputs<T>) {}
}

/// An implementation in this program, on one thread or inside a pool.
pub(crate) struct Here<P> {
    pub(crate) name: String,
    pub(crate) pool: Option<Arc<ThreadPool>>,
    pub(crate) passes: P,
}

/// Where one thread runs: on the core that the first of several has, since cores may differ in speed while a neighbour shares
/// one of them. `None` where no thread can be started.
static ONE: LazyLock<Option<ThreadPool>> = LazyLock::new(|| threads::pool(Some(1)).ok());

/// Runs `work` where it belongs. The way into a pool is taken once per sample, outside of what is timed.
fn within<R: Send>(pool: Option<&Arc<ThreadPool>>, work: impl FnOnce() -> R + Send) -> R {
    match pool.map(Arc::as_ref).or(ONE.as_ref()) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

impl<T: Element, P: Passes<T>> Implementation<T> for Here<P> {
    fn name(&self) -> &str {
        &self.name
    }

    fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads())
    }

    fn time(
        &mut self,
        pass: Pass,
        runs: u32,
        inputs: &Inputs<T>,
        outputs: &mut Outputs<T>,
    ) -> Result<Duration, String> {
        let waking = waking(self.threads());
        let Self { pool, passes, .. } = self;
        if pass == Pass::Backward {
            within(pool.as_ref(), || passes.before_backward(inputs, outputs));
        }
        let mut once = |passes: &mut P| match pass {
            Pass::Forward => passes.forward(inputs, outputs),
            Pass::Backward => passes.backward(inputs, outputs),
            Pass::Step => passes.step(inputs, outputs),
        };
        Ok(within(pool.as_ref(), || {
            let start = Instant::now();
            once(passes);
            while start.elapsed() < waking {
                once(passes);
            }
            let start = Instant::now();
            for _ in 0..runs {
                once(passes);
            }
            start.elapsed()
        }))
    }

    fn answer(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) -> Result<Option<Answer<T>>, String> {
        let Self { pool, passes, .. } = self;
        Ok(within(pool.as_ref(), || passes.answer(inputs, outputs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::parse;
    use bn_conformance::data::X;

    /// How long a pass takes at least.
    const PASS: Duration = Duration::from_micros(100);

    /// Counts its passes, and knows the longest.
    struct Count(u32, Duration);

    impl Passes<f32> for Count {
        fn forward(&mut self, _: &Inputs<f32>, _: &mut Outputs<f32>) {
            let start = Instant::now();
            std::thread::sleep(PASS);
            *self = Self(self.0 + 1, self.1.max(start.elapsed()));
        }
        fn backward(&mut self, _: &Inputs<f32>, _: &mut Outputs<f32>) {}
        fn answer(&mut self, _: &Inputs<f32>, _: &mut Outputs<f32>) -> Option<Answer<f32>> {
            None
        }
    }

    #[test]
    fn threads_are_awake_before_they_are_timed() {
        let inputs = Inputs::<f32>::new(&parse("a NC 2x3").unwrap()[0], X::Normal);
        let passes = |threads: Option<usize>| {
            let pool =
                threads.map(|n| Arc::new(rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap()));
            let mut one = Here { name: "count".into(), pool, passes: Count(0, Duration::ZERO) };
            let time = one.time(Pass::Step, 3, &inputs, &mut Outputs::new(6)).unwrap();
            assert!(time >= 3 * PASS, "{time:?}");
            one.passes
        };
        for (threads, most) in [(None, 10), (Some(1), 10), (Some(2), 100)] {
            // Where a busy machine held up a pass for as long as all that are not timed, their number says nothing.
            let undisturbed = (0..1000).map(|_| passes(threads)).find(|count| count.1 < waking(1));
            let passes = undisturbed.expect("one of a thousand tries is not held up").0;
            assert!((2 + 3..=most + 3).contains(&passes), "{passes} passes on {threads:?} threads");
        }
    }
}

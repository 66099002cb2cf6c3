//! The least that memory allows: a copy for the forward, a triad for the backward, both for a step.
//!
//! It works on the tensors that the layer works on: the same memory, on the same pages, with the same data.
//!
//! The forward must read x and write y, the backward read x and dy and write dx, if each tensor is touched once.
//! With streaming stores a large output costs one transfer, with ordinary ones it is read first; a small one stays
//! in a cache where ordinary stores put it. So there are two floors, and on each shape the faster one counts.
//!
//! On a pool every thread copies a part of its own.

use crate::implementation::{Here, Implementation, Passes};
use crate::inputs::{Answer, Inputs, Outputs};
use bench_mem::stream::{self, words, words_mut};
use bn_core::Element;
use rayon::ThreadPool;
use std::sync::Arc;

/// How a floor writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// Past the caches, a line at a time.
    Streaming,
    /// As any program does.
    Plain,
}

impl Stores {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Streaming, Self::Plain];

    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Streaming => "streaming stores",
            Self::Plain => "plain stores",
        }
    }

    /// The floor with these stores, on one thread or on every thread of a pool.
    #[must_use]
    pub fn floor<T: Element>(self, pool: Option<&Arc<ThreadPool>>) -> Box<dyn Implementation<T>> {
        let parts = pool.map_or(1, |pool| pool.current_num_threads());
        Box::new(Here { name: FLOOR.into(), pool: pool.cloned(), passes: Floor { stores: self, parts } })
    }
}

/// What reports call the floor.
pub const FLOOR: &str = "floor";

struct Floor {
    stores: Stores,
    parts: usize,
}

/// Runs `part` on pieces of the tensors' words, one per thread.
fn each(parts: usize, to: &mut [u16], from: [&[u16]; 2], part: &(impl Fn(&mut [u16], [&[u16]; 2]) + Sync)) {
    if parts < 2 {
        return part(to, from);
    }
    // A multiple of a cache line, so that no line is written by two.
    let at = (to.len() / parts * (parts / 2)).next_multiple_of(stream::GROUP).min(to.len());
    let (left, right) = to.split_at_mut(at);
    let ((a, b), (c, d)) = (from[0].split_at(at), from[1].split_at(at));
    rayon::join(|| each(parts / 2, left, [a, c], part), || each(parts - parts / 2, right, [b, d], part));
}

impl<T: Element> Passes<T> for Floor {
    fn forward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        let (y, x) = (words_mut(&mut outputs.y), words(inputs.x_slice()));
        match self.stores {
            Stores::Streaming => each(self.parts, y, [x, x], &|y, [x, _]| stream::copy(y, x)),
            Stores::Plain => each(self.parts, y, [x, x], &|y: &mut [u16], [x, _]| y.copy_from_slice(x)),
        }
    }

    fn backward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        let dx = words_mut(&mut outputs.dx);
        let from = [words(inputs.x_slice()), words(inputs.dy_slice())];
        match self.stores {
            Stores::Streaming => each(self.parts, dx, from, &stream::triad),
            Stores::Plain => each(self.parts, dx, from, &stream::triad_plain),
        }
    }

    fn answer(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) -> Option<Answer<T>> {
        self.step(inputs, outputs);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::parse;
    use bn_conformance::data::X;
    use half::{bf16, f16};

    #[test]
    fn floors_write_every_element() {
        write_every_element::<f32>();
        write_every_element::<f64>();
        write_every_element::<f16>();
        write_every_element::<bf16>();
    }

    fn write_every_element<T: Element>() {
        let pool = |n| Arc::new(rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
        let (three, two) = (pool(3), pool(2));
        for line in ["a NC 2x3", "a NC 1031x257"] {
            let inputs = Inputs::<T>::new(&parse(line).unwrap()[0], X::Shifted);
            for pool in [None, Some(&two), Some(&three)] {
                for stores in Stores::ALL {
                    let mut outputs = Outputs::new(inputs.x.len());
                    let mut floor = stores.floor::<T>(pool);
                    assert!(floor.answer(&inputs, &mut outputs).unwrap().is_none());
                    assert_eq!(outputs.y, inputs.x_slice(), "{line} {stores:?}");
                    let pairs = words(inputs.x_slice()).iter().zip(words(inputs.dy_slice()));
                    let want: Vec<u16> = pairs.map(|(x, dy)| x ^ dy).collect();
                    assert_eq!(words(&outputs.dx), want, "{line} {} {stores:?}", T::NAME);
                }
            }
        }
    }
}

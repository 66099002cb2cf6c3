//! The least that memory allows: a copy for the forward, a triad for the backward, both for a step.
//!
//! The forward must read x and write y, the backward read x and dy and write dx, if each tensor is touched once.
//! With streaming stores a large output costs one transfer, with ordinary ones it is read first; a small one stays
//! in a cache where ordinary stores put it. So there are two floors, and on each shape the faster one counts.
//!
//! On a pool every thread copies a part of its own.

use crate::implementation::{Here, Implementation, Passes};
use crate::inputs::{Answer, Inputs, Outputs};
use crate::stream;
use bn_core::Real;
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
    pub fn floor<T: Real>(self, pool: Option<&Arc<ThreadPool>>) -> Box<dyn Implementation<T>> {
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

/// Runs `part` on pieces of the tensors, one per thread.
fn each<T: Real>(parts: usize, to: &mut [T], from: [&[T]; 2], part: &(impl Fn(&mut [T], [&[T]; 2]) + Sync)) {
    if parts < 2 {
        return part(to, from);
    }
    // A multiple of a cache line, so that no line is written by two.
    let at = (to.len() / parts * (parts / 2)).next_multiple_of(16).min(to.len());
    let (left, right) = to.split_at_mut(at);
    let ((a, b), (c, d)) = (from[0].split_at(at), from[1].split_at(at));
    rayon::join(|| each(parts / 2, left, [a, c], part), || each(parts - parts / 2, right, [b, d], part));
}

impl<T: Real> Passes<T> for Floor {
    fn forward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        let x = inputs.x_slice();
        match self.stores {
            Stores::Streaming => {
                each(self.parts, &mut outputs.y, [x, x], &|y, [x, _]| stream::copy(y, x));
            }
            Stores::Plain => {
                each(self.parts, &mut outputs.y, [x, x], &|y: &mut [T], [x, _]| y.copy_from_slice(x));
            }
        }
    }

    fn backward(&mut self, inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        let (from, factor) = ([inputs.x_slice(), inputs.dy_slice()], T::from_f64(0.5));
        match self.stores {
            Stores::Streaming => {
                each(self.parts, &mut outputs.dx, from, &|dx, from| stream::triad(dx, from, factor));
            }
            Stores::Plain => {
                each(self.parts, &mut outputs.dx, from, &|dx, from| stream::triad_plain(dx, from, factor));
            }
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

    #[test]
    fn floors_write_every_element() {
        let pool = |n| Arc::new(rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
        let (three, two) = (pool(3), pool(2));
        for line in ["a NC 2x3", "a NC 1031x257"] {
            let inputs = Inputs::<f32>::new(&parse(line).unwrap()[0], X::Shifted);
            for pool in [None, Some(&two), Some(&three)] {
                for stores in Stores::ALL {
                    let mut outputs = Outputs::new(inputs.x.len());
                    let mut floor = stores.floor::<f32>(pool);
                    assert!(floor.answer(&inputs, &mut outputs).unwrap().is_none());
                    assert_eq!(outputs.y, inputs.x_slice(), "{line} {stores:?}");
                    let pairs = inputs.x_slice().iter().zip(inputs.dy_slice());
                    let want: Vec<f32> = pairs.map(|(x, dy)| x + 0.5 * dy).collect();
                    assert_eq!(outputs.dx, want, "{line} {stores:?}");
                }
            }
        }
    }
}

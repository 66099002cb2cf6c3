//! Lets the layer learn its schedules before anything is timed.

use crate::implementation::{Implementation, Pass};
use crate::inputs::{Inputs, Outputs};
use bn_core::Element;
use bn_core::schedule;

/// Passes of a call, and calls at least and at most. A shape that shares its class with another one takes over after 64
/// steps, and learning is over 64 steps later.
const RUNS: u32 = 8;
const LEAST: usize = 9;
const MOST: usize = 48;

/// Runs forward and backward until nothing is tried any more.
///
/// # Errors
/// What keeps it from running, in words.
pub fn settle<T: Element>(
    one: &mut dyn Implementation<T>,
    inputs: &Inputs<T>,
    outputs: &mut Outputs<T>,
) -> Result<(), String> {
    for pass in [Pass::Forward, Pass::Backward] {
        for call in 1..=MOST {
            one.time(pass, RUNS, inputs, outputs)?;
            if call >= LEAST && schedule::learned().iter().all(|learned| learned.settled) {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Kernels;
    use crate::shapes::parse;
    use bn_conformance::data::X;

    #[test]
    fn what_can_be_learned_is_settled() {
        let inputs = Inputs::<f32>::new(&parse("a NCHW 4x16x96x96").unwrap()[0], X::Normal);
        let mut one = Kernels::Dispatch.layer(&inputs, None).unwrap();
        let mut outputs = Outputs::new(inputs.x.len());
        one.answer(&inputs, &mut outputs).unwrap();
        settle(one.as_mut(), &inputs, &mut outputs).unwrap();
        let learned = schedule::learned();
        assert_eq!(learned.len(), 2, "a forward and a backward");
        assert!(learned.iter().all(|learned| learned.settled), "{learned:?}");

        // Of the same classes: what follows is no trial of theirs.
        let inputs = Inputs::<f32>::new(&parse("a NCHW 5x17x97x97").unwrap()[0], X::Normal);
        let mut one = Kernels::Dispatch.layer(&inputs, None).unwrap();
        let mut outputs = Outputs::new(inputs.x.len());
        one.answer(&inputs, &mut outputs).unwrap();
        settle(one.as_mut(), &inputs, &mut outputs).unwrap();
        let times = || {
            schedule::learned()
                .iter()
                .flat_map(|one| one.tried.clone())
                .map(|tried| tried.times)
                .sum::<usize>()
        };
        let before = times();
        one.time(Pass::Forward, 60, &inputs, &mut outputs).unwrap();
        assert_eq!((schedule::learned().len(), times()), (2, before));
    }
}

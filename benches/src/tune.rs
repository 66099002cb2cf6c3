//! Lets the layer learn its schedules before anything is timed.

use crate::implementation::{Implementation, Pass};
use crate::inputs::{Inputs, Outputs};
use bn_core::Element;
use bn_core::schedule;

/// Calls of a pass, at most, and passes of a call: learning is over within 64 steps.
const CALLS: usize = 10;
const RUNS: u32 = 8;

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
        for _ in 0..CALLS {
            one.time(pass, RUNS, inputs, outputs)?;
            if schedule::learned().iter().all(|learned| learned.settled) {
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
    }
}

//! The layer's steps as a framework's graph wants them: slices in, new vectors out, and a state that waits in the graph from the
//! forward to the backward.
//!
//! bn-candle and bn-burn are built on it. A [`Step`] is one call of the layer. The graph holds it:
//!
//! ```
//! use batchnorm::{Activation, RunningVar, Shape};
//! use bn_adapter::{Inputs, Step, Wanted};
//!
//! let step = Step::<f32>::train(Shape::nc(2, 1)?, 1e-5).activation(Activation::Relu);
//! let x = [1.0, 3.0];
//! let y = step.forward(Inputs { weight: Some(&[2.0]), ..Inputs::new(&x) })?;
//! assert_eq!(y[0], 0.0);
//!
//! let (mut mean, mut var) = ([0.0], [1.0]);
//! step.commit(RunningVar::Unbiased, &mut mean, &mut var, 0.1)?;
//! assert_eq!(mean, [0.2]); // 0.9·0 + 0.1·2
//!
//! let gradients = step.backward(&x, None, &[1.0, 1.0], Wanted::ALL)?;
//! assert_eq!(gradients.dbias, Some(vec![1.0])); // what passes ReLU
//! # Ok::<(), batchnorm::Error>(())
//! ```

mod fresh;
mod order;
mod pool;
mod room;
mod step;

pub use order::Order;
pub use pool::Pool;
pub use room::Room;
pub use step::{Gradients, Inputs, Step, Wanted};

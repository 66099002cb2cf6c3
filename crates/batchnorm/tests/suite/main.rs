//! The facade's tests, in one program: the layer is compiled once for all of them. Those that count allocations or set what holds for the
//! whole program have programs of their own.

mod activation;
mod affine;
mod bad_input;
mod buffers;
mod checkpoint;
mod combined;
mod common;
mod damaged;
mod double_backward;
mod fold;
mod frozen;
mod functions;
mod gate;
mod ghost;
mod mask;
mod moments;
mod newcomer;
mod no_panic;
mod non_finite;
mod one_value;
mod optimizer;
mod options;
mod parts;
mod parts_with_options;
mod presets;
mod ranks;
mod renorm;
mod running;
mod saved;
mod serde;
mod settings;
mod two_layers;
mod uninitialized;

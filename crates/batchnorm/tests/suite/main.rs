//! The facade's tests, in one program: the layer is compiled once for all of them. Those that count allocations or set what holds for the
//! whole program have programs of their own.

mod bad_input;
mod functions;
mod moments;
mod newcomer;
mod no_panic;
mod optimizer;
mod parts;
mod saved;
mod serde;
mod settings;
mod two_layers;
mod uninitialized;

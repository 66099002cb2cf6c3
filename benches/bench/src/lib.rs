//! `cargo xtask bench`: the layer on every backend, the textbook and other libraries, against the floor.
//!
//! `plan` says who runs on what, `group` does a shape, `measure` its rounds, `hard` the rows of hard data, `peer` talks to
//! other libraries' programs, `accuracy` compares with the oracle, `baseline` with an earlier run. `table` is what a
//! terminal shows, `report` the page.

mod accuracy;
mod baseline;
mod group;
mod hard;
mod machine;
mod measure;
mod peer;
mod plan;
mod record;
mod report;
mod run;
mod stop;
mod table;

pub use peer::Name;
pub use run::{Options, run};

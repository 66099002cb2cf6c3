//! Conformance: every backend is run through one table, one set of files and one set of identities.
//!
//! A backend joins with one line in its `tests/conformance.rs`:
//!
//! ```no_run
//! # use bn_scalar::Scalar;
//! bn_conformance::assert_conforms(Scalar);
//! ```
//!
//! [`oracle`] is the naive truth, [`number`] what it is computed in, [`table`] the shapes × [`data`], [`hard`] what lies
//! at the ends of the range, [`files`] the cases in `cases/`, [`measure`] the error measure of `cases/README.md`,
//! [`tolerances`] every limit with its reason, [`identities`] what must hold whatever the oracle says, [`suite`] the
//! runner of it all, [`show`] its tables, [`bits`] the runner that needs no oracle, [`golden`] the bits that are committed,
//! [`replay`] the runner of case files alone. Code that is no backend is run through a part of the table with
//! [`assert_textbook`], as a closure from case to results.

pub mod any;
pub mod bits;
mod buffers;
pub mod case;
pub mod data;
pub mod digest;
pub mod eager;
pub mod exact;
mod fetch;
pub mod files;
mod ghosts;
pub mod golden;
pub mod hard;
pub mod identities;
mod judge;
pub mod measure;
pub mod number;
pub mod options;
pub mod oracle;
pub mod oracle_second;
mod pairs;
pub mod parts;
pub mod ranks;
mod renormed;
pub mod replay;
pub mod run;
pub mod search;
pub mod second;
mod shares;
pub mod show;
pub mod suite;
pub mod table;
pub mod together;
pub mod tolerances;

mod textbook;

pub use suite::assert_conforms;
pub use textbook::assert_textbook;

//! The crate's tests, in one program: the layer is compiled once for all of them.

mod files;
mod found;
mod golden;
mod numerics;
mod oracle;
mod ranks;
mod replay;
mod search;
mod sums;
mod wrong;

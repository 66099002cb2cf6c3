//! What the benchmarks share: [`shapes`], the lists of shapes in `shapes/*.txt`, and [`memory`], the allocator's
//! settings.

pub mod memory;
pub mod shapes;

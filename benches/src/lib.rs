//! What the benchmarks share: [`shapes`], the lists of shapes in `shapes/*.txt`.

pub mod shapes;

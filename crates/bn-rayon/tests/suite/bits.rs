//! Threads do not change a bit: every kernel × number of threads gives what the scalar kernels give serially, on
//! shapes that are shared out by features, by nodes of the sums and by rows, whatever their size, the statistics in the wide type
//! included. `cargo xtask bits` does the same with the results on the whole table.

use bn_conformance::case::Case;
use bn_conformance::data::{Dy, X};
use bn_conformance::digest::same_bits;
use bn_conformance::eager::Eager;
use bn_conformance::run::{layer, run};
use bn_conformance::table::{self, LONG, SHAPES};
use bn_core::{Backend, Element, Saved, Workspace};
use bn_dispatch::Dispatch;
use bn_rayon::Rayon;
use bn_scalar::Scalar;
use bn_wide::Wide;

const DATA: &[(X, Dy)] =
    &[(X::Shifted, Dy::Normal), (X::LargestMean, Dy::Tenths), (X::HugeSpread, Dy::Normal)];

/// The statistics in the wide type, where another order of summation shows that rounding to `T` would hide.
fn statistics<T: Element, B: Backend>(case: &Case<T>, backend: B) -> Saved<T> {
    let (bn, mut y) = (layer(case, backend).unwrap(), case.x.clone());
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    bn.forward_uncommitted_into(case.shape().unwrap(), &case.x, &mut y, &mut saved, &mut workspace).unwrap();
    saved
}

fn like_scalar<T: Element, B: Backend + Copy + Send>(threads: usize, backend: B) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for entry in LONG.iter().chain(&SHAPES[SHAPES.len() - 8..]) {
        for (i, &data) in DATA.iter().enumerate() {
            let case = table::inputs::<T>(*entry, data, i);
            let want = run(&case, &Scalar).unwrap();
            let got = pool.install(|| run(&case, &backend)).unwrap();
            let (sums, want_sums) = (pool.install(|| statistics(&case, backend)), statistics(&case, Scalar));
            assert!(sums == want_sums, "{} statistics: {threads} threads", case.name);
            for ((tensor, want), (_, got)) in want.iter().zip(got.iter()) {
                assert!(same_bits(got, want), "{} {tensor}: {threads} threads", case.name);
            }
        }
    }
}

fn every_number_of_threads<T: Element>() {
    let dispatch = Dispatch::default();
    for threads in [1, 2, 3, 7] {
        like_scalar::<T, _>(threads, Rayon(dispatch));
        like_scalar::<T, _>(threads, Eager(Rayon(Scalar)));
        like_scalar::<T, _>(threads, Eager(Rayon(Wide)));
        like_scalar::<T, _>(threads, Eager(Rayon(dispatch)));
    }
}

#[test]
fn threads_do_not_change_a_bit_of_f32() {
    every_number_of_threads::<f32>();
}

#[test]
fn threads_do_not_change_a_bit_of_f64() {
    every_number_of_threads::<f64>();
}

//! [`Fetch`] is a hint: the sums of a tile are the same, whatever is fetched meanwhile.

use crate::data::{normal, rng};
use bn_core::kernel::{Acc, Ahead, Cache, Down, Fetch, Sum, Tile, Walk};
use bn_core::num::Wide;
use bn_core::tensor::Strips;
use bn_core::{Backend, KernelSet, Kernels, Real};

/// A line per tile whose sums change; the smallest has fewer elements than are fetched ahead, the largest more.
pub(crate) fn fetches_change_no_bit<T: Real, B: Backend>(backend: &B) -> Vec<String> {
    let Some(kernels) = backend.kernels().of::<T>() else {
        return vec![format!("fetch: no kernels for {}", T::NAME)];
    };
    let mut failures = Vec::new();
    for (walk, features, len) in [
        (Walk::Runs { inner: 300 }, 3, 900),
        (Walk::Runs { inner: 2500 }, 2, 5000),
        (Walk::Columns, 7, 7),
        (Walk::Columns, 1024, 1024),
    ] {
        for pilot in [None, Some(vec![T::from_f64(0.3); features])] {
            let sums = |fetch| sums(kernels, Tile { features, walk }, fetch, len, pilot.as_deref());
            for fetch in fetches() {
                if sums(fetch) != sums(Fetch::NEAR) {
                    let around = if pilot.is_some() { "a pilot" } else { "0" };
                    failures.push(format!("{fetch:?}: {} {walk:?} around {around}: other bits", T::NAME));
                }
            }
        }
    }
    failures
}

/// Every order with every cache, from near and from farther than the tile is long.
fn fetches() -> impl Iterator<Item = Fetch> {
    let orders = [Down::Across, Down::Far, Down::Behind, Down::Along];
    let aheads = [0, 4096, 1 << 20]
        .into_iter()
        .flat_map(|bytes| [Cache::L1, Cache::L2].map(|into| Ahead { bytes, into }));
    aheads.flat_map(move |ahead| orders.map(|down| Fetch { ahead, down }))
}

/// The lanes of both kernels, of 21 strips: a whole group of them and a part of one.
fn sums<T: Real>(
    kernels: &dyn Kernels<T>,
    tile: Tile,
    fetch: Fetch,
    len: usize,
    pilot: Option<&[T]>,
) -> Vec<f64> {
    const ROWS: usize = 21;
    let mut rng = rng(7);
    let [x, dy] = [(); 2].map(|()| {
        let values = std::iter::repeat_with(|| T::from_f64(normal(&mut rng) + 0.5));
        values.take(ROWS * len).collect::<Vec<T>>()
    });
    let [x, dy] = [&x, &dy].map(|values| {
        Strips::from_slice(values, ROWS, len).unwrap_or_else(|| unreachable!("ROWS strips were made"))
    });
    let width = tile.features * if tile.walk == Walk::Columns { 1 } else { T::LANES };
    let mut lanes = vec![0.0; 4 * T::Wide::PARTS * width];
    let (moments, grads) = lanes.split_at_mut(2 * T::Wide::PARTS * width);
    kernels.sum(tile, &Sum::Moments { x, pilot }, fetch, Acc::new(moments, width));
    kernels.sum(tile, &Sum::Grads { x, dy, pilot, gate: None }, fetch, Acc::new(grads, width));
    lanes
}

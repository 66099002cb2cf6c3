//! The kernels that go in turns do what their two parts do, one after the other.

use crate::data::{normal, rng};
use bn_core::kernel::{
    Acc, Affine, Ahead, Cache, GradAffine, Map, Out, Post, Sum, Tile, Turns, Units, Walk, map_then_sum,
};
use bn_core::num::Wide;
use bn_core::tensor::{Strips, StripsMut};
use bn_core::{Backend, KernelSet, Kernels, Real};

const ROWS: usize = 3;
/// Elements of a strip, and of the tensor's from one strip's beginning to the next.
const STRIDE: usize = 11_000;

/// A line per pair and tile whose map or sums change: runs of whole and of ragged chunks, outputs that begin anywhere in a
/// cache line, blocks that fit L2 together and a block that does not.
pub(crate) fn pairs_are_their_parts<T: Real, B: Backend>(backend: &B) -> Vec<String> {
    let Some(kernels) = backend.kernels().of::<T>() else {
        return vec![format!("pairs: no kernels for {}", T::NAME)];
    };
    let tensor = Tensor::<T>::new();
    let mut failures = Vec::new();
    for (features, inner, unit) in [
        (1, 257, (ROWS, 257)),
        (3, 259, (2, 259)),
        (2, 512, (1, 512)),
        (5, 783, (ROWS, 783)),
        (2, 3136, (1, 1000)),
        (1, 10_000, (1, 8192)),
    ] {
        for offset in [0, 1, 7, 15] {
            let tile = Tile { features, walk: Walk::Runs { inner } };
            for backward in [false, true] {
                let run = |turns| tensor.run(kernels, (tile, unit), offset, backward, turns);
                let apart = run(None);
                if fetched().any(|turns| run(Some(turns)) != apart) {
                    let pass = if backward { "backward" } else { "forward" };
                    failures.push(format!(
                        "pairs: {} {pass} {features}×{inner} at {offset}: other bits",
                        T::NAME
                    ));
                }
            }
        }
    }
    failures
}

/// What is fetched meanwhile: nothing, what is near, and what lies behind the tensor.
fn fetched() -> impl Iterator<Item = Turns> {
    let ahead = |bytes, into| Ahead { bytes, into };
    [(0, 0, Cache::L1), (4096, 1024, Cache::L1), (8192, 512, Cache::L2), (1 << 20, 1 << 20, Cache::L2)]
        .into_iter()
        .map(move |(summed, mapped, into)| Turns {
            summed: ahead(summed, into),
            mapped: ahead(mapped, Cache::L1),
        })
}

/// Inputs of a block and of the next one, and coefficients.
struct Tensor<T> {
    inputs: [Vec<T>; 4],
    coefs: [Vec<T>; 5],
}

impl<T: Real> Tensor<T> {
    fn new() -> Self {
        let mut rng = rng(11);
        let mut values = |n: usize| (0..n).map(|_| T::from_f64(normal(&mut rng) + 0.5)).collect::<Vec<T>>();
        let inputs = [(); 4].map(|()| values(ROWS * STRIDE));
        Self { inputs, coefs: [(); 5].map(|()| values(8)) }
    }

    /// What the map writes, with what is around it, and the lanes of each unit of so many strips and values of a run.
    fn run(
        &self,
        kernels: &dyn Kernels<T>,
        (tile, (rows, run)): (Tile, (usize, usize)),
        offset: usize,
        backward: bool,
        turns: Option<Turns>,
    ) -> (Vec<T>, Vec<f64>) {
        let Walk::Runs { inner } = tile.walk else { unreachable!("tiles are of runs") };
        let cols = offset..offset + tile.features * inner;
        let whole = |v| Strips::from_slice(v, ROWS, STRIDE).unwrap_or_else(|| unreachable!("ROWS of STRIDE"));
        let [x, dy, next_x, next_dy] = self.inputs.each_ref().map(|v| whole(v).columns(cols.clone()));
        let [k, a, c, d, m] = self.coefs.each_ref().map(|v| &v[..tile.features]);
        let width = tile.features * T::LANES;
        let (mut out, mut lanes) = (vec![T::default(); ROWS * STRIDE], vec![0.0; 2 * T::Wide::PARTS * width]);
        let strips = StripsMut::from_output((&mut out).into(), ROWS, STRIDE);
        let mut strips = strips.unwrap_or_else(|| unreachable!("ROWS of STRIDE"));
        let (to, acc) = (strips.columns(cols), Acc::new(&mut lanes, width));
        let (map, next) = if backward {
            let map = Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: None };
            (map, Sum::Grads { x: next_x, dy: next_dy, pilot: None, gate: None })
        } else {
            let map = Map::Normalize { x, affine: Affine { k, a, b: d }, post: Post::Pass };
            (map, Sum::Moments { x: next_x, pilot: None })
        };
        let mut sums = Vec::new();
        let done = &mut |acc: &mut Acc<'_>| {
            for plane in [&acc.first, &acc.second] {
                sums.extend(plane.hi.iter().chain(&*plane.lo).copied());
            }
            acc.clear();
        };
        let units = Units { acc, rows, run, done };
        match turns {
            Some(turns) => kernels.map_and_sum(tile, &map, Out::Fresh(to), &next, turns, units),
            None => map_then_sum(kernels, tile, &map, Out::Fresh(to), &next, units),
        }
        (out, sums)
    }
}

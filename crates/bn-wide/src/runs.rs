//! Sums of a feature's values side by side (inner > 1): over lanes.
//!
//! 1. A run is gone over for H of its G vectors of eight lanes at a time, as many as there are registers for. The features of a
//!    strip come one after the other, the lanes wait in the accumulator meanwhile.
//! 2. The elements behind the last whole step are added lane by lane, in the accumulator.

use crate::sum::{Door, Eight, add, add_about, load, load_all, store, store_all};
use crate::vector::Item;
use bn_core::kernel::{Acc, Cache, Fetch, Gate, Sum};
use bn_core::mem::prefetch;
use bn_core::tensor::Strips;
use bn_core::walk::{Held, Same, Sums, TURN};

/// Adds `sum` of runs of `inner` elements.
pub(crate) fn sum<T: Item, const G: usize, const H: usize>(
    inner: usize,
    sum: &Sum<'_, T>,
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    match *sum {
        // Into which cache is not a variable: a branch in the loop costs registers.
        Sum::Moments { x, pilot } if fetch.ahead.into == Cache::L2 => {
            reduce::<T, G, H, 1, true, false>(inner, [x], (pilot, None), fetch, acc);
        }
        Sum::Moments { x, pilot } => {
            reduce::<T, G, H, 1, false, false>(inner, [x], (pilot, None), fetch, acc);
        }
        Sum::Grads { x, dy, pilot, gate: None } if fetch.ahead.into == Cache::L2 => {
            reduce::<T, G, H, 2, true, false>(inner, [x, dy], (pilot, None), fetch, acc);
        }
        Sum::Grads { x, dy, pilot, gate: None } => {
            reduce::<T, G, H, 2, false, false>(inner, [x, dy], (pilot, None), fetch, acc);
        }
        Sum::Grads { x, dy, pilot, gate } => {
            reduce::<T, G, H, 2, false, true>(inner, [x, dy], (pilot, gate), fetch, acc);
        }
    }
}

fn reduce<T: Item, const G: usize, const H: usize, const N: usize, const INTO_L2: bool, const GATED: bool>(
    inner: usize,
    inputs: [Strips<'_, T>; N],
    (pilot, gate): (Option<&[T]>, Option<Gate<'_, T>>),
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    let ahead = fetch.ahead.elements::<T>(N);
    for row in 0..inputs[0].rows() {
        let strips = inputs.each_ref().map(|input| input.strip(row));
        for f in 0..strips[0].len() / inner {
            let runs = strips.map(|strip| &strip[f * inner..][..inner]);
            let ask = |at| {
                for run in runs {
                    if INTO_L2 {
                        prefetch::line::<T, false>(run, at + ahead);
                    } else {
                        prefetch::line::<T, true>(run, at + ahead);
                    }
                }
            };
            let door = Door::<T, GATED>::of(gate, f);
            match pilot.map(|pilot| pilot[f].to_f64()) {
                None => add_run::<T, G, H>(
                    acc,
                    f * 8 * G,
                    inner,
                    |sums, at| {
                        ask(at);
                        add::<T, Eight, true, N, GATED>(sums, runs, at, door);
                    },
                    |sum, at| add::<T, f64, false, N, GATED>(sum, runs, at, door),
                ),
                Some(k) => add_run::<T, G, H>(
                    acc,
                    f * 8 * G,
                    inner,
                    |sums, at| {
                        ask(at);
                        add_about::<T, Eight, N, GATED>(sums, runs, at, Eight::from(k), door);
                    },
                    |sum, at| add_about::<T, f64, N, GATED>(sum, runs, at, k, door),
                ),
            }
        }
    }
}

/// Adds a run of `inner` elements to the 8·G lanes from `start` on: `vector` takes eight elements, `number` one.
#[inline(always)]
fn add_run<T: Item, const G: usize, const H: usize>(
    acc: &mut Acc<'_>,
    start: usize,
    inner: usize,
    vector: impl Fn(&mut Sums<Eight>, usize),
    number: impl Fn(&mut Sums<f64>, usize),
) {
    let whole = inner / (8 * G) * (8 * G);
    let piece = if G == H { whole } else { TURN };
    for from in (0..whole).step_by(piece.max(1)) {
        let to = (from + piece).min(whole);
        for part in (0..8 * G).step_by(8 * H) {
            let mut vectors = load_all::<T, Eight, H>(acc, start + part);
            for at in (from + part..to).step_by(8 * G) {
                for (h, sums) in vectors.iter_mut().enumerate() {
                    vector(sums, at + 8 * h);
                }
            }
            store_all::<T, Eight, H>(&vectors, acc, start + part);
        }
    }
    for at in whole..inner {
        let lane = start + at - whole;
        let mut sum = load::<T, f64>(acc, lane);
        number(&mut sum, at);
        store::<T, f64>(&sum, acc, lane);
    }
}

/// H vectors of lanes that are summed while something is mapped; with GATED of what passes a gate.
#[derive(Clone, Copy)]
pub(crate) struct Paired<const H: usize, const GATED: bool>([Sums<Eight>; H]);

impl<T: Item, const W: usize, const H: usize, const GATED: bool> Held<T, Same, W> for Paired<H, GATED> {
    type Door = Door<T, GATED>;

    #[inline(always)]
    fn door(gate: Option<Gate<'_, T>>, f: usize) -> Self::Door {
        Door::<T, GATED>::of(gate, f)
    }
    #[inline(always)]
    fn load(acc: &mut Acc<'_>, at: usize) -> Self {
        const { assert!(W == 8 * H) };
        Self(load_all::<T, Eight, H>(acc, at))
    }
    #[inline(always)]
    fn store(self, acc: &mut Acc<'_>, at: usize) {
        store_all::<T, Eight, H>(&self.0, acc, at);
    }
    #[inline(always)]
    fn add<const N: usize>(&mut self, _: Same, door: &Self::Door, chunk: [&[T; W]; N]) {
        let inputs = chunk.map(|values| &values[..]);
        for h in 0..H {
            add::<T, Eight, true, N, GATED>(&mut self.0[h], inputs, 8 * h, *door);
        }
    }
    #[inline(always)]
    fn add_end<const N: usize>(
        _: Same,
        acc: &mut Acc<'_>,
        (f, door): (usize, &Self::Door),
        runs: [&[T]; N],
        n: usize,
    ) {
        if T::LANES == 4 * 8 {
            add_run::<T, 4, H>(
                acc,
                f * T::LANES,
                n,
                |sums, at| add::<T, Eight, true, N, GATED>(sums, runs, at, *door),
                |sum, at| add::<T, f64, false, N, GATED>(sum, runs, at, *door),
            );
        } else {
            unreachable!("pairs are of f32");
        }
    }
}

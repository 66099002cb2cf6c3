//! Sums of one value per feature and strip (inner = 1): down the strips.
//!
//! As many vectors of features as there are registers for go down a stack of strips that stays in L1 at a time; the features
//! behind the last whole vector go one by one.

use crate::sum::{Doors, Eight, VECTORS, add, add_about, load_all, store_all};
use crate::vector::{Item, Register};
use bn_core::kernel::{Acc, Fetch, Gate, Sum};
use bn_core::tensor::Strips;
use bn_core::walk::{EachStack, Stack, low_stacks, stacks};
use std::ops::Range;

/// Adds `sum` of columns.
pub(crate) fn sum<T: Item>(sum: &Sum<'_, T>, fetch: Fetch, acc: &mut Acc<'_>) {
    match *sum {
        Sum::Moments { x, pilot } => reduce::<T, 1, false>(&[x], (pilot, None), fetch, acc),
        Sum::Grads { x, dy, pilot, gate: None } => reduce::<T, 2, false>(&[x, dy], (pilot, None), fetch, acc),
        Sum::Grads { x, dy, pilot, gate } => reduce::<T, 2, true>(&[x, dy], (pilot, gate), fetch, acc),
    }
}

fn reduce<T: Item, const N: usize, const GATED: bool>(
    inputs: &[Strips<'_, T>; N],
    (pilot, gate): (Option<&[T]>, Option<Gate<'_, T>>),
    fetch: Fetch,
    acc: &mut Acc<'_>,
) {
    let len = inputs[0].len();
    match pilot {
        None if GATED => {
            low_stacks(inputs, fetch, &mut Columns::<T, false, GATED> { pilots: &[], gate, acc, len });
        }
        None => stacks(inputs, fetch, &mut Columns::<T, false, GATED> { pilots: &[], gate, acc, len }),
        Some(pilots) => {
            low_stacks(inputs, fetch, &mut Columns::<T, true, GATED> { pilots, gate, acc, len });
        }
    }
}

/// Adds the columns of stacks of strips: several vectors at a time, one, and single ones.
struct Columns<'s, 'a, T, const AROUND: bool, const GATED: bool> {
    pilots: &'s [T],
    gate: Option<Gate<'s, T>>,
    acc: &'s mut Acc<'a>,
    len: usize,
}

impl<T: Item, const N: usize, const AROUND: bool, const GATED: bool> EachStack<T, N>
    for Columns<'_, '_, T, AROUND, GATED>
{
    #[inline(always)]
    fn take<const R: usize>(&mut self, stack: &Stack<'_, T, N, R>) {
        let (wide, whole) = (self.len / (8 * VECTORS) * (8 * VECTORS), self.len / 8 * 8);
        self.add_chunks::<Eight, true, VECTORS, { 8 * VECTORS }, N, R>(stack, 0..wide);
        self.add_chunks::<Eight, true, 1, 8, N, R>(stack, wide..whole);
        self.add_chunks::<f64, false, 1, 1, N, R>(stack, whole..self.len);
    }
}

impl<T: Item, const AROUND: bool, const GATED: bool> Columns<'_, '_, T, AROUND, GATED> {
    #[inline(always)]
    fn add_chunks<
        V: Register,
        const FUSED: bool,
        const G: usize,
        const W: usize,
        const N: usize,
        const R: usize,
    >(
        &mut self,
        stack: &Stack<'_, T, N, R>,
        cols: Range<usize>,
    ) {
        let Self { pilots, gate, acc, .. } = self;
        let start = cols.start;
        stack.chunks::<W>(cols, |i, rows| {
            let at = start + i * W;
            let mut sums = load_all::<T, V, G>(acc, at);
            let mut k = [V::from(0.0); G];
            if AROUND {
                for g in 0..G {
                    k[g] = V::widen(&pilots[at + 8 * g..]);
                }
            }
            for r in 0..R {
                let inputs = rows[r].map(|values| &values[..]);
                for g in 0..G {
                    let door = Doors::<T, GATED>::of(*gate, at + 8 * g);
                    if AROUND {
                        add_about::<T, V, N, GATED>(&mut sums[g], inputs, 8 * g, k[g], door);
                    } else {
                        add::<T, V, FUSED, N, GATED>(&mut sums[g], inputs, 8 * g, door);
                    }
                }
            }
            store_all::<T, V, G>(&sums, acc, at);
        });
    }
}

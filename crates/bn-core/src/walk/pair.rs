//! A block that is summed while another one is mapped past the caches: the map waits for memory to take what it writes, the
//! sums wait for what they read, and memory does both at once.
//!
//! 1. A step maps as many elements as it sums, so that both stay in registers; small turns are what it takes.
//! 2. Where registers hold only a part of the lanes, a stretch of a run is gone through once for each part, and each time an
//!    equal share of it is mapped.
//! 3. What is behind the last whole step of a run is summed by the kernel crate's own way.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, begin, lines, ones};
use super::gate::{Activated, Through};
use super::linear::{Formula, GradInput, Mapped, Normalize};
use super::maps::of;
use super::vector::Vector;
use crate::kernel::{Acc, Affine, Cache, Gate, GradAffine, Map, Out, Post, Sum, Turns, Units};
use crate::mem::{Stores, prefetch};
use crate::num::{Element, Real};
use crate::tensor::{Strips, StripsMut};

/// Elements that are mapped while as many are summed, for one part of the lanes after the other, where not all of them stay in
/// registers. Measured.
pub const TURN: usize = 1024;

/// A strip of each input of either block, and the ones after those that are summed.
#[derive(Clone, Copy, Debug)]
struct Beside<'m, 's, T, const N: usize> {
    /// What is mapped.
    mapped: [&'m [T]; N],
    /// What is summed.
    summed: [&'s [T]; N],
    behind: [&'s [T]; N],
    /// How far ahead either is fetched, in elements of a strip, and whether into L1; 0 where what is mapped is not.
    summed_ahead: usize,
    summed_near: bool,
    mapped_ahead: usize,
}

impl<'m, 's, T: Copy, const N: usize> Beside<'m, 's, T, N> {
    /// Strip `row` of each of `own`, which is mapped, and of `next`, which is summed, fetched as `turns` says.
    #[inline(always)]
    fn new(own: &[Strips<'m, T>; N], next: &[Strips<'s, T>; N], row: usize, turns: Turns) -> Self {
        // Not `map`, which is not inlined everywhere.
        let mut beside = Self {
            mapped: [&[]; N],
            summed: [&[]; N],
            behind: [&[]; N],
            summed_ahead: turns.summed.elements::<T>(N),
            summed_near: turns.summed.into == Cache::L1,
            mapped_ahead: turns.mapped.elements::<T>(1),
        };
        for i in 0..N {
            beside.mapped[i] = own[i].strip(row);
            (beside.summed[i], beside.behind[i]) = (next[i].strip(row), next[i].strip_or_behind(row + 1));
        }
        beside
    }

    /// Asks for `n` elements of each strip, well behind element `at`: what is summed, be it in the next strip, and what is mapped,
    /// into L1.
    #[inline(always)]
    fn ask(&self, at: usize, n: usize) {
        let next = at + self.summed_ahead;
        let len = self.summed[0].len();
        let (strips, next) = if next < len { (self.summed, next) } else { (self.behind, next - len) };
        for strip in strips {
            if self.summed_near {
                prefetch::range::<T, true>(strip, next, n);
            } else {
                prefetch::range::<T, false>(strip, next, n);
            }
        }
        if self.mapped_ahead > 0 {
            for strip in self.mapped {
                prefetch::range::<T, true>(strip, at + self.mapped_ahead, n);
            }
        }
    }
}

/// W lanes of both sums in registers, of T around 0; elements are converted as a C does.
pub trait Held<T: Element, C, const W: usize>: Copy {
    /// What a feature's elements pass before they are added.
    type Door: Copy;

    /// That of feature `f`.
    fn door(gate: Option<Gate<'_, T::Compute>>, f: usize) -> Self::Door;
    /// The lanes from `at` on.
    fn load(acc: &mut Acc<'_>, at: usize) -> Self;
    /// Puts them back.
    fn store(self, acc: &mut Acc<'_>, at: usize);
    /// Adds W elements of each input: of one input, x, its moments; of two, x and dy, the sums of the backward.
    fn add<const N: usize>(&mut self, by: C, door: &Self::Door, chunk: [&[T; W]; N]);
    /// Adds the `n` elements that a run of feature `f` has behind its last whole step.
    fn add_end<const N: usize>(
        by: C,
        acc: &mut Acc<'_>,
        feature: (usize, &Self::Door),
        runs: [&[T]; N],
        n: usize,
    );
}

/// Whether [`map_and_sum`] knows this pair of operations.
#[must_use]
pub fn take_turns<T: Element>(map: &Map<'_, T>, next: &Sum<'_, T>) -> bool {
    match (map, next) {
        (Map::Normalize { post: Post::Pass, .. }, Sum::Moments { pilot: None, .. })
        | (Map::GradInput { gate: None, .. }, Sum::Grads { pilot: None, gate: None, .. }) => true,
        (Map::Normalize { post: Post::Clamp(clamp), .. }, Sum::Moments { pilot: None, .. }) => {
            clamp.is_relu()
        }
        (Map::GradInput { gate: Some(_), .. }, Sum::Grads { pilot: None, gate: Some(gate), .. }) => {
            gate.clamp.is_relu()
        }
        _ => false,
    }
}

/// Maps runs of `inner` elements past the caches, P lines of L elements at a time, of which V holds K, and sums as many elements of `next`, which
/// is another block of the same size. They must be such that they [`take_turns`].
#[inline(always)]
pub fn map_and_sum<
    T,
    V,
    C,
    H,
    G,
    const W: usize,
    const K: usize,
    const L: usize,
    const P: usize,
    const BYTES: usize,
>(
    inner: usize,
    map: &Map<'_, T>,
    out: Out<'_, T>,
    stores: &Stores<BYTES>,
    by: C,
    (next, turns): (&Sum<'_, T>, Turns),
    units: &mut Units<'_>,
) where
    T: Stored,
    V: Vector<T::Compute>,
    C: Convert<T>,
    H: Held<T, C, W>,
    G: Held<T, C, W>,
{
    let Out::Fresh(out) = out;
    match (*map, *next) {
        (
            Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Pass },
            Sum::Moments { x: next, pilot: None },
        ) => in_turns::<T, V, C, _, H, W, K, L, P, 1, 3, BYTES>(
            inner,
            (&[x], [k, a, b], Normalize),
            out,
            (stores, by, turns),
            (&[next], None),
            units,
        ),
        (
            Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: None },
            Sum::Grads { x: next_x, dy: next_dy, pilot: None, gate: None },
        ) => in_turns::<T, V, C, _, H, W, K, L, P, 2, 5, BYTES>(
            inner,
            (&[x, dy], [k, a, c, d, m], GradInput),
            out,
            (stores, by, turns),
            (&[next_x, next_dy], None),
            units,
        ),
        (
            Map::Normalize { x, affine: Affine { k, a, b }, post: Post::Clamp(clamp) },
            Sum::Moments { x: next, pilot: None },
        ) => in_turns::<T, V, C, _, H, W, K, L, P, 1, 3, BYTES>(
            inner,
            (&[x], [k, a, b], Activated::<_, true>(clamp)),
            out,
            (stores, by, turns),
            (&[next], None),
            units,
        ),
        (
            Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: Some(gate) },
            Sum::Grads { x: next_x, dy: next_dy, pilot: None, gate: Some(next) },
        ) => in_turns::<T, V, C, _, G, W, K, L, P, 2, 6, BYTES>(
            inner,
            (&[x, dy], [k, a, c, d, m, gate.affine.b], Through::<_, true>(gate.clamp)),
            out,
            (stores, by, turns),
            (&[next_x, next_dy], Some(next)),
            units,
        ),
        _ => unreachable!("operations that do not take turns"),
    }
}

/// What is mapped: the inputs, the coefficients of each feature, and the formula.
type Own<'o, 'a, T, F, const N: usize, const M: usize> =
    (&'o [Strips<'a, T>; N], [&'o [<T as Element>::Compute]; M], F);

#[inline(always)]
fn in_turns<
    T,
    V,
    C,
    F,
    H,
    const W: usize,
    const K: usize,
    const L: usize,
    const P: usize,
    const N: usize,
    const M: usize,
    const BYTES: usize,
>(
    inner: usize,
    (own, coefs, formula): Own<'_, '_, T, F, N, M>,
    mut out: StripsMut<'_, T>,
    (stores, by, turns): (&Stores<BYTES>, C, Turns),
    (next, gate): (&[Strips<'_, T>; N], Option<Gate<'_, T::Compute>>),
    units: &mut Units<'_>,
) where
    T: Stored,
    V: Vector<T::Compute>,
    C: Convert<T>,
    F: Formula<T::Compute, N, M>,
    H: Held<T, C, W>,
{
    let (lanes, step_len) = (T::Compute::LANES, P * L);
    const { assert!((P * L).is_multiple_of(W) && T::Compute::LANES.is_multiple_of(W)) };
    // Chunks of a part to a step: more than one where registers hold fewer lanes than a line has elements.
    let (parts, chunks_of_step) = (lanes / W, step_len / W);
    for (rows, part) in units.each(out.rows(), inner) {
        let acc = &mut units.acc;
        for row in rows {
            out.prefetch(row + 1);
            let beside = Beside::new(own, next, row, turns);
            for (f, out) in out.strip_mut(row).chunks_exact(inner).enumerate() {
                let (cols, lane) = (f * inner + part.start..f * inner + part.end, f * lanes);
                let (_, out) = out.split_at(part.start);
                let (out, _) = out.split_at(part.len());
                let runs = beside.summed.map(|strip| &strip[cols.clone()]);
                let door = H::door(gate, f);
                let inputs = beside.mapped.map(|strip| &strip[cols.clone()]);
                let map = Mapped::<_, _, _, _, N, M, K> { by, inputs, coefs: of(coefs, f), formula };
                let (start, all, tail) = begin::<T, V, L>(out, &map);
                let value = LineMap::<T, V>::lines::<L>(&map, start, all.len());
                let end = start + all.len() * L;
                let (paired, odd) = all.split_at_mut(all.len() / (P * parts) * (P * parts));
                let (steps, _) = paired.as_chunks_mut::<P>();
                let summed = steps.len();
                let chunks = runs.map(|run| lines::<T, W>(run, 0, summed * chunks_of_step));
                let turn = if parts == 1 { summed } else { TURN / step_len };
                for first in (0..summed).step_by(turn.max(1)) {
                    let count = turn.min(summed - first) / parts;
                    for part in 0..parts {
                        // Stored again before anything else is done: else they are spilled in the loop, and those stores wait for
                        // the ones past the caches.
                        let mut held = H::load(acc, lane + part * W);
                        let at = first + part * count;
                        for (i, step) in steps[at..at + count].iter_mut().enumerate() {
                            beside.ask(cols.start + (at + i) * step_len, step_len);
                            for j in 0..chunks_of_step {
                                let chunk = (first + i * parts) * chunks_of_step + j * parts + part;
                                held.add(by, &door, chunks.map(|chunks| &chunks[chunk]));
                            }
                            for (j, line) in step.iter_mut().enumerate() {
                                stores.write(line, value((at + i) * P + j));
                            }
                        }
                        held.store(acc, lane + part * W);
                    }
                }
                for (j, line) in odd.iter_mut().enumerate() {
                    stores.write(line, value(summed * P + j));
                }
                ones::<T, V>(tail, end, &map);
                let end = summed * step_len;
                H::add_end(by, acc, (f, &door), runs.map(|run| &run[end..]), part.len() - end);
            }
        }
        units.done();
    }
}

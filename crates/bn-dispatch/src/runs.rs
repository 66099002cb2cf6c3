//! Sums of a feature's values side by side (inner > 1): over lanes.
//!
//! 1. Sums go feature by feature through a window of strips, so that the lanes stay in registers. The runs are far
//!    apart in memory, but the block is in L2, or fetched there while the block before was mapped.
//! 2. Where a level's registers hold only a part of the lanes, the runs of a window are walked once per part.
//! 3. What is left of a run behind its last chunk is taken eight lanes at a time. The last eight read on into the
//!    next feature and mask what is not theirs; only at a strip's end they are copied.

use crate::sum::{Door, Lanes, Passed, Term, Zero, add, padded};
use bn_core::kernel::{Acc, Ahead, Gate};
use bn_core::mem::prefetch;
use bn_core::tensor::Strips;
use bn_core::walk::{Convert, Held, lines};
use bn_core::{Element, Real};
use std::hint::black_box;
use std::marker::PhantomData;

/// The most strips of a window.
const WINDOW: usize = 16;

/// The strips of a window, of N inputs, and the ones behind them, which are fetched while the last ones are summed.
struct Window<'a, T, const N: usize> {
    strips: [[&'a [T]; N]; WINDOW + 1],
    rows: usize,
}

impl<'a, T, const N: usize> Window<'a, T, N> {
    /// The strips of each of `inputs` from `start` on, at most [`WINDOW`].
    #[inline(always)]
    fn new(inputs: &[Strips<'a, T>; N], start: usize) -> Self {
        let mut strips: [[&[T]; N]; WINDOW + 1] = [[&[]; N]; WINDOW + 1];
        for (i, strips) in strips.iter_mut().enumerate() {
            for (strip, input) in strips.iter_mut().zip(inputs) {
                *strip = input.strip_or_behind(start + i);
            }
        }
        Self { strips, rows: WINDOW.min(inputs[0].rows().saturating_sub(start)) }
    }

    /// Strip `i` of the window of each input, or the one behind the last; nothing where there is none.
    #[inline(always)]
    fn strips(&self, i: usize) -> [&'a [T]; N] {
        self.strips.get(i).copied().unwrap_or([&[]; N])
    }
}

/// The chunks of `W` lanes of a run of `inner` elements that begin at lane `part` of `total`: how many are whole,
/// and how many elements the one behind them has.
#[inline(always)]
fn chunks<const W: usize>(inner: usize, part: usize, total: usize) -> (usize, usize) {
    let whole = if inner < part + W { 0 } else { (inner - part - W) / total + 1 };
    (whole, inner.saturating_sub(part + whole * total))
}

/// The virtual lanes of a feature.
const fn lanes_of<T: Element>() -> usize {
    T::Compute::LANES
}

/// Adds runs of `inner` elements of N inputs around `term`, W lanes at a time, converted as `by` does. What comes next is fetched from as far `ahead`, into L1, or
/// with `INTO_L2` into L2.
#[inline(always)]
pub(crate) fn sum<T: Element, S: Term<T::Compute>, const W: usize, const N: usize, const INTO_L2: bool>(
    inner: usize,
    inputs: &[Strips<'_, T>; N],
    term: S,
    ahead: Ahead,
    by: impl Convert<T>,
    acc: &mut Acc<'_>,
) {
    let ahead = ahead.elements::<T>(N).min(inner);
    for start in (0..inputs[0].rows()).step_by(WINDOW) {
        let window = Window::new(inputs, start);
        for f in 0..inputs[0].len() / inner {
            for part in (0..lanes_of::<T>()).step_by(W) {
                let (whole, rest) = chunks::<W>(inner, part, lanes_of::<T>());
                if whole == 0 && rest == 0 {
                    continue;
                }
                let start_of_run = f * inner + part;
                let around = term.feature::<W>(f);
                let mut lanes = Lanes::<W>::load::<T::Compute>(acc, f * lanes_of::<T>() + part);
                for row in 0..window.rows {
                    let (strips, behind) = (window.strips(row), window.strips(row + 1));
                    let runs = every::<T, W, N>(strips, start_of_run, whole);
                    for i in 0..whole {
                        if part == 0 {
                            let at = i * lanes_of::<T>() + ahead;
                            let (strips, at) = if at < inner { (strips, at) } else { (behind, at - inner) };
                            for strip in strips {
                                if INTO_L2 {
                                    prefetch::range::<T, false>(strip, start_of_run + at, lanes_of::<T>());
                                } else {
                                    prefetch::range::<T, true>(strip, start_of_run + at, lanes_of::<T>());
                                }
                            }
                        }
                        add::<T, S, W, N>(by, &mut lanes, &around, pick(runs, i * (lanes_of::<T>() / W)), W);
                    }
                    if rest > 0 {
                        let runs = behind_all(strips, start_of_run + whole * lanes_of::<T>());
                        add_rest(term, by, f, &mut lanes, runs, rest);
                    }
                }
                lanes.store::<T::Compute>(acc, f * lanes_of::<T>() + part);
            }
        }
    }
}

/// The chunks of W elements from `start` on, of which `whole` are picked, [`Real::LANES`] apart. That they are there is seen
/// once. Not `map`, here and below: an array's is a dozen functions to the compiler, and not inlined everywhere.
#[inline(always)]
fn every<T: Element, const W: usize, const N: usize>(
    strips: [&[T]; N],
    start: usize,
    whole: usize,
) -> [&[[T; W]]; N] {
    let n = if whole == 0 { 0 } else { (whole - 1) * (lanes_of::<T>() / W) + 1 };
    let mut chunks: [&[[T; W]]; N] = [&[]; N];
    for k in 0..N {
        chunks[k] = lines::<T, W>(strips[k], start, n);
    }
    chunks
}

/// Item `i` of each.
#[inline(always)]
fn pick<V, const N: usize>(of: [&[V]; N], i: usize) -> [&V; N] {
    let mut picked = [&of[0][i]; N];
    for k in 1..N {
        picked[k] = &of[k][i];
    }
    picked
}

/// What there is of each from element `at` on.
#[inline(always)]
fn behind_all<T, const N: usize>(of: [&[T]; N], at: usize) -> [&[T]; N] {
    let mut rest: [&[T]; N] = [&[]; N];
    for k in 0..N {
        rest[k] = &of[k][at..];
    }
    rest
}

/// The W elements of each from `at` on, or zeros where there are none.
#[inline(always)]
fn padded_all<T: Element, const W: usize, const N: usize>(of: [&[T]; N], at: usize) -> [[T; W]; N] {
    let mut chunks = [[T::default(); W]; N];
    for k in 0..N {
        chunks[k] = padded(of[k], at);
    }
    chunks
}

/// References to each.
#[inline(always)]
fn refs<V, const N: usize>(of: &[V; N]) -> [&V; N] {
    let mut refs = [&of[0]; N];
    for k in 1..N {
        refs[k] = &of[k];
    }
    refs
}

/// `n`, of which the compiler knows nothing. That it is neither 0 nor all it would use for the first lane and the last, which
/// no longer make a vector with the others then, in the loop before as well.
#[inline(always)]
fn any(n: usize) -> usize {
    black_box(n)
}

/// Adds the first `rest` elements of each run, which are fewer than W, eight at a time.
#[inline(always)]
fn add_rest<T: Element, S: Term<T::Compute>, const W: usize, const N: usize>(
    term: S,
    by: impl Convert<T>,
    f: usize,
    lanes: &mut Lanes<W>,
    runs: [&[T]; N],
    rest: usize,
) {
    if W <= 8 {
        return add::<T, S, W, N>(by, lanes, &term.feature::<W>(f), refs(&padded_all(runs, 0)), any(rest));
    }
    // Not a loop: the lanes stay in registers only where their numbers are known.
    add_eight::<T, S, 0, W, N>(term, by, f, lanes, runs, rest);
    add_eight::<T, S, 8, W, N>(term, by, f, lanes, runs, rest);
    add_eight::<T, S, 16, W, N>(term, by, f, lanes, runs, rest);
    add_eight::<T, S, 24, W, N>(term, by, f, lanes, runs, rest);
}

#[inline(always)]
fn add_eight<T: Element, S: Term<T::Compute>, const AT: usize, const W: usize, const N: usize>(
    term: S,
    by: impl Convert<T>,
    f: usize,
    lanes: &mut Lanes<W>,
    runs: [&[T]; N],
    rest: usize,
) {
    if AT < W && AT < rest {
        let (mut eight, around) = (lanes.part::<8>(AT), term.feature::<8>(f));
        if rest >= AT + 8 {
            add::<T, S, 8, N>(by, &mut eight, &around, pick(every::<T, 8, N>(runs, AT, 1), 0), 8);
        } else {
            add::<T, S, 8, N>(by, &mut eight, &around, refs(&padded_all(runs, AT)), any(rest - AT));
        }
        lanes.put(AT, &eight);
    }
}

/// Adds the `n` elements that a run has behind the chunks that were summed in turns with its map.
#[inline(always)]
fn add_end<T: Element, S: Term<T::Compute>, const W: usize, const N: usize>(
    by: impl Convert<T>,
    acc: &mut Acc<'_>,
    (f, term): (usize, S),
    runs: [&[T]; N],
    n: usize,
) {
    for part in (0..lanes_of::<T>()).step_by(W) {
        let (whole, rest) = chunks::<W>(n, part, lanes_of::<T>());
        if whole == 0 && rest == 0 {
            continue;
        }
        let around = term.feature::<W>(f);
        let mut lanes = Lanes::<W>::load::<T::Compute>(acc, f * lanes_of::<T>() + part);
        let chunks = every::<T, W, N>(runs, part, whole);
        for i in 0..whole {
            add::<T, S, W, N>(by, &mut lanes, &around, pick(chunks, i * (lanes_of::<T>() / W)), W);
        }
        if rest > 0 {
            add_rest(term, by, f, &mut lanes, behind_all(runs, part + whole * lanes_of::<T>()), rest);
        }
        lanes.store::<T::Compute>(acc, f * lanes_of::<T>() + part);
    }
}

/// Lanes around 0 that are summed while something is mapped, of what passes D.
pub(crate) struct Paired<D, const W: usize>(Lanes<W>, PhantomData<D>);

impl<D, const W: usize> Copy for Paired<D, W> {}

impl<D, const W: usize> Clone for Paired<D, W> {
    fn clone(&self) -> Self {
        *self
    }
}

/// What a feature's elements pass.
pub(crate) trait Pass<R: Real>: Copy {
    /// The sum of what has passed.
    type Term: Term<R>;

    /// That of feature `f`.
    fn of(gate: Option<Gate<'_, R>>, f: usize) -> Self;
    /// The sum of what passes this one.
    fn term(self) -> Self::Term;
}

impl<R: Real> Pass<R> for () {
    type Term = Zero<true>;

    #[inline(always)]
    fn of(_: Option<Gate<'_, R>>, _: usize) {}
    #[inline(always)]
    fn term(self) -> Zero<true> {
        Zero
    }
}

impl<R: Real> Pass<R> for Door<R> {
    type Term = Passed<Zero<true>, Self, true>;

    #[inline(always)]
    fn of(gate: Option<Gate<'_, R>>, f: usize) -> Self {
        Self::of(gate.unwrap_or_else(|| unreachable!("what passes a gate has one")), f)
    }
    #[inline(always)]
    fn term(self) -> Self::Term {
        Passed(Zero, self)
    }
}

impl<T: Element, C: Convert<T>, D: Pass<T::Compute>, const W: usize> Held<T, C, W> for Paired<D, W> {
    type Door = D;

    #[inline(always)]
    fn door(gate: Option<Gate<'_, T::Compute>>, f: usize) -> D {
        D::of(gate, f)
    }
    #[inline(always)]
    fn load(acc: &mut Acc<'_>, at: usize) -> Self {
        Self(Lanes::load::<T::Compute>(acc, at), PhantomData)
    }
    #[inline(always)]
    fn store(self, acc: &mut Acc<'_>, at: usize) {
        self.0.store::<T::Compute>(acc, at);
    }
    #[inline(always)]
    fn add<const N: usize>(&mut self, by: C, door: &D, chunk: [&[T; W]; N]) {
        add::<T, D::Term, W, N>(by, &mut self.0, &door.term().feature::<W>(0), chunk, W);
    }
    #[inline(always)]
    fn add_end<const N: usize>(by: C, acc: &mut Acc<'_>, (f, door): (usize, &D), runs: [&[T]; N], n: usize) {
        add_end::<T, D::Term, W, N>(by, acc, (f, door.term()), runs, n);
    }
}

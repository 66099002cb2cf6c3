//! A few strips that are summed together, so that their lanes stay in registers from one to the next.

use super::fill::lines;
use crate::kernel::{Down, Fetch};
use crate::mem::{LINE, prefetch};
use crate::num::Element;
use crate::tensor::Strips;
use std::ops::Range;

/// R strips of each of N inputs, which are summed down, one chunk of columns after the other. R is a constant, and the
/// strips' lengths are looked at once: of a chunk of 64 bytes that was most of the instructions.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a, T, const N: usize, const R: usize> {
    strips: [[&'a [T]; N]; R],
    ask: Ask<N>,
}

/// What is fetched with a chunk.
#[derive(Clone, Copy, Debug)]
enum Ask<const N: usize> {
    /// Of every strip the chunk behind it, into L1, and the one that is so many elements away, into L2.
    Down(Option<[usize; N]>),
    /// What lies so many elements behind the first strip: as much as the chunk has elements, in the order of memory.
    Along(usize),
}

/// Whether the strips of all inputs lie one behind the other.
#[inline(always)]
fn in_order<T, const N: usize>(inputs: &[Strips<'_, T>; N]) -> bool {
    inputs.iter().all(|input| input.stride() == input.len())
}

impl<'a, T: Element, const N: usize, const R: usize> Stack<'a, T, N, R> {
    /// The R strips of each of `inputs` from `start` on. With their columns, those of the next R are fetched, or those behind the
    /// strips, as `down` says.
    ///
    /// # Panics
    /// Where there are not as many.
    #[inline(always)]
    fn new(inputs: &[Strips<'a, T>; N], start: usize, down: Down) -> Self {
        let far = match down {
            Down::Across | Down::Along => None,
            Down::Far => Some(inputs.each_ref().map(|input| R.wrapping_mul(input.stride()))),
            Down::Behind => Some(inputs.each_ref().map(Strips::len)),
        };
        Self::with(inputs, start, Ask::Down(far))
    }

    /// The same strips, which lie one behind the other: all memory is asked for in the order in which it lies, whole stacks
    /// ahead, about `ahead` elements.
    ///
    /// # Panics
    /// Where there are not as many.
    #[inline(always)]
    fn along(inputs: &[Strips<'a, T>; N], start: usize, ahead: usize) -> Self {
        let stack = (R * inputs[0].len()).max(1);
        Self::with(inputs, start, Ask::Along(stack * (ahead / stack).max(1)))
    }

    #[inline(always)]
    fn with(inputs: &[Strips<'a, T>; N], start: usize, ask: Ask<N>) -> Self {
        let mut strips: [[&[T]; N]; R] = [[&[]; N]; R];
        for r in 0..R {
            for k in 0..N {
                strips[r][k] = inputs[k].strip(start + r);
            }
        }
        Self { strips, ask }
    }

    /// Hands the whole chunks of W columns of `cols` to `each`, with the chunk's number: of every strip W elements of each
    /// input.
    ///
    /// # Panics
    /// Where a strip is shorter.
    #[inline(always)]
    pub fn chunks<const W: usize>(
        &self,
        cols: Range<usize>,
        mut each: impl FnMut(usize, [[&'a [T; W]; N]; R]),
    ) {
        let n = cols.len() / W;
        let mut chunks: [[&[[T; W]]; N]; R] = [[&[]; N]; R];
        // By number: zips are a dozen small functions each, in every instance of this one.
        for r in 0..R {
            for k in 0..N {
                chunks[r][k] = lines::<T, W>(self.strips[r][k], cols.start, n);
            }
        }
        for i in 0..n {
            // As many elements as are half a line of what they are computed in: half types are asked for as often.
            if W * size_of::<T::Compute>() >= LINE / 2 {
                self.prefetch(cols.start + i * W, W);
            }
            let mut chunk = [[&chunks[0][0][i]; N]; R];
            for r in 0..R {
                for k in 0..N {
                    chunk[r][k] = &chunks[r][k][i];
                }
            }
            each(i, chunk);
        }
    }

    /// Asks for what is fetched with the `n` columns from `at` on.
    #[inline(always)]
    fn prefetch(&self, at: usize, n: usize) {
        match self.ask {
            Ask::Along(away) => {
                for strip in self.strips[0] {
                    prefetch::lines::<T, true>(strip, away + at * R, n * R);
                }
            }
            Ask::Down(far) => {
                for strips in &self.strips {
                    for (k, strip) in strips.iter().enumerate() {
                        prefetch::lines::<T, true>(strip, at + n, n);
                        if let Some(far) = far {
                            prefetch::lines::<T, false>(strip, at.wrapping_add(far[k]), n);
                        }
                    }
                }
            }
        }
    }
}

/// What is done with stacks of N inputs.
pub trait EachStack<T: Element, const N: usize> {
    /// Takes the next R strips.
    fn take<const R: usize>(&mut self, stack: &Stack<'_, T, N, R>);
}

/// Hands the strips of `inputs` to `each`, one behind the other: of one input eight at a time, but four where memory is asked
/// for along them, of two inputs four. What is left goes four, two and one at a time.
#[inline(always)]
pub fn stacks<T: Element, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    fetch: Fetch,
    each: &mut impl EachStack<T, N>,
) {
    let mut start = 0;
    // Known where the stacks are made, so that a chunk need not ask.
    if fetch.down == Down::Along && in_order(inputs) {
        start = in_memorys_order(inputs, fetch, each);
    } else if N == 1 {
        start = of_height::<T, N, 8>(inputs, start, fetch.down, each);
    }
    start = of_height::<T, N, 4>(inputs, start, fetch.down, each);
    start = of_height::<T, N, 2>(inputs, start, Down::Across, each);
    of_height::<T, N, 1>(inputs, start, Down::Across, each);
}

/// As [`stacks`], four and one at a time: a third of the code, for what is rare.
#[inline(always)]
pub fn low_stacks<T: Element, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    fetch: Fetch,
    each: &mut impl EachStack<T, N>,
) {
    let start = of_height::<T, N, 4>(inputs, 0, fetch.down, each);
    of_height::<T, N, 1>(inputs, start, Down::Across, each);
}

/// Hands on the strips from `start` on, R at a time, as long as there are as many. Where the next ones begin.
#[inline(always)]
fn of_height<T: Element, const N: usize, const R: usize>(
    inputs: &[Strips<'_, T>; N],
    start: usize,
    down: Down,
    each: &mut impl EachStack<T, N>,
) -> usize {
    let end = start + (inputs[0].rows() - start) / R * R;
    for start in (start..end).step_by(R) {
        each.take::<R>(&Stack::new(inputs, start, down));
    }
    end
}

/// The same, four at a time from the first on.
#[inline(always)]
fn in_memorys_order<T: Element, const N: usize>(
    inputs: &[Strips<'_, T>; N],
    fetch: Fetch,
    each: &mut impl EachStack<T, N>,
) -> usize {
    let (end, ahead) = (inputs[0].rows() / 4 * 4, fetch.ahead.elements::<T>(1));
    for start in (0..end).step_by(4) {
        each.take::<4>(&Stack::along(inputs, start, ahead));
    }
    end
}

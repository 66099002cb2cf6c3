//! What a chunk of elements adds to its virtual lanes. Arrays of lanes, elementwise: one vector instruction per
//! operation and register, whatever the instruction set.

use crate::isa::Isa;
use bn_core::Real;
use bn_core::eft::{two_prod, two_sum};
use bn_core::kernels::Acc;
use bn_core::stream;
use std::marker::PhantomData;

/// W virtual lanes of both sums. f32 leaves the remainders alone, and the compiler leaves them out.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<const W: usize> {
    first: [f64; W],
    first_lo: [f64; W],
    second: [f64; W],
    second_lo: [f64; W],
}

/// The chunk of `W` lanes at `start`, as an array.
#[inline(always)]
fn lanes_at<const W: usize>(lanes: &mut [f64], start: usize) -> &mut [f64; W] {
    lanes[start..].first_chunk_mut().unwrap_or_else(|| unreachable!("an accumulator has a tile's lanes"))
}

impl<const W: usize> Lanes<W> {
    /// The lanes from `start` on.
    #[inline(always)]
    pub(crate) fn load<T: Item>(acc: &mut Acc<'_>, start: usize) -> Self {
        let zero = [0.0; W];
        let mut lanes = Self { first: zero, first_lo: zero, second: zero, second_lo: zero };
        lanes.first = *lanes_at(acc.first.hi, start);
        lanes.second = *lanes_at(acc.second.hi, start);
        if T::COMPENSATED {
            lanes.first_lo = *lanes_at(acc.first.lo, start);
            lanes.second_lo = *lanes_at(acc.second.lo, start);
        }
        lanes
    }

    /// `M` of them from lane `at` on.
    #[inline(always)]
    pub(crate) fn part<const M: usize>(&self, at: usize) -> Lanes<M> {
        let zero = [0.0; M];
        let mut part = Lanes { first: zero, first_lo: zero, second: zero, second_lo: zero };
        for i in 0..M {
            part.first[i] = self.first[at + i];
            part.first_lo[i] = self.first_lo[at + i];
            part.second[i] = self.second[at + i];
            part.second_lo[i] = self.second_lo[at + i];
        }
        part
    }

    /// Puts those back.
    #[inline(always)]
    pub(crate) fn put<const M: usize>(&mut self, at: usize, part: &Lanes<M>) {
        for i in 0..M {
            self.first[at + i] = part.first[i];
            self.first_lo[at + i] = part.first_lo[i];
            self.second[at + i] = part.second[i];
            self.second_lo[at + i] = part.second_lo[i];
        }
    }

    /// Puts all of them back where they come from.
    #[inline(always)]
    pub(crate) fn store<T: Item>(&self, acc: &mut Acc<'_>, start: usize) {
        *lanes_at(acc.first.hi, start) = self.first;
        *lanes_at(acc.second.hi, start) = self.second;
        if T::COMPENSATED {
            *lanes_at(acc.first.lo, start) = self.first_lo;
            *lanes_at(acc.second.lo, start) = self.second_lo;
        }
    }
}

/// Sums around 0, compiled for I.
pub(crate) struct Plain<I>(pub(crate) PhantomData<I>);

/// Sums around a pilot per feature. A sum of its own: a branch in the loop would cost registers.
pub(crate) struct About<'a, T>(pub(crate) &'a [T]);

/// An element type's arithmetic on W lanes.
pub(crate) trait Item: Real + stream::Plain {
    /// Whether sums carry remainders.
    const COMPENSATED: bool;

    /// Adds x and x². A product and its sum may be one instruction, which is exact for f32.
    fn add_moments<I: Isa, const W: usize>(lanes: &mut Lanes<W>, x: &[Self; W]);
    /// Adds x − k and (x − k)²; k is widened once for many chunks.
    fn add_moments_about<const W: usize>(lanes: &mut Lanes<W>, x: &[Self; W], k: &[f64; W]);
    /// Adds dy and dy·x, likewise.
    fn add_grads<I: Isa, const W: usize>(lanes: &mut Lanes<W>, x: &[Self; W], dy: &[Self; W]);
    /// Adds dy and dy·(x − k).
    fn add_grads_about<const W: usize>(lanes: &mut Lanes<W>, x: &[Self; W], dy: &[Self; W], k: &[f64; W]);
}

/// sum + v·w for two widened f32: their product is exact, so one rounding is as good as two.
#[inline(always)]
fn add_product<I: Isa>(sum: &mut f64, v: f64, w: f64) {
    *sum = if I::FMA { v.mul_add(w, *sum) } else { *sum + v * w };
}

impl Item for f32 {
    const COMPENSATED: bool = false;

    #[inline(always)]
    fn add_moments<I: Isa, const W: usize>(lanes: &mut Lanes<W>, x: &[f32; W]) {
        for i in 0..W {
            let x = f64::from(x[i]);
            lanes.first[i] += x;
            add_product::<I>(&mut lanes.second[i], x, x);
        }
    }

    #[inline(always)]
    fn add_moments_about<const W: usize>(lanes: &mut Lanes<W>, x: &[f32; W], k: &[f64; W]) {
        for i in 0..W {
            let d = f64::from(x[i]) - k[i];
            lanes.first[i] += d;
            lanes.second[i] += d * d;
        }
    }

    #[inline(always)]
    fn add_grads<I: Isa, const W: usize>(lanes: &mut Lanes<W>, x: &[f32; W], dy: &[f32; W]) {
        for i in 0..W {
            let (x, dy) = (f64::from(x[i]), f64::from(dy[i]));
            lanes.first[i] += dy;
            add_product::<I>(&mut lanes.second[i], dy, x);
        }
    }

    #[inline(always)]
    fn add_grads_about<const W: usize>(lanes: &mut Lanes<W>, x: &[f32; W], dy: &[f32; W], k: &[f64; W]) {
        for i in 0..W {
            let (d, dy) = (f64::from(x[i]) - k[i], f64::from(dy[i]));
            lanes.first[i] += dy;
            lanes.second[i] += dy * d;
        }
    }
}

/// Adds `v` and the remainder `rest` that belongs to it.
#[inline(always)]
fn add(hi: &mut f64, lo: &mut f64, v: f64, rest: f64) {
    let (s, e) = two_sum(*hi, v);
    (*hi, *lo) = (s, *lo + (e + rest));
}

impl Item for f64 {
    const COMPENSATED: bool = true;

    #[inline(always)]
    fn add_moments<I: Isa, const W: usize>(lanes: &mut Lanes<W>, x: &[f64; W]) {
        for (i, &d) in x.iter().enumerate() {
            add(&mut lanes.first[i], &mut lanes.first_lo[i], d, 0.0);
            add(&mut lanes.second[i], &mut lanes.second_lo[i], d * d, 0.0);
        }
    }

    #[inline(always)]
    fn add_moments_about<const W: usize>(lanes: &mut Lanes<W>, x: &[f64; W], k: &[f64; W]) {
        for i in 0..W {
            let (d, e) = two_sum(x[i], -k[i]);
            add(&mut lanes.first[i], &mut lanes.first_lo[i], d, e);
            add(&mut lanes.second[i], &mut lanes.second_lo[i], d * d, 2.0 * d * e);
        }
    }

    #[inline(always)]
    fn add_grads<I: Isa, const W: usize>(lanes: &mut Lanes<W>, x: &[f64; W], dy: &[f64; W]) {
        for i in 0..W {
            let (p, q) = two_prod(dy[i], x[i]);
            add(&mut lanes.first[i], &mut lanes.first_lo[i], dy[i], 0.0);
            add(&mut lanes.second[i], &mut lanes.second_lo[i], p, q);
        }
    }

    #[inline(always)]
    fn add_grads_about<const W: usize>(lanes: &mut Lanes<W>, x: &[f64; W], dy: &[f64; W], k: &[f64; W]) {
        for i in 0..W {
            let (d, e) = two_sum(x[i], -k[i]);
            let (p, q) = two_prod(dy[i], d);
            add(&mut lanes.first[i], &mut lanes.first_lo[i], dy[i], 0.0);
            add(&mut lanes.second[i], &mut lanes.second_lo[i], p, q + dy[i] * e);
        }
    }
}

/// The `W` elements of `values` from `at` on, which are there.
#[inline(always)]
pub(crate) fn chunk<T, const W: usize>(values: &[T], at: usize) -> &[T; W] {
    values[at..].first_chunk().unwrap_or_else(|| unreachable!("whole chunks are counted before"))
}

/// The same elements, widened.
#[inline(always)]
pub(crate) fn widened<T: Item, const W: usize>(values: &[T], at: usize) -> [f64; W] {
    // Not `map`, which is not inlined everywhere.
    let (values, mut wide) = (chunk::<T, W>(values, at), [0.0; W]);
    for i in 0..W {
        wide[i] = values[i].to_f64();
    }
    wide
}

/// The `W` elements of `values` from `at` on; behind its end, zeros.
#[inline(always)]
pub(crate) fn padded<T: Item, const W: usize>(values: &[T], at: usize) -> [T; W] {
    let rest = values.get(at..).unwrap_or_default();
    if let Some(chunk) = rest.first_chunk() {
        return *chunk;
    }
    let mut chunk = [T::default(); W];
    chunk[..rest.len()].copy_from_slice(rest);
    chunk
}

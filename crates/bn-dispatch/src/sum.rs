//! What a chunk of elements adds to its virtual lanes. Arrays of lanes, elementwise: one vector instruction per
//! operation and register, whatever the instruction set. What one element adds is [`Sums`]'.

use bn_core::kernel::{Acc, Affine, Clamp, Gate, Plane};
use bn_core::walk::{Convert, Sums, compensated};
use bn_core::{Element, Real};
use std::hint::select_unpredictable;

/// W virtual lanes of both sums, as arrays of each number of [`Sums`].
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
    const ZERO: Self = Self { first: [0.0; W], first_lo: [0.0; W], second: [0.0; W], second_lo: [0.0; W] };

    /// The lanes from `start` on.
    #[inline(always)]
    pub(crate) fn load<R: Real>(acc: &mut Acc<'_>, start: usize) -> Self {
        let mut lanes = Self::ZERO;
        lanes.first = *lanes_at(acc.first.hi, start);
        lanes.second = *lanes_at(acc.second.hi, start);
        if compensated::<R>() {
            lanes.first_lo = *lanes_at(acc.first.lo, start);
            lanes.second_lo = *lanes_at(acc.second.lo, start);
        }
        lanes
    }

    /// Puts all of them back where they come from.
    #[inline(always)]
    pub(crate) fn store<R: Real>(&self, acc: &mut Acc<'_>, start: usize) {
        *lanes_at(acc.first.hi, start) = self.first;
        *lanes_at(acc.second.hi, start) = self.second;
        if compensated::<R>() {
            *lanes_at(acc.first.lo, start) = self.first_lo;
            *lanes_at(acc.second.lo, start) = self.second_lo;
        }
    }

    #[inline(always)]
    fn get(&self, i: usize) -> Sums<f64> {
        Sums { first: (self.first[i], self.first_lo[i]), second: (self.second[i], self.second_lo[i]) }
    }

    #[inline(always)]
    fn set(&mut self, i: usize, sums: Sums<f64>) {
        (self.first[i], self.first_lo[i]) = sums.first;
        (self.second[i], self.second_lo[i]) = sums.second;
    }

    /// `M` of them from lane `at` on.
    #[inline(always)]
    pub(crate) fn part<const M: usize>(&self, at: usize) -> Lanes<M> {
        let mut part = Lanes::<M>::ZERO;
        for i in 0..M {
            part.set(i, self.get(at + i));
        }
        part
    }

    /// Puts those back.
    #[inline(always)]
    pub(crate) fn put<const M: usize>(&mut self, at: usize, part: &Lanes<M>) {
        for i in 0..M {
            self.set(at + i, part.get(i));
        }
    }
}

/// Chunks of W lanes side by side: where they end is looked at once for all of them.
pub(crate) struct LaneChunks<'a, const W: usize> {
    first: [&'a mut [[f64; W]]; 2],
    second: [&'a mut [[f64; W]]; 2],
}

impl<'a, const W: usize> LaneChunks<'a, W> {
    /// The `n` chunks from lane `start` on.
    #[inline(always)]
    pub(crate) fn new<R: Real>(acc: &'a mut Acc<'_>, start: usize, n: usize) -> Self {
        let Acc { first, second } = acc;
        Self { first: plane_chunks::<R, W>(first, start, n), second: plane_chunks::<R, W>(second, start, n) }
    }

    /// The lanes of chunk `i`.
    #[inline(always)]
    pub(crate) fn load<R: Real>(&self, i: usize) -> Lanes<W> {
        let mut lanes = Lanes::ZERO;
        lanes.first = self.first[0][i];
        lanes.second = self.second[0][i];
        if compensated::<R>() {
            lanes.first_lo = self.first[1][i];
            lanes.second_lo = self.second[1][i];
        }
        lanes
    }

    /// Puts them back.
    #[inline(always)]
    pub(crate) fn store<R: Real>(&mut self, i: usize, lanes: &Lanes<W>) {
        self.first[0][i] = lanes.first;
        self.second[0][i] = lanes.second;
        if compensated::<R>() {
            self.first[1][i] = lanes.first_lo;
            self.second[1][i] = lanes.second_lo;
        }
    }
}

/// Those of a plane; of the remainders only where there are some.
#[inline(always)]
fn plane_chunks<'a, R: Real, const W: usize>(
    plane: &'a mut Plane<'_>,
    start: usize,
    n: usize,
) -> [&'a mut [[f64; W]]; 2] {
    let hi = &mut plane.hi[start..].as_chunks_mut().0[..n];
    let lo = if compensated::<R>() { &mut plane.lo[start..].as_chunks_mut().0[..n] } else { &mut [] };
    [hi, lo]
}

/// What chunks of N inputs add: of one input, x, its moments; of two, x and dy, the sums of the backward.
pub(crate) trait Term<R: Real>: Copy {
    /// Whether it is rare enough to be compiled for few heights of stacks.
    const RARE: bool;
    /// What W lanes are summed around.
    type Around<const W: usize>: Copy;

    /// What W columns from `at` on are summed around.
    fn columns<const W: usize>(self, at: usize) -> Self::Around<W>;
    /// What a feature is summed around.
    fn feature<const W: usize>(self, f: usize) -> Self::Around<W>;
    /// Adds the first `n` of W elements of each input.
    fn add<const W: usize, const N: usize>(
        lanes: &mut Lanes<W>,
        around: &Self::Around<W>,
        chunk: [&[R; W]; N],
        n: usize,
    );
}

/// Adds the first `n` of W elements of each input, converted as `by` does.
#[inline(always)]
pub(crate) fn add<T: Element, S: Term<T::Compute>, const W: usize, const N: usize>(
    by: impl Convert<T>,
    lanes: &mut Lanes<W>,
    around: &S::Around<W>,
    chunk: [&[T; W]; N],
    n: usize,
) {
    let mut room = [[T::Compute::default(); W]; N];
    let [first, rest @ ..] = &mut room[..] else { unreachable!("sums are of one input or two") };
    let mut wide = [by.widened(chunk[0], first); N];
    for (k, room) in (1..N).zip(rest) {
        wide[k] = by.widened(chunk[k], room);
    }
    S::add::<W, N>(lanes, around, wide, n);
}

/// Around 0; with FUSED by fused multiply-adds, where the product is exact.
#[derive(Clone, Copy, Default)]
pub(crate) struct Zero<const FUSED: bool>;

impl<R: Real, const FUSED: bool> Term<R> for Zero<FUSED> {
    const RARE: bool = false;
    type Around<const W: usize> = ();

    #[inline(always)]
    fn columns<const W: usize>(self, _: usize) {}
    #[inline(always)]
    fn feature<const W: usize>(self, _: usize) {}

    #[inline(always)]
    fn add<const W: usize, const N: usize>(lanes: &mut Lanes<W>, (): &(), chunk: [&[R; W]; N], n: usize) {
        let (x, dy) = (masked(chunk[0], n), masked(chunk[N - 1], n));
        for i in 0..W {
            let mut sums = lanes.get(i);
            if N == 1 {
                sums.add_moments::<R, FUSED>(x[i].to_f64());
            } else {
                sums.add_grads::<R, FUSED>(x[i].to_f64(), dy[i].to_f64());
            }
            lanes.set(i, sums);
        }
    }
}

/// Around a pilot per feature. A term of its own: a branch in the loop would cost registers.
#[derive(Clone, Copy)]
pub(crate) struct Pilot<'a, R>(pub(crate) &'a [R]);

impl<R: Real> Term<R> for Pilot<'_, R> {
    // f64 data are summed around their mean as soon as that is half of their spread.
    const RARE: bool = true;
    type Around<const W: usize> = [f64; W];

    #[inline(always)]
    fn columns<const W: usize>(self, at: usize) -> [f64; W] {
        // Not `map`, which is not inlined everywhere.
        let (pilots, mut wide) = (chunk::<R, W>(self.0, at), [0.0; W]);
        for i in 0..W {
            wide[i] = pilots[i].to_f64();
        }
        wide
    }
    #[inline(always)]
    fn feature<const W: usize>(self, f: usize) -> [f64; W] {
        [self.0[f].to_f64(); W]
    }

    #[inline(always)]
    fn add<const W: usize, const N: usize>(
        lanes: &mut Lanes<W>,
        k: &[f64; W],
        chunk: [&[R; W]; N],
        n: usize,
    ) {
        let (x, dy, k) = (masked(chunk[0], n), masked(chunk[N - 1], n), masked(k, n));
        for i in 0..W {
            let mut sums = lanes.get(i);
            if N == 1 {
                sums.add_moments_about::<R>(x[i].to_f64(), k[i]);
            } else {
                sums.add_grads_about::<R>(x[i].to_f64(), dy[i].to_f64(), k[i]);
            }
            lanes.set(i, sums);
        }
    }
}

/// Of the dy that passes a gate, or a feature's [`Door`]; with RELU the activation is that one.
#[derive(Clone, Copy)]
pub(crate) struct Passed<S, G, const RELU: bool>(pub(crate) S, pub(crate) G);

/// The gates of W elements: k, a and b of each.
pub(crate) type Doors<R, const W: usize> = ([[R; W]; 3], Clamp<R>);

/// Where gates come from.
pub(crate) trait Gates<R: Real>: Copy {
    /// Those of W columns from `at` on.
    fn columns<const W: usize>(self, at: usize) -> Doors<R, W>;
    /// That of feature `f`, W times.
    fn feature<const W: usize>(self, f: usize) -> Doors<R, W>;
}

impl<R: Real> Gates<R> for Gate<'_, R> {
    #[inline(always)]
    fn columns<const W: usize>(self, at: usize) -> Doors<R, W> {
        let Affine { k, a, b } = self.affine;
        ([*chunk::<R, W>(k, at), *chunk::<R, W>(a, at), *chunk::<R, W>(b, at)], self.clamp)
    }
    #[inline(always)]
    fn feature<const W: usize>(self, f: usize) -> Doors<R, W> {
        Door::of(self, f).around::<W>()
    }
}

/// The gate of one feature.
#[derive(Clone, Copy)]
pub(crate) struct Door<R> {
    coefs: [R; 3],
    clamp: Clamp<R>,
}

impl<R: Real> Door<R> {
    /// That of feature `f`.
    #[inline(always)]
    pub(crate) fn of(Gate { affine: Affine { k, a, b }, clamp }: Gate<'_, R>, f: usize) -> Self {
        Self { coefs: [k[f], a[f], b[f]], clamp }
    }

    /// W times.
    #[inline(always)]
    pub(crate) fn around<const W: usize>(&self) -> Doors<R, W> {
        let [k, a, b] = self.coefs;
        ([[k; W], [a; W], [b; W]], self.clamp)
    }
}

impl<R: Real> Gates<R> for Door<R> {
    #[inline(always)]
    fn columns<const W: usize>(self, _: usize) -> Doors<R, W> {
        self.around::<W>()
    }
    #[inline(always)]
    fn feature<const W: usize>(self, _: usize) -> Doors<R, W> {
        self.around::<W>()
    }
}

impl<R: Real, S: Term<R>, G: Gates<R>, const RELU: bool> Term<R> for Passed<S, G, RELU> {
    const RARE: bool = true;
    type Around<const W: usize> = (S::Around<W>, Doors<R, W>);

    #[inline(always)]
    fn columns<const W: usize>(self, at: usize) -> Self::Around<W> {
        (self.0.columns::<W>(at), self.1.columns::<W>(at))
    }
    #[inline(always)]
    fn feature<const W: usize>(self, f: usize) -> Self::Around<W> {
        (self.0.feature::<W>(f), self.1.feature::<W>(f))
    }

    #[inline(always)]
    fn add<const W: usize, const N: usize>(
        lanes: &mut Lanes<W>,
        (around, ([k, a, b], clamp)): &Self::Around<W>,
        chunk: [&[R; W]; N],
        n: usize,
    ) {
        let (x, dy, mut passed) = (chunk[0], chunk[N - 1], [R::default(); W]);
        for i in 0..W {
            let v = (x[i] - k[i]) * a[i] + b[i];
            passed[i] = match RELU {
                true => select_unpredictable(v <= clamp.low, R::default(), dy[i]),
                false => clamp.gate(v, dy[i]),
            };
        }
        let mut inputs = [x; N];
        inputs[N - 1] = &passed;
        S::add::<W, N>(lanes, around, inputs, n);
    }
}

/// The first `n` values; zeros behind them. Where x, dy and k are zero, a sum takes in +0, which changes no bit: no sum
/// is ever -0, since none begins as one.
#[inline(always)]
fn masked<V: Copy + Default, const W: usize>(values: &[V; W], n: usize) -> [V; W] {
    let mut kept = [V::default(); W];
    for i in 0..W {
        kept[i] = if i < n { values[i] } else { V::default() };
    }
    kept
}

/// The `W` elements of `values` from `at` on, which are there.
#[inline(always)]
pub(crate) fn chunk<T, const W: usize>(values: &[T], at: usize) -> &[T; W] {
    values[at..].first_chunk().unwrap_or_else(|| unreachable!("whole chunks are counted before"))
}

/// The `W` elements of `values` from `at` on; behind its end, zeros.
#[inline(always)]
pub(crate) fn padded<T: Element, const W: usize>(values: &[T], at: usize) -> [T; W] {
    let rest = values.get(at..).unwrap_or_default();
    if let Some(chunk) = rest.first_chunk() {
        return *chunk;
    }
    let mut chunk = [T::default(); W];
    chunk[..rest.len()].copy_from_slice(rest);
    chunk
}

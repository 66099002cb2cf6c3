//! Maps as formulae: of an element of each input and its coefficients, or of a line of them. Both go through the same
//! operations, once for all vector kernels.

use super::convert::{Convert, Stored};
use super::fill::{LineMap, lines};
use super::vector::Vector;
use crate::mem::Bare;
use crate::num::Element;

/// What a map makes of N inputs with M coefficients, every operation rounded on its own.
pub(super) trait Formula<R, const N: usize, const M: usize>: Copy {
    /// The output.
    fn of<V: Vector<R>>(self, inputs: [V; N], coefs: [V; M]) -> V;
}

/// y = (x − k)·a + b.
#[derive(Clone, Copy)]
pub(super) struct Normalize;

impl<R> Formula<R, 1, 3> for Normalize {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [x]: [V; 1], [k, a, b]: [V; 3]) -> V {
        (x - k) * a + b
    }
}

/// dx = ((dy − m)·a + (x − k)·c) + d.
#[derive(Clone, Copy)]
pub(super) struct GradInput;

impl<R> Formula<R, 2, 5> for GradInput {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [x, dy]: [V; 2], [k, a, c, d, m]: [V; 5]) -> V {
        ((dy - m) * a + (x - k) * c) + d
    }
}

/// dx = dy·a + 0.
#[derive(Clone, Copy)]
pub(super) struct Scale;

impl<R: Copy + Default> Formula<R, 1, 1> for Scale {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [dy]: [V; 1], [a]: [V; 1]) -> V {
        dy * a + V::splat(R::default())
    }
}

/// (((v − l)·a + (dy − m)·b) + (x − k)·c) + d, of the double backward.
#[derive(Clone, Copy)]
pub(super) struct Second;

impl<R> Formula<R, 3, 7> for Second {
    #[inline(always)]
    fn of<V: Vector<R>>(self, [x, dy, v]: [V; 3], [k, a, b, c, d, m, l]: [V; 7]) -> V {
        (((v - l) * a + (dy - m) * b) + (x - k) * c) + d
    }
}

/// A formula of inputs that lie side by side, K elements at a time.
pub(super) struct Mapped<'a, T, C, W, F, const N: usize, const M: usize, const K: usize> {
    /// How elements are converted.
    pub(super) by: W,
    pub(super) inputs: [&'a [T]; N],
    pub(super) coefs: [C; M],
    pub(super) formula: F,
}

impl<T, V, C, W, F, const N: usize, const M: usize, const K: usize> LineMap<T, V>
    for Mapped<'_, T, C, W, F, N, M, K>
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
    F: Formula<T::Compute, N, M>,
{
    #[inline(always)]
    fn lines<const L: usize>(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L] {
        let (by, formula, n) = (self.by, self.formula, n * (L / K));
        let coefs = seen::<T, V, C, M>(self.coefs, by);
        // Not `map`, which is not inlined everywhere.
        let mut inputs: [&[[T; K]]; N] = [&[]; N];
        for i in 0..N {
            inputs[i] = lines::<T, K>(self.inputs[i], start, n);
        }
        let mut rows = [coefs[0].lines::<K>(start, n); M];
        for i in 1..M {
            rows[i] = coefs[i].lines::<K>(start, n);
        }
        in_vectors(
            #[inline(always)]
            move |at| {
                let mut values = [load::<T, V, C, W, K>(by, &inputs[0][at]); N];
                for i in 1..N {
                    values[i] = load::<T, V, C, W, K>(by, &inputs[i][at]);
                }
                let mut own = [C::line::<K>(rows[0], at); M];
                for i in 1..M {
                    own[i] = C::line::<K>(rows[i], at);
                }
                line::<T, V, C, W, K>(by, formula.of(values, own))
            },
        )
    }
    #[inline(always)]
    fn one(&self, at: usize) -> T {
        let mut values = [self.inputs[0][at].to_compute(); N];
        for i in 1..N {
            values[i] = self.inputs[i][at].to_compute();
        }
        let mut own = [self.coefs[0].one(at); M];
        for i in 1..M {
            own[i] = self.coefs[i].one(at);
        }
        T::from_compute(self.formula.of(values, own))
    }
}

/// A coefficient of every element: one for all, or one each.
pub(super) trait Coef<T, V>: Copy {
    /// Whether it is one for all.
    const ONE: bool;
    /// Those of some lines of L elements.
    type Lines<const L: usize>: Copy;

    /// As it goes into what `by` rounds.
    fn seen<S: Element<Compute = T>>(self, by: impl Convert<S>) -> Self;
    /// Those of `n` lines from element `start` on.
    fn lines<const L: usize>(self, start: usize, n: usize) -> Self::Lines<L>;
    /// Those of line `i`.
    fn line<const L: usize>(lines: Self::Lines<L>, i: usize) -> V;
    /// That of the element `at`.
    fn one(self, at: usize) -> T;
}

impl<T: Bare, V: Vector<T>> Coef<T, V> for T {
    const ONE: bool = true;
    type Lines<const L: usize> = T;

    #[inline(always)]
    fn seen<S: Element<Compute = T>>(self, by: impl Convert<S>) -> Self {
        by.coef(self)
    }
    #[inline(always)]
    fn lines<const L: usize>(self, _: usize, _: usize) -> T {
        self
    }
    #[inline(always)]
    fn line<const L: usize>(lines: T, _: usize) -> V {
        V::splat(lines)
    }
    #[inline(always)]
    fn one(self, _: usize) -> T {
        self
    }
}

impl<'a, T: Bare, V: Vector<T>> Coef<T, V> for &'a [T] {
    const ONE: bool = false;
    type Lines<const L: usize> = &'a [[T; L]];

    #[inline(always)]
    fn seen<S: Element<Compute = T>>(self, _: impl Convert<S>) -> Self {
        self
    }
    #[inline(always)]
    fn lines<const L: usize>(self, start: usize, n: usize) -> Self::Lines<L> {
        lines::<T, L>(self, start, n)
    }
    #[inline(always)]
    fn line<const L: usize>(lines: Self::Lines<L>, i: usize) -> V {
        V::load(&lines[i])
    }
    #[inline(always)]
    fn one(self, at: usize) -> T {
        self[at]
    }
}

/// Coefficients as they go into what `by` rounds.
#[inline(always)]
fn seen<T, V, C, const N: usize>(mut coefs: [C; N], by: impl Convert<T>) -> [C; N]
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
{
    for i in 0..N {
        coefs[i] = coefs[i].seen::<T>(by);
    }
    coefs
}

/// A line, in the order of the coefficients where that matters.
#[inline(always)]
fn load<T, V, C, W, const L: usize>(by: W, from: &[T; L]) -> V
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    if C::ONE { by.load_mixed(from) } else { by.load(from) }
}

/// What was computed of such lines, rounded.
#[inline(always)]
fn line<T, V, C, W, const L: usize>(by: W, v: V) -> [T; L]
where
    T: Stored,
    V: Vector<T::Compute>,
    C: Coef<T::Compute, V>,
    W: Convert<T>,
{
    if C::ONE { by.line_mixed(v) } else { by.line(v) }
}

/// Lines of L elements, of which `vector` gives K at a time.
#[inline(always)]
fn in_vectors<T: Bare, const K: usize, const L: usize>(
    vector: impl Fn(usize) -> [T; K],
) -> impl Fn(usize) -> [T; L] {
    const { assert!(L.is_multiple_of(K)) };
    #[inline(always)]
    move |i| {
        let mut line = [T::default(); L];
        for (j, part) in line.as_chunks_mut().0.iter_mut().enumerate() {
            *part = vector(i * (L / K) + j);
        }
        line
    }
}

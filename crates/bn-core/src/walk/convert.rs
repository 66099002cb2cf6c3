//! Elements as they lie in memory, and as they are computed with.

use super::vector::Vector;
use crate::mem::Bare;
use crate::num::{Element, Real};

/// An element type of these walks.
pub trait Stored: Element<Compute: Real + Bare + Vector<Self::Compute>> + Bare {}
impl<T: Element<Compute: Real + Bare + Vector<T::Compute>> + Bare> Stored for T {}

/// How elements become what they are computed in, and are rounded back: what the instruction set has for it.
pub trait Convert<T: Element>: Copy {
    /// W elements for sums, as they are or widened into `room`.
    fn widened<'a, const W: usize>(
        self,
        from: &'a [T; W],
        room: &'a mut [T::Compute; W],
    ) -> &'a [T::Compute; W];

    /// L elements for maps, a V of them.
    #[inline(always)]
    fn load<V: Vector<T::Compute>, const L: usize>(self, from: &[T; L]) -> V {
        V::load(self.widened(from, &mut [T::Compute::default(); L]))
    }

    /// A V of L, rounded.
    fn line<V: Vector<T::Compute>, const L: usize>(self, v: V) -> [T; L]
    where
        T::Compute: Bare;

    /// As [`Convert::load`], in any order that [`Convert::line_mixed`] undoes: for elements with equal coefficients.
    #[inline(always)]
    fn load_mixed<V: Vector<T::Compute>, const L: usize>(self, from: &[T; L]) -> V {
        self.load(from)
    }

    /// A coefficient of what [`Convert::line_mixed`] rounds.
    #[inline(always)]
    fn coef(self, v: T::Compute) -> T::Compute {
        v
    }

    /// What a map computes of Vs that [`Convert::load_mixed`] gave and of coefficients that [`Convert::coef`] has seen, in the
    /// elements' own order.
    #[inline(always)]
    fn line_mixed<V: Vector<T::Compute>, const L: usize>(self, v: V) -> [T; L]
    where
        T::Compute: Bare,
    {
        self.line(v)
    }
}

/// Elements that are computed with as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Same;

impl<T: Real> Convert<T> for Same {
    #[inline(always)]
    fn widened<'a, const W: usize>(self, from: &'a [T; W], _: &'a mut [T; W]) -> &'a [T; W] {
        from
    }
    #[inline(always)]
    fn load<V: Vector<T>, const L: usize>(self, from: &[T; L]) -> V {
        V::load(from)
    }
    #[inline(always)]
    fn line<V: Vector<T>, const L: usize>(self, v: V) -> [T; L]
    where
        T: Bare,
    {
        v.line()
    }
}

/// Elements that are converted one by one, in loops that the compiler makes vectors of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<T: Element> Convert<T> for Plain {
    #[inline(always)]
    fn widened<'a, const W: usize>(
        self,
        from: &'a [T; W],
        room: &'a mut [T::Compute; W],
    ) -> &'a [T::Compute; W] {
        for i in 0..W {
            room[i] = from[i].to_compute();
        }
        room
    }
    #[inline(always)]
    fn line<V: Vector<T::Compute>, const L: usize>(self, v: V) -> [T; L]
    where
        T::Compute: Bare,
    {
        let (wide, mut line) = (v.line::<L>(), [T::default(); L]);
        for i in 0..L {
            line[i] = T::from_compute(wide[i]);
        }
        line
    }
}

//! The operations of a step as data: what is summed, and what is mapped to what.
//!
//! An operation holds its inputs and its coefficients. So whoever cuts a tile, converts its type or hands it on does not
//! ask which operation it is: [`Sum::over`] and [`Map::over`] put other strips and coefficients in their places.

use crate::num::Element;
use crate::tensor::{Strips, StripsMut};

/// Per feature, y = (x − k)·a + b.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, R> {
    /// The mean, rounded to the type.
    pub k: &'a [R],
    /// γ·invstd.
    pub a: &'a [R],
    /// β, and what the rounding of the mean left.
    pub b: &'a [R],
}

/// Per feature, dx = ((dy − m)·a + (x − k)·c) + d. Both inputs lose their means first: what is far from zero is subtracted
/// while no digit of it is lost yet.
#[derive(Clone, Copy, Debug)]
pub struct GradAffine<'a, R> {
    /// The mean, rounded to the type.
    pub k: &'a [R],
    /// γ·invstd.
    pub a: &'a [R],
    /// −γ·invstd²·dγ/n.
    pub c: &'a [R],
    /// What the rounding of both means left.
    pub d: &'a [R],
    /// The mean of dy, dβ/n, rounded to the type.
    pub m: &'a [R],
}

/// Per feature, (((v − l)·a + (dy − m)·b) + (x − k)·c) + d: the double backward's gradient of x. All inputs lose their means first.
#[derive(Clone, Copy, Debug)]
pub struct SecondAffine<'a, R> {
    /// The mean of x, rounded to the type.
    pub k: &'a [R],
    /// −γ·invstd²·mean(dy·x̂).
    pub a: &'a [R],
    /// −γ·invstd²·mean(v·x̂), and w·invstd.
    pub b: &'a [R],
    /// What of x̂ is left, see `docs/math.md`.
    pub c: &'a [R],
    /// What the rounding of the means left.
    pub d: &'a [R],
    /// The mean of dy, rounded to the type.
    pub m: &'a [R],
    /// The mean of v, likewise.
    pub l: &'a [R],
}

/// What becomes of a normalized value.
#[derive(Clone, Copy, Debug)]
pub enum Post {
    /// It is the output.
    Pass,
}

/// Two sums per feature, into the accumulator of a kernel call.
#[derive(Clone, Copy, Debug)]
pub enum Sum<'a, T: Element> {
    /// Σ(x−k) and Σ(x−k)²; k is 0 where `pilot` is `None`, else the feature's pilot.
    ///
    /// f64: with (d, e) = `two_sum(x, -k)` and (p, q) = `two_prod(d, d)` the first sum takes d and its remainder e as well; the
    /// second takes p and the remainder q + 2·d·e. With k = 0 there is no e.
    Moments {
        /// What is summed.
        x: Strips<'a, T>,
        /// k, or 0.
        pilot: Option<&'a [T::Compute]>,
    },
    /// Σdy and Σdy·(x−k); k is 0 where `pilot` is `None`, else the feature's pilot, which may be 0 too.
    ///
    /// f64: with (d, e) = `two_sum(x, -k)` and (p, q) = `two_prod(dy, d)` the second sum takes p, and its
    /// remainder q + dy·e as well. Rounding errors of equal values would add up where the sum cancels.
    Grads {
        /// The input of the forward.
        x: Strips<'a, T>,
        /// The gradient of its output.
        dy: Strips<'a, T>,
        /// k, or 0.
        pilot: Option<&'a [T::Compute]>,
    },
}

/// An output per element.
#[derive(Clone, Copy, Debug)]
pub enum Map<'a, T: Element> {
    /// y = (x − k)·a + b, and what `post` makes of it.
    Normalize {
        /// The input.
        x: Strips<'a, T>,
        /// k, a and b.
        affine: Affine<'a, T::Compute>,
        /// What comes after.
        post: Post,
    },
    /// dx = ((dy − m)·a + (x − k)·c) + d: through the batch's statistics.
    GradInput {
        /// The input of the forward.
        x: Strips<'a, T>,
        /// The gradient of its output.
        dy: Strips<'a, T>,
        /// k, a, c, d and m.
        affine: GradAffine<'a, T::Compute>,
    },
    /// dx = dy·a + 0: where the statistics are constants. The sum makes +0 of −0, as that of
    /// [`Map::GradInput`] does.
    Scale {
        /// The gradient of the output.
        dy: Strips<'a, T>,
        /// γ·invstd.
        a: &'a [T::Compute],
    },
    /// (((v − l)·a + (dy − m)·b) + (x − k)·c) + d: the double backward through the batch's statistics.
    Second {
        /// The input of the forward.
        x: Strips<'a, T>,
        /// The gradient of its output.
        dy: Strips<'a, T>,
        /// What the gradient of its input is multiplied with.
        v: Strips<'a, T>,
        /// k, a, b, c, d, m and l.
        affine: SecondAffine<'a, T::Compute>,
    },
}

/// Where a map writes.
#[derive(Debug)]
pub enum Out<'a, T> {
    /// To memory of its own, whatever that holds.
    Fresh(StripsMut<'a, T>),
}

impl<'a, T: Element> Sum<'a, T> {
    /// How many strips it goes over.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.inputs()[0].map_or(0, |x| x.rows())
    }

    /// Its inputs.
    #[must_use]
    pub fn inputs(&self) -> [Option<Strips<'a, T>>; 2] {
        match *self {
            Self::Moments { x, .. } => [Some(x), None],
            Self::Grads { x, dy, .. } => [Some(x), Some(dy)],
        }
    }

    /// The same sums of other strips around other pilots, of the inputs in their order.
    pub fn over<'b, U: Element>(
        &self,
        mut strips: impl FnMut(Strips<'a, T>) -> Strips<'b, U>,
        coefs: impl Fn(&'a [T::Compute]) -> &'b [U::Compute],
    ) -> Sum<'b, U> {
        match *self {
            Self::Moments { x, pilot } => Sum::Moments { x: strips(x), pilot: pilot.map(coefs) },
            Self::Grads { x, dy, pilot } => {
                Sum::Grads { x: strips(x), dy: strips(dy), pilot: pilot.map(coefs) }
            }
        }
    }
}

impl<'a, T: Element> Map<'a, T> {
    /// How many inputs it has.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match self {
            Self::Normalize { .. } | Self::Scale { .. } => 1,
            Self::GradInput { .. } => 2,
            Self::Second { .. } => 3,
        }
    }

    /// The same map of other strips with other coefficients, of the inputs in their order.
    pub fn over<'b, U: Element>(
        &self,
        mut strips: impl FnMut(Strips<'a, T>) -> Strips<'b, U>,
        coefs: impl Fn(&'a [T::Compute]) -> &'b [U::Compute],
    ) -> Map<'b, U> {
        match *self {
            Self::Normalize { x, affine: Affine { k, a, b }, post } => {
                let affine = Affine { k: coefs(k), a: coefs(a), b: coefs(b) };
                Map::Normalize { x: strips(x), affine, post }
            }
            Self::GradInput { x, dy, affine: GradAffine { k, a, c, d, m } } => {
                let affine = GradAffine { k: coefs(k), a: coefs(a), c: coefs(c), d: coefs(d), m: coefs(m) };
                Map::GradInput { x: strips(x), dy: strips(dy), affine }
            }
            Self::Scale { dy, a } => Map::Scale { dy: strips(dy), a: coefs(a) },
            Self::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } } => {
                let [k, a, b, c, d, m, l] = [k, a, b, c, d, m, l].map(coefs);
                let affine = SecondAffine { k, a, b, c, d, m, l };
                Map::Second { x: strips(x), dy: strips(dy), v: strips(v), affine }
            }
        }
    }
}

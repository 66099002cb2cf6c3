//! The operations of a step as data: what is summed, and what is mapped to what.
//!
//! An operation holds its inputs and its coefficients. So whoever cuts a tile, converts its type or hands it on does not
//! ask which operation it is: [`Sum::over`] and [`Map::over`] put other strips and coefficients in their places.

use crate::num::{Element, Real};
use crate::tensor::{Strips, StripsMut};
use std::hint::select_unpredictable;

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

/// An activation of one corner or two: v·slope where v ≤ low, `high` where v ≥ high, else v. So NaN passes. Where `slope` is 0, the
/// lower side is +0, of whatever v.
///
/// Half types round before they compare. The bounds see to that: they lie where the rounding to the type goes over to a corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clamp<R> {
    /// The largest value of the lower side; NaN for no such side.
    pub low: R,
    /// What is left of that side, not below 0.
    pub slope: R,
    /// The smallest value of the upper side; NaN for no such side.
    pub high: R,
}

/// The gate of an activation: of dy passes as much as [`Clamp::gate`] lets where the forward's value was (x − k)·a + b.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a, R> {
    /// The forward's coefficients.
    pub affine: Affine<'a, R>,
    /// The activation.
    pub clamp: Clamp<R>,
}

impl<'a, R> Gate<'a, R> {
    fn over<'b, S>(self, coefs: impl Fn(&'a [R]) -> &'b [S], clamp: Clamp<S>) -> Gate<'b, S> {
        let Affine { k, a, b } = self.affine;
        Gate { affine: Affine { k: coefs(k), a: coefs(a), b: coefs(b) }, clamp }
    }
}

/// What becomes of a normalized value.
#[derive(Clone, Copy, Debug)]
pub enum Post<'a, T: Element> {
    /// It is the output.
    Pass,
    /// An activation follows.
    Clamp(Clamp<T::Compute>),
    /// Another tensor is added, then an activation follows: (x − k)·a + (b + r), the bracket first.
    AddClamp(Strips<'a, T>, Clamp<T::Compute>),
}

impl<R: Real> Clamp<R> {
    /// That which changes nothing.
    #[must_use]
    pub fn none() -> Self {
        let nan = R::from_f64(f64::NAN);
        Self { low: nan, slope: R::default(), high: nan }
    }

    /// Whether it is max(v, 0), but for where half types round.
    #[must_use]
    pub fn is_relu(&self) -> bool {
        self.slope == R::default() && self.high.to_f64().is_nan()
    }

    /// The same for f64.
    #[must_use]
    pub fn widened(self) -> Clamp<f64> {
        Clamp { low: self.low.to_f64(), slope: self.slope.to_f64(), high: self.high.to_f64() }
    }

    /// What of dy passes at `v`: dy·slope where v ≤ low, 0 where v ≥ high, else dy; 0 where `slope` is. Without branches, since
    /// no signs can be foretold.
    #[inline(always)]
    #[must_use]
    pub fn gate(self, v: R, dy: R) -> R {
        let above = select_unpredictable(v >= self.high, R::default(), dy);
        select_unpredictable(v <= self.low, self.below(dy), above)
    }

    /// What becomes of `v`, likewise.
    #[inline(always)]
    #[must_use]
    pub fn of(self, v: R) -> R {
        let above = select_unpredictable(v >= self.high, self.high, v);
        select_unpredictable(v <= self.low, self.below(v), above)
    }

    /// What of `v` is left on the lower side.
    #[inline(always)]
    fn below(self, v: R) -> R {
        select_unpredictable(self.slope == R::default(), R::default(), v * self.slope)
    }
}

impl<'a, T: Element> Post<'a, T> {
    /// The same for a shorter time.
    #[inline(always)]
    #[must_use]
    pub fn reborrow(&self) -> Post<'_, T> {
        match self {
            Self::Pass => Post::Pass,
            Self::Clamp(clamp) => Post::Clamp(*clamp),
            Self::AddClamp(residual, clamp) => Post::AddClamp(residual.reborrow(), *clamp),
        }
    }

    /// The same, of what `plus` makes of the tensor that is added.
    #[must_use]
    pub fn with<'b, U: Element<Compute = T::Compute>>(
        self,
        plus: impl FnOnce(Strips<'a, T>) -> Strips<'b, U>,
    ) -> Post<'b, U> {
        match self {
            Self::Pass => Post::Pass,
            Self::Clamp(clamp) => Post::Clamp(clamp),
            Self::AddClamp(residual, clamp) => Post::AddClamp(plus(residual), clamp),
        }
    }

    /// What is added.
    #[must_use]
    pub fn plus(&self) -> Option<Strips<'a, T>> {
        match *self {
            Self::AddClamp(plus, _) => Some(plus),
            Self::Pass | Self::Clamp(_) => None,
        }
    }
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
        /// What dy passes before anything else.
        gate: Option<Gate<'a, T::Compute>>,
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
        post: Post<'a, T>,
    },
    /// dx = ((dy − m)·a + (x − k)·c) + d: through the batch's statistics.
    GradInput {
        /// The input of the forward.
        x: Strips<'a, T>,
        /// The gradient of its output.
        dy: Strips<'a, T>,
        /// k, a, c, d and m.
        affine: GradAffine<'a, T::Compute>,
        /// What dy passes before anything else; its k and a are the map's.
        gate: Option<Gate<'a, T::Compute>>,
    },
    /// dx = dy·a + 0: where the statistics are constants. The sum makes +0 of −0, as that of
    /// [`Map::GradInput`] does.
    Scale {
        /// The gradient of the output.
        dy: Strips<'a, T>,
        /// γ·invstd.
        a: &'a [T::Compute],
        /// x, and what dy passes by it before anything else; its a is the map's.
        gate: Option<(Strips<'a, T>, Gate<'a, T::Compute>)>,
    },
    /// What of dy passes the gate of an activation: dy·slope where y ≤ low, 0 where y ≥ high, else dy; 0 where `slope` is.
    Gated {
        /// The gradient of the output.
        dy: Strips<'a, T>,
        /// The output.
        y: Strips<'a, T>,
        /// The activation.
        clamp: Clamp<T::Compute>,
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
    pub fn over<'b, U: Element<Compute = T::Compute>>(
        &self,
        mut strips: impl FnMut(Strips<'a, T>) -> Strips<'b, U>,
        coefs: impl Fn(&'a [T::Compute]) -> &'b [U::Compute],
    ) -> Sum<'b, U> {
        match *self {
            Self::Moments { x, pilot } => Sum::Moments { x: strips(x), pilot: pilot.map(coefs) },
            Self::Grads { x, dy, pilot, gate } => {
                let gate = gate.map(|gate| gate.over(&coefs, gate.clamp));
                Sum::Grads { x: strips(x), dy: strips(dy), pilot: pilot.map(coefs), gate }
            }
        }
    }
}

impl<'a, T: Element> Map<'a, T> {
    /// Whether it is one of a layer by itself: without activation, gate or double backward.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(
            self,
            Self::Normalize { post: Post::Pass, .. }
                | Self::GradInput { gate: None, .. }
                | Self::Scale { gate: None, .. }
        )
    }

    /// How many inputs it has.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match self {
            Self::Normalize { post: Post::Pass | Post::Clamp(_), .. } | Self::Scale { gate: None, .. } => 1,
            Self::Normalize { .. } | Self::Scale { .. } | Self::GradInput { .. } | Self::Gated { .. } => 2,
            Self::Second { .. } => 3,
        }
    }

    /// The same map of other strips with other coefficients, of the inputs in their order.
    pub fn over<'b, U: Element<Compute = T::Compute>>(
        &self,
        mut strips: impl FnMut(Strips<'a, T>) -> Strips<'b, U>,
        coefs: impl Fn(&'a [T::Compute]) -> &'b [U::Compute],
    ) -> Map<'b, U> {
        match *self {
            Self::Normalize { x, affine: Affine { k, a, b }, post } => {
                let affine = Affine { k: coefs(k), a: coefs(a), b: coefs(b) };
                let x = strips(x);
                Map::Normalize { x, affine, post: post.with(strips) }
            }
            Self::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate } => {
                let affine = GradAffine { k: coefs(k), a: coefs(a), c: coefs(c), d: coefs(d), m: coefs(m) };
                let gate = gate.map(|gate| gate.over(&coefs, gate.clamp));
                Map::GradInput { x: strips(x), dy: strips(dy), affine, gate }
            }
            Self::Scale { dy, a, gate } => {
                let dy = strips(dy);
                let gate = gate.map(|(x, gate)| (strips(x), gate.over(&coefs, gate.clamp)));
                Map::Scale { dy, a: coefs(a), gate }
            }
            Self::Gated { dy, y, clamp } => Map::Gated { dy: strips(dy), y: strips(y), clamp },
            Self::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } } => {
                let [k, a, b, c, d, m, l] = [k, a, b, c, d, m, l].map(coefs);
                let affine = SecondAffine { k, a, b, c, d, m, l };
                Map::Second { x: strips(x), dy: strips(dy), v: strips(v), affine }
            }
        }
    }
}

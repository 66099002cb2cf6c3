//! The state of a forward with serde. Its numbers are stored as bits; what no forward can have left is refused.

use super::error::Error;
use super::mode::Mode;
use super::options::Done;
use super::parts::Moments;
use super::saved::Saved;
use super::sizes::Sizes;
use crate::maths::renorm::MovedVec;
use crate::maths::{self, Stats, StatsVec};
use crate::num::{Element, Real, Wide};
use crate::tensor::Shape;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

/// What is stored. Wide numbers are their parts, one behind the other.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Saved", deny_unknown_fields)]
struct Stored<'a> {
    /// The type of the tensor's elements.
    element: Cow<'a, str>,
    shape: Shape,
    mode: Mode,
    from_batch: bool,
    count: usize,
    /// One number.
    #[serde(with = "super::bits")]
    eps: Vec<f64>,
    #[serde(with = "super::bits")]
    mean: Vec<f64>,
    /// What the rounding of the mean left.
    #[serde(with = "super::bits")]
    rest: Vec<f64>,
    #[serde(with = "super::bits")]
    var: Vec<f64>,
    #[serde(with = "super::bits")]
    invstd: Vec<f64>,
    /// The moments that the statistics are from, where f64 does not hold all of these.
    moments: Option<Moments<f64>>,
    /// What the forward did beside.
    #[serde(default)]
    done: Done,
    /// r and d of a renormalization.
    #[serde(default, with = "super::bits")]
    r: Vec<f64>,
    #[serde(default, with = "super::bits")]
    d: Vec<f64>,
    /// The states of virtual batches.
    #[serde(default)]
    ghosts: Vec<Self>,
}

impl<T: Element> Serialize for Saved<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::of(self).serialize(serializer)
    }
}

impl<'de, T: Element> Deserialize<'de> for Saved<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stored::deserialize(deserializer)?.into_saved().map_err(de::Error::custom)
    }
}

impl Stored<'_> {
    fn of<T: Element>(saved: &Saved<T>) -> Self {
        let StatsVec::<T::Compute> { k, delta, var, invstd } = &saved.stats;
        let moments = || Moments::with(saved.count, saved.moments.clone());
        Self {
            element: T::NAME.into(),
            shape: saved.shape,
            mode: saved.mode,
            from_batch: saved.from_batch,
            count: saved.count,
            eps: vec![saved.eps],
            mean: k.iter().map(|v| v.to_f64()).collect(),
            rest: flat(delta),
            var: flat(var),
            invstd: flat(invstd),
            done: saved.done,
            moments: (!saved.moments.is_empty()).then(moments),
            r: flat(&saved.moved.r),
            d: flat(&saved.moved.d),
            ghosts: saved.ghosts.iter().map(Self::of).collect(),
        }
    }

    fn into_saved<T: Element>(self) -> Result<Saved<T>, Error> {
        let Self { element, shape, mode, from_batch, count, eps, mean, rest, var, invstd, .. } = self;
        let Self { moments, done, r, d, ghosts, .. } = self;
        if element != T::NAME {
            return Err(wrong("element", T::NAME, element));
        }
        let [eps] = eps[..] else { return Err(wrong("eps", "1 number", eps.len())) };
        let features = shape.features();
        let parts = <T::Compute as Real>::Wide::PARTS;
        let lengths =
            [("mean", &mean, 1), ("rest", &rest, parts), ("var", &var, parts), ("invstd", &invstd, parts)];
        for (what, values, parts) in lengths {
            if features.checked_mul(parts) != Some(values.len()) {
                let expected = format!("{parts} for each of {features} features");
                return Err(wrong(what, &expected, values.len()));
            }
        }
        for (what, values) in [("r", &r), ("d", &d)] {
            let renormed = features.checked_mul(parts).filter(|_| !r.is_empty()).unwrap_or(0);
            if values.len() != renormed {
                let expected = format!("none, or {parts} for each of {features} features in r and d");
                return Err(wrong(what, &expected, values.len()));
            }
        }
        if let Some(v) = mean.iter().find(|v| !v.is_nan() && T::Compute::from_f64(**v).to_f64() != **v) {
            return Err(wrong("mean", &format!("values of {}", <T::Compute as Element>::NAME), v));
        }
        let mean = mean.iter().map(|&v| T::Compute::from_f64(v)).collect();
        let [delta, var, invstd, r, d] = [&rest, &var, &invstd, &r, &d].map(|parts| wide::<T>(parts));
        let mut saved = Saved::default();
        (saved.shape, saved.sizes, saved.mode) = (shape, Sizes::Slice(shape), mode);
        (saved.from_batch, saved.count, saved.eps, saved.done) = (from_batch, count, eps, done);
        saved.stats = StatsVec::<T::Compute> { k: mean, delta, var, invstd };
        saved.moments = moments.map_or_else(Vec::new, |moments| moments.each().to_vec());
        saved.moved = MovedVec::<T::Compute> { r, d };
        saved.ghosts = ghosts.into_iter().map(Stored::into_saved).collect::<Result<_, _>>()?;
        // One that no forward has filled comes back as well.
        if saved != Saved::default() {
            saved.check_stored()?;
        }
        Ok(saved)
    }
}

impl<T: Element> Saved<T> {
    /// Whether a forward can have left it.
    fn check_stored(&self) -> Result<(), Error> {
        let &Self { shape, mode, from_batch, count, eps, .. } = self;
        super::config::check_eps(eps)?;
        self.done.activation.check::<T>()?;
        self.check_ghosts()?;
        let own = shape.count();
        // A part of a batch has the statistics of the whole.
        // A mask leaves some out.
        let masked = self.done.mask && count <= own;
        if count != own && !masked && (mode == Mode::Eval || !from_batch || count < own) {
            return Err(wrong("count", &format!("the {own} values per feature of the shape"), count));
        }
        let stats = self.stats.as_ref();
        let length = [0, shape.features()].contains(&self.moments.len());
        let of = |(f, own): (usize, &maths::Moments)| are_same(&own.stats(eps), &stats.get(f));
        if !length
            || ((!from_batch || T::Compute::sums_are_safe()) && !self.moments.is_empty())
            || !self.moments.iter().enumerate().all(of)
        {
            return Err(wrong("moments", "those of the statistics", "others"));
        }
        for f in 0..shape.features() {
            let (var, invstd) = (stats.var[f].to_f64(), stats.invstd[f].to_f64());
            if from_batch && count == 0 {
                if [stats.k[f].to_f64(), stats.delta[f].to_f64(), var, invstd] != [0.0; 4] {
                    return Err(wrong("mean, rest, var and invstd", "zeros after an empty batch", "others"));
                }
                continue;
            }
            if var < 0.0 {
                return Err(wrong("var", "numbers of 0 and above", var));
            }
            // Beyond these numbers the variance may have left the range of its type, which invstd has not.
            let of = var + eps;
            let apart = (invstd * of.sqrt() - 1.0).abs();
            if invstd < 0.0 || ((1e-200..1e200).contains(&of) && apart.is_nan() | (apart > 1e-6)) {
                return Err(wrong("invstd", &format!("1/√(var + eps) = {:e}", 1.0 / of.sqrt()), invstd));
            }
        }
        Ok(())
    }
}

impl<T: Element> Saved<T> {
    /// Whether r, d and virtual batches are those of such a forward.
    fn check_ghosts(&self) -> Result<(), Error> {
        let trains = self.mode == Mode::Train && self.from_batch;
        if self.moved.get().is_some() && (!trains || !self.ghosts.is_empty()) {
            return Err(wrong("r", "none but of a training batch by its own statistics", self.moved.r.len()));
        }
        if let Some(r) = self.moved.r.iter().find(|r| r.to_f64() < 0.0) {
            return Err(wrong("r", "numbers of 0 and above", r.to_f64()));
        }
        let key =
            |saved: &Self| (saved.shape.features(), saved.shape.inner(), saved.eps.to_bits(), saved.done);
        let fits = |ghost: &Self| {
            key(ghost) == key(self)
                && ghost.mode == Mode::Train
                && ghost.from_batch
                && ghost.ghosts.is_empty()
        };
        let rows = self.ghosts.iter().try_fold(0usize, |sum, ghost| sum.checked_add(ghost.shape.outer()));
        let whole = trains && self.count == self.shape.count() && rows == Some(self.shape.outer());
        if self.ghosts.is_empty() || (whole && self.ghosts.iter().all(fits)) {
            return Ok(());
        }
        let expected = format!("virtual batches of the {} samples of the shape", self.shape.outer());
        Err(wrong("ghosts", &expected, self.ghosts.len()))
    }
}

/// Whether both are the same; all NaN are one.
fn are_same<R: Real>(a: &Stats<R>, b: &Stats<R>) -> bool {
    let numbers = |s: &Stats<R>| [s.k.to_f64(), s.delta.to_f64(), s.var.to_f64(), s.invstd.to_f64()];
    numbers(a).into_iter().zip(numbers(b)).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

fn wrong(what: &'static str, expected: &str, got: impl ToString) -> Error {
    Error::State { what: what.into(), expected: expected.into(), got: got.to_string() }
}

/// Wide numbers as their parts.
fn flat<W: Wide>(values: &[W]) -> Vec<f64> {
    values.iter().flat_map(|v| [v.parts().0, v.parts().1].into_iter().take(W::PARTS)).collect()
}

/// As [`flat`] was given them.
fn wide<T: Element>(parts: &[f64]) -> Vec<<T::Compute as Real>::Wide> {
    let of = |parts: &[f64]| match parts.iter().all(|&part| part == 0.0) && parts[0].is_sign_negative() {
        // The sum of the parts would be +0.
        true => -<T::Compute as Real>::Wide::default(),
        false => Wide::from_parts(parts[0], parts.get(1).copied().unwrap_or_default()),
    };
    parts.chunks_exact(<T::Compute as Real>::Wide::PARTS).map(of).collect()
}

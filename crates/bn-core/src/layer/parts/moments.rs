//! The statistics of a part of a batch as a value that merges, whoever took them.

use super::Part;
use crate::driver::{self, Workspace};
use crate::kernel::Backend;
use crate::layer::config::RunningVar;
use crate::layer::error::{Error, check_len};
use crate::layer::running::RunningStats;
use crate::layer::saved::Saved;
use crate::maths;
use crate::num::{Dd, Element, Real, Wide};
use std::marker::PhantomData;

/// Count, mean and variance of each feature over some values; `R` is the type of the layer's statistics: f32, or f64 for f64
/// tensors. All features have the same count.
///
/// The mean is kept as a pilot of the type and an offset in about twice its digits, and the variance in as many. So moments merge to
/// those of all values within the limits of docs/numerics.md, however far the mean is from zero, in any order and grouping. They do
/// not promise the same bits from each: [`PartialSums`](super::PartialSums) do. Moments of no value, `Moments::default()`, merge as
/// nothing. What is not finite stays in its feature.
///
/// ```
/// use batchnorm::parts::{Moments, Part};
/// use batchnorm::{DefaultBackend, Shape, Workspace};
///
/// let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
/// let mut all = Moments::default();
/// for x in [&[1.0_f32, 3.0][..], &[5.0, 7.0, 9.0], &[]] {
///     all.merge(&Moments::of(&backend, Part::new(Shape::nc(x.len(), 1)?, x), &mut workspace)?)?;
/// }
/// assert_eq!((all.count(), all.mean(), all.var()), (5, vec![5.0], vec![8.0]));
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// With the feature `serde` it can be sent elsewhere, with every bit, NaN included, in any format.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(bound = "R: Real", try_from = "stored::Stored<'static>", into = "stored::Stored<'static>")
)]
pub struct Moments<R> {
    count: usize,
    features: Vec<maths::Moments>,
    type_of_statistics: PhantomData<R>,
}

impl<R> Default for Moments<R> {
    fn default() -> Self {
        Self { count: 0, features: Vec::new(), type_of_statistics: PhantomData }
    }
}

impl<R: Real> Moments<R> {
    /// Those that somebody else took: of each feature the mean and the biased variance Σ(x−μ)²/n over `count` values, in units of x
    /// and x². Shape (C,) each. Of no value, both are 0.
    ///
    /// The layer's limits then hold as far as these numbers are right. An f32 mean of what is far from zero is not: its rounding,
    /// |μ|·2⁻²⁴, stands in every x − μ. Take it in f64.
    ///
    /// # Errors
    /// [`Error::Length`] where there are not as many variances as means; [`Error::Parts`] for a negative variance, and for a
    /// mean or variance of no value that is not 0.
    ///
    /// ```
    /// use batchnorm::parts::Moments;
    ///
    /// let moments = Moments::<f32>::new(8, &[0.5, -1.0], &[1.0, 4.0])?;
    /// assert_eq!((moments.count(), moments.features()), (8, 2));
    /// assert!(Moments::<f32>::new(8, &[0.5], &[-1.0]).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn new(count: usize, mean: &[f64], var: &[f64]) -> Result<Self, Error> {
        check_len("var", mean.len(), var.len())?;
        let features = mean.iter().zip(var).enumerate().map(|(f, (&mean, &var))| {
            if var < 0.0 {
                return Err(wrong("variances of 0 and above", format!("{var} for feature {f}")));
            }
            if count == 0 && [mean, var] != [0.0; 2] {
                let got = format!("{mean} and {var} for feature {f}");
                return Err(wrong("means and variances of 0 where there is no value", got));
            }
            Ok(maths::Moments::given::<R>(mean, var))
        });
        Ok(Self { count, features: features.collect::<Result<_, _>>()?, ..Self::default() })
    }

    /// Of a part of a batch; it may have one value per feature, or none. x is read once, and once more where a mean is far from
    /// zero.
    ///
    /// # Errors
    /// [`Error::Length`] where x or the mask has not the shape's length.
    ///
    /// ```
    /// use batchnorm::parts::{Moments, Part};
    /// use batchnorm::{DefaultBackend, Shape, Workspace};
    ///
    /// let x = [1.0_f32, -4.0]; // one sample
    /// let part = Part::new(Shape::nc(1, 2)?, &x);
    /// let moments = Moments::of(&DefaultBackend::default(), part, &mut Workspace::default())?;
    /// assert_eq!((moments.mean(), moments.var()), (vec![1.0, -4.0], vec![0.0, 0.0]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn of<T: Element<Compute = R>, B: Backend>(
        backend: &B,
        part: Part<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<Self, Error> {
        part.check()?;
        let Part { shape, x, mask } = part;
        let x = shape.strips(x).unwrap_or_else(|| unreachable!("x has been checked"));
        let (features, count) = driver::moments(backend, (shape, x), mask, workspace);
        Ok(Self { count, features, ..Self::default() })
    }

    /// Those that a forward took of its batch, in training, or in evaluation without running statistics.
    ///
    /// A batch of f64 may have a variance that f64 does not hold. [`of`](Self::of) keeps its digits, a `Saved` has 0 or ∞.
    ///
    /// # Errors
    /// [`Error::EmptySaved`]; [`Error::Parts`] for the state of a forward with running statistics.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use batchnorm::parts::Moments;
    /// use ndarray::array;
    ///
    /// let (_y, saved) = BatchNorm::<f32>::new(1)?.forward(&array![[1.0], [3.0]])?;
    /// assert_eq!(Moments::of_saved(&saved)?, Moments::new(2, &[2.0], &[1.0])?);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn of_saved<T: Element<Compute = R>>(saved: &Saved<T>) -> Result<Self, Error> {
        saved.check(saved.mode)?;
        if !saved.from_batch {
            return Err(wrong("the saved state of a forward with its batch's statistics", "running ones"));
        }
        let stats = saved.stats.as_ref();
        let features = match saved.moments.is_empty() {
            true => (0..stats.k.len()).map(|f| maths::Moments::of(&stats.get(f))).collect(),
            false => saved.moments.clone(),
        };
        Ok(Self { count: saved.count, features, ..Self::default() })
    }

    /// C, the number of features; 0 where nothing has been merged yet.
    ///
    /// ```
    /// # use batchnorm::parts::Moments;
    /// assert_eq!(Moments::<f32>::new(8, &[0.5, -1.0], &[1.0, 4.0])?.features(), 2);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn features(&self) -> usize {
        self.features.len()
    }

    /// n, the number of values of a feature.
    ///
    /// ```
    /// # use batchnorm::parts::Moments;
    /// assert_eq!(Moments::<f32>::new(8, &[0.5, -1.0], &[1.0, 4.0])?.count(), 8);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// μ of each feature, to f64; in units of x. Shape (C,).
    ///
    /// ```
    /// # use batchnorm::parts::Moments;
    /// assert_eq!(Moments::<f32>::new(8, &[0.1], &[1.0])?.mean(), [0.1]); // not rounded to f32
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        self.features.iter().map(maths::Moments::mean).collect()
    }

    /// σ² = Σ(x−μ)²/n of each feature, the biased variance, to f64; in units of x². Shape (C,).
    ///
    /// ```
    /// # use batchnorm::parts::Moments;
    /// assert_eq!(Moments::<f32>::new(8, &[0.5], &[4.0])?.var(), [4.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn var(&self) -> Vec<f64> {
        self.features.iter().map(maths::Moments::var).collect()
    }

    /// Takes in the moments of other values:
    ///
    /// Δ = μ₂−μ₁, n = n₁+n₂, μ = μ₁ + Δ·n₂/n, n·σ² = n₁·σ₁² + n₂·σ₂² + Δ²·n₁·n₂/n
    ///
    /// (T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
    ///
    /// # Errors
    /// [`Error::Parts`] where the numbers of features differ, and where the counts have a sum beyond `usize`. Nothing is then
    /// changed.
    ///
    /// ```
    /// # use batchnorm::parts::Moments;
    /// let mut all = Moments::<f32>::new(1, &[0.0], &[0.0])?;
    /// all.merge(&Moments::new(3, &[4.0], &[1.0])?)?;
    /// assert_eq!((all.mean(), all.var()), (vec![3.0], vec![3.75])); // 3/4 + 16·3/16
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if self.features.is_empty() && self.count == 0 {
            self.clone_from(other);
            return Ok(());
        }
        if other.features.is_empty() && other.count == 0 {
            return Ok(());
        }
        if self.features() != other.features() {
            let [expected, got] = [self, other].map(|own| format!("moments of {} features", own.features()));
            return Err(wrong(&expected, got));
        }
        let Some(count) = self.count.checked_add(other.count) else {
            return Err(wrong("fewer values", format!("{} and {} per feature", self.count, other.count)));
        };
        let counts = [self.count, other.count].map(|count| count as f64);
        for (own, other) in self.features.iter_mut().zip(&other.features) {
            *own = own.merged::<R>(counts[0], *other, counts[1]);
        }
        self.count = count;
        Ok(())
    }

    /// Mean and variance as running statistics, `batches` of which went into them; the variance times n/(n−1) unless `kind` is the
    /// biased one. Of one value that factor is 1.
    pub(in crate::layer) fn running(&self, kind: RunningVar, batches: i64) -> RunningStats<R> {
        let n = self.count as f64;
        let factor = match kind {
            RunningVar::Unbiased if self.count > 1 => Dd::from_f64(n).over(n - 1.0),
            _ => Dd::from_f64(1.0),
        };
        let [mean, var] =
            [0, 1].map(|i| self.features.iter().map(|own| own.rounded::<R>(factor)[i]).collect());
        RunningStats { mean, var, num_batches_tracked: batches, ..RunningStats::new(self.features.len()) }
    }

    #[cfg(feature = "serde")]
    pub(in crate::layer) fn with(count: usize, features: Vec<maths::Moments>) -> Self {
        Self { count, features, ..Self::default() }
    }

    pub(in crate::layer) fn each(&self) -> &[maths::Moments] {
        &self.features
    }
}

fn wrong(expected: &str, got: impl Into<String>) -> Error {
    Error::Parts { expected: expected.into(), got: got.into() }
}

#[cfg(feature = "serde")]
mod stored {
    //! Moments with serde: their numbers as bits.

    use super::{Error, Moments, maths, wrong};
    use crate::num::{Dd, Element, Real, Wide};
    use serde::{Deserialize, Serialize};
    use std::borrow::Cow;

    /// What is stored. Numbers of twice f64's digits are their parts, one behind the other.
    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Moments", deny_unknown_fields)]
    pub(super) struct Stored<'a> {
        /// The type of the statistics.
        statistics: Cow<'a, str>,
        count: usize,
        #[serde(with = "crate::layer::bits")]
        mean: Vec<f64>,
        /// What the rounding of the mean left.
        #[serde(with = "crate::layer::bits")]
        rest: Vec<f64>,
        #[serde(with = "crate::layer::bits")]
        var: Vec<f64>,
        /// `rest` is in units of two to this power, `var` in their squares.
        unit: Vec<i32>,
    }

    /// The largest exponent of a unit.
    const LARGEST: i32 = 1100;

    fn flat(values: impl Iterator<Item = Dd>) -> Vec<f64> {
        values.flat_map(|v| [v.parts().0, v.parts().1]).collect()
    }

    impl<R: Real> From<Moments<R>> for Stored<'_> {
        fn from(moments: Moments<R>) -> Self {
            let each = || moments.features.iter();
            Self {
                statistics: R::NAME.into(),
                count: moments.count,
                mean: each().map(|own| own.k).collect(),
                rest: flat(each().map(|own| own.delta)),
                var: flat(each().map(|own| own.var)),
                unit: each().map(|own| own.unit).collect(),
            }
        }
    }

    impl<R: Real> TryFrom<Stored<'_>> for Moments<R> {
        type Error = Error;

        fn try_from(stored: Stored<'_>) -> Result<Self, Error> {
            let Stored { statistics, count, mean, rest, var, unit } = stored;
            if statistics != <R as Element>::NAME {
                return Err(wrong(&format!("moments for statistics of {}", R::NAME), statistics));
            }
            let lengths = [rest.len(), var.len(), 2 * unit.len()];
            if lengths != [2 * mean.len(); 3] {
                let expected =
                    format!("2 numbers of rest and var and a unit for each of {} means", mean.len());
                return Err(wrong(&expected, format!("{}, {} and {}", rest.len(), var.len(), unit.len())));
            }
            let pairs = rest.chunks_exact(2).zip(var.chunks_exact(2));
            let features = mean.into_iter().zip(pairs).zip(unit).map(|((k, (rest, var)), unit)| {
                let scaled = unit != 0 && R::sums_are_safe();
                let is_value = k.is_nan() || R::from_f64(k).to_f64() == k;
                if var[0] < 0.0 || scaled || unit.abs() > LARGEST || !is_value {
                    let got = format!("mean {k}, variance {} and unit {unit}", var[0]);
                    return Err(wrong("the mean and variance of a feature", got));
                }
                let wide = |v: &[f64]| Dd::from_parts(v[0], v[1]);
                Ok(maths::Moments { k, delta: wide(rest), var: wide(var), unit })
            });
            Ok(Self { count, features: features.collect::<Result<_, _>>()?, ..Self::default() })
        }
    }
}

//! The sums of a part of a batch as a value.

use super::wrong;
use crate::driver::{Summed, are_siblings, leaf_samples};
use crate::layer::error::Error;
use crate::maths::{HardSums, Totals};
use crate::num::{Dd, Real, Wide};
use std::marker::PhantomData;
use std::ops::Range;

/// Two sums of each feature over the samples of a part, or of several parts.
///
/// They are kept as the nodes of the whole batch's tree, at most two for each doubling of its leaves: a node merges with its
/// sibling alone. So the bits of the total do not depend on who summed what, nor on the order of merging. An empty one,
/// `PartialSums::default()`, takes in any.
///
/// With the feature `serde` a value can be sent elsewhere.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PartialSums<R> {
    pub(super) of: Option<Of>,
    /// In the order of their samples.
    pub(super) nodes: Vec<Node>,
    type_of_elements: PhantomData<R>,
}

/// Which sums, of which tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Of {
    pub(super) kind: Kind,
    pub(super) features: usize,
    pub(super) inner: usize,
    /// Stands for what they are taken around, see [`around`].
    pub(super) around: u64,
}

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Kind {
    /// x and x², around 0.
    Moments,
    /// The same around the means: the second round.
    Recentred,
    /// dy and dy·x.
    Gradients,
    /// The same around the means, for a double backward.
    Centred,
    /// The cotangent v of dx in the place of dy.
    Cotangents,
    /// v and v·dy, around the means of dy, or 0.
    Products,
}

/// Sums over a range of samples.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Node {
    pub(super) samples: Range<usize>,
    /// The values of a feature that exist.
    pub(super) count: usize,
    /// The parts of both sums of each feature, one behind the other.
    #[cfg_attr(feature = "serde", serde(with = "crate::layer::bits"))]
    pub(super) sums: Vec<f64>,
    /// Gradients alone: features whose sums do not tell theirs, [`HARD`] numbers of each, by feature.
    #[cfg_attr(feature = "serde", serde(with = "crate::layer::bits"))]
    pub(super) hard: Vec<f64>,
}

/// The numbers of a hard feature: which one, its two sums with their exponents, and its classes.
const HARD: usize = 9;

/// A number for pilots, which sums around others have not: FNV-1a of their bits.
pub(super) fn around<R: Real>(pilots: Option<&[R]>) -> u64 {
    pilots.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325, |hash, pilot| {
        // All NaNs count as one.
        let pilot = if pilot.to_f64().is_nan() { f64::NAN } else { pilot.to_f64() };
        (hash ^ pilot.to_bits()).wrapping_mul(0x0100_0000_01b3)
    })
}

impl<R> Default for PartialSums<R> {
    fn default() -> Self {
        Self { of: None, nodes: Vec::new(), type_of_elements: PhantomData }
    }
}

impl<R: Real> PartialSums<R> {
    pub(super) fn new(of: Of) -> Self {
        Self { of: Some(of), ..Self::default() }
    }

    /// Puts in the sums of the samples behind the others.
    pub(super) fn push(&mut self, Summed { samples, count, totals, hard }: Summed<'_, R>) {
        let sums = flat::<R>(totals.iter().copied());
        let hard = hard.iter().enumerate().filter_map(|(f, hard)| Some((f, (*hard)?)));
        self.nodes.push(Node { samples, count, sums, hard: hard.flat_map(hard_numbers).collect() });
        if let Some(of) = self.of {
            self.merge_siblings(leaf_samples(of.features, of.inner));
        }
    }

    pub(super) const fn per_feature() -> usize {
        2 * R::Wide::PARTS
    }

    /// How many samples it is the sums of.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.nodes.iter().fold(0, |all, node| all.saturating_add(node.samples.len()))
    }

    /// Takes in the sums of another part.
    ///
    /// # Errors
    /// [`Error::Parts`] where they are of another tensor or kind, or a sample is in both. Nothing is then changed.
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        self.merge_all(&[other])
    }

    /// As [`merge`](Self::merge), with those of several parts at once.
    pub(in crate::layer) fn merge_all(&mut self, others: &[Self]) -> Result<(), Error> {
        let mut all = self.of.into_iter().chain(others.iter().filter_map(|other| other.of));
        let Some(of) = all.next() else { return Ok(()) };
        if let Some(other) = all.find(|other| *other != of) {
            return Err(other.instead_of(&of));
        }
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.extend(others.iter().flat_map(|other| &other.nodes));
        nodes.iter().try_for_each(|node| Self::check(node, &of))?;
        nodes.sort_by_key(|node| node.samples.start);
        if let Some([a, b]) = nodes.array_windows().find(|[a, b]| a.samples.end > b.samples.start) {
            let got = format!("the sums of samples {:?} and {:?}", a.samples, b.samples);
            return Err(wrong("the sums of each sample once", &got));
        }
        let nodes = nodes.into_iter().cloned().collect::<Vec<_>>();
        (self.of, self.nodes) = (Some(of), Vec::new());
        let leaf = leaf_samples(of.features, of.inner);
        for node in nodes {
            self.nodes.push(node);
            self.merge_siblings(leaf);
        }
        Ok(())
    }

    /// Merges the last nodes as long as they are siblings.
    fn merge_siblings(&mut self, leaf: usize) {
        while let [.., first, second] = &mut self.nodes[..]
            && let (Some(a), Some(b)) = (first.leaves(leaf), second.leaves(leaf))
            && first.samples.end == a.end * leaf
            && are_siblings(&a, &b)
        {
            first.take_in::<R>(second);
            self.nodes.pop();
        }
    }

    /// Whether a node, which may have come from elsewhere, is one of such sums.
    fn check(Node { samples, count, sums, hard }: &Node, of: &Of) -> Result<(), Error> {
        if of.features.checked_mul(Self::per_feature()) != Some(sums.len()) {
            return Err(wrong(&of.to_string(), &format!("{} numbers", sums.len())));
        }
        let leaf = leaf_samples(of.features, of.inner);
        if samples.is_empty() || samples.end.checked_next_multiple_of(leaf).is_none() {
            return Err(wrong("a range of samples", &format!("{samples:?}")));
        }
        if samples.len().checked_mul(of.inner).is_none_or(|most| *count > most) {
            let expected = format!("at most {} values in each of {} samples", of.inner, samples.len());
            return Err(wrong(&expected, &format!("{count} in all")));
        }
        let ascending = hard.chunks(HARD).is_sorted_by(|a, b| a[0] < b[0]);
        let is_feature = |v: &f64| (0.0..of.features as f64).contains(v) && v.fract() == 0.0;
        if !(hard.len().is_multiple_of(HARD) && ascending && hard.iter().step_by(HARD).all(is_feature)) {
            return Err(wrong("hard features in order", "others"));
        }
        Ok(())
    }

    /// The sums of a whole batch, those that these do not tell, and how many values of a feature they are of; `inner` and `around` of those that are expected, where
    /// they are known.
    pub(super) fn total(
        &self,
        (kind, features): (Kind, usize),
        (inner, around): (Option<usize>, u64),
    ) -> Result<Total<R>, Error> {
        let Some(of) = self.of else { return Ok(self.own_total(features)) };
        let expected = Of { kind, features, inner: inner.unwrap_or(of.inner), around };
        if of != expected {
            return Err(of.instead_of(&expected));
        }
        let mut next = 0;
        for node in &self.nodes {
            Self::check(node, &of)?;
            let samples = &node.samples;
            if samples.start != next {
                let got = format!("none of the samples {next} to {}", samples.start);
                return Err(wrong("the sums of every sample", &got));
            }
            next = samples.end;
        }
        Ok(self.own_total(features))
    }

    /// The sums of the samples that are there.
    pub(super) fn own_total(&self, features: usize) -> Total<R> {
        let mut nodes = self.nodes.iter().rev().cloned();
        let Some(mut last) = nodes.next() else {
            return Total { totals: vec![Default::default(); features], hard: Vec::new(), count: 0 };
        };
        for mut node in nodes {
            node.take_in::<R>(&last);
            last = node;
        }
        let mut hard = vec![None; if last.hard.is_empty() { 0 } else { features }];
        last.hard_sums().for_each(|(f, sums)| hard[f] = Some(sums));
        Total { totals: totals::<R>(&last.sums).collect(), hard, count: last.count }
    }
}

/// The sums of a whole batch.
pub(super) struct Total<R: Real> {
    pub(super) totals: Vec<Totals<R>>,
    /// Of features whose totals do not tell them; empty where all do.
    pub(super) hard: Vec<Option<HardSums>>,
    /// The values of a feature.
    pub(super) count: usize,
}

impl Node {
    /// The leaves it covers, where it begins at one and ends at one or with the part.
    fn leaves(&self, leaf: usize) -> Option<Range<usize>> {
        let start = self.samples.start;
        start.is_multiple_of(leaf).then(|| start / leaf..self.samples.end.div_ceil(leaf))
    }

    /// Adds what its sibling has, which comes behind.
    fn take_in<R: Real>(&mut self, other: &Self) {
        if !(self.hard.is_empty() && other.hard.is_empty()) {
            self.hard = self.merged_hard::<R>(other);
        }
        let pairs = totals::<R>(&self.sums).zip(totals::<R>(&other.sums));
        self.sums = flat::<R>(pairs.map(|(a, b)| (a.0 + b.0, a.1 + b.1)));
        self.samples.end = other.samples.end;
        // What cannot be counted is more than any statistics are of.
        self.count = self.count.saturating_add(other.count);
    }

    fn hard_sums(&self) -> impl Iterator<Item = (usize, HardSums)> + '_ {
        self.hard.chunks_exact(HARD).map(|v| {
            let sum = |at: usize| (Dd::from_parts(v[at], v[at + 1]), v[at + 2].clamp(-9999.0, 9999.0) as i32);
            (v[0] as usize, HardSums { first: sum(1), second: sum(4), class: [v[7], v[8]] })
        })
    }

    /// The hard features of either node: what the other has of it joins, from its ordinary sums if need be.
    fn merged_hard<R: Real>(&self, other: &Self) -> Vec<f64> {
        let mut features: Vec<usize> = self.hard_sums().chain(other.hard_sums()).map(|(f, _)| f).collect();
        features.sort_unstable();
        features.dedup();
        let (mut own, mut others) = (self.hard_sums().peekable(), other.hard_sums().peekable());
        let each = features.into_iter().flat_map(|f| {
            // Both lists ascend.
            let own =
                own.next_if(|(own, _)| *own == f).map_or_else(|| self.sums_of::<R>(f), |(_, sums)| sums);
            let other =
                others.next_if(|(own, _)| *own == f).map_or_else(|| other.sums_of::<R>(f), |(_, sums)| sums);
            hard_numbers((f, own.merged(&other)))
        });
        each.collect()
    }

    /// What the kernels took of a feature.
    fn sums_of<R: Real>(&self, f: usize) -> HardSums {
        let sums = self.sums.get(f * 2 * R::Wide::PARTS..).unwrap_or_default();
        totals::<R>(sums).next().map(HardSums::of::<R>).unwrap_or_default()
    }
}

fn hard_numbers((f, HardSums { first, second, class }): (usize, HardSums)) -> [f64; HARD] {
    let ((a, b), (c, d)) = (first.0.parts(), second.0.parts());
    [f as f64, a, b, f64::from(first.1), c, d, f64::from(second.1), class[0], class[1]]
}

/// Both sums of each feature as their parts.
fn flat<R: Real>(totals: impl Iterator<Item = Totals<R>>) -> Vec<f64> {
    let parts = totals.flat_map(|(first, second)| [first.parts(), second.parts()]);
    parts.flat_map(|(hi, lo)| [hi, lo].into_iter().take(R::Wide::PARTS)).collect()
}

/// As [`flat`] was given them.
fn totals<R: Real>(sums: &[f64]) -> impl Iterator<Item = Totals<R>> + '_ {
    sums.chunks_exact(2 * R::Wide::PARTS).map(|sums| {
        let (first, second) = sums.split_at(R::Wide::PARTS);
        let wide = |parts: &[f64]| R::Wide::from_parts(parts[0], parts.get(1).copied().unwrap_or_default());
        (wide(first), wide(second))
    })
}

impl Of {
    /// Why these are not the others.
    fn instead_of(&self, expected: &Self) -> Error {
        if (Self { around: expected.around, ..*self }) == *expected {
            return wrong(&format!("{expected} as the statistics have them"), "sums around other means");
        }
        wrong(&expected.to_string(), &self.to_string())
    }
}

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Moments => "sums of x around 0",
            Kind::Recentred => "sums of x around the means",
            Kind::Gradients => "sums of dy and dy·x",
            Kind::Centred => "sums of dy and dy·x around the means",
            Kind::Cotangents => "sums of v and v·x around the means",
            Kind::Products => "sums of v and v·dy",
        };
        write!(f, "{kind} for {} features with {} values in a sample", self.features, self.inner)
    }
}

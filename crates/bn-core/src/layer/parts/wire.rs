//! The sums of a part as words, for other ranks: first what has a length that everybody knows, then hard features.
//!
//! ```text
//! a part     what the sums are around, how many nodes, each node
//! a node     first sample, last sample + 1, count, numbers of hard features, the parts of both sums of each feature
//! ```

use super::sums::{Node, PartialSums};
use crate::layer::error::Error;
use crate::num::Real;

/// The words of a part and of a node beside its sums.
const OF_PART: usize = 2;
const OF_NODE: usize = 4;

impl<R: Real> PartialSums<R> {
    /// The words that a part with so many nodes has first.
    pub(in crate::layer) fn words(features: usize, nodes: usize) -> usize {
        OF_PART + nodes * Self::words_of_node(features)
    }

    fn words_of_node(features: usize) -> usize {
        OF_NODE + features * Self::per_feature()
    }

    /// Of how many features.
    pub(in crate::layer) fn own_features(&self) -> usize {
        self.of.map_or(0, |of| of.features)
    }

    /// Whether it is known what they are the sums of.
    pub(in crate::layer) fn is_known(&self) -> bool {
        self.of.is_some()
    }

    /// Those that it has itself.
    pub(in crate::layer) fn own_words(&self) -> usize {
        Self::words(self.own_features(), self.nodes.len())
    }

    /// Puts what comes first behind `words`.
    pub(in crate::layer) fn put(&self, words: &mut Vec<u64>) {
        words.extend([self.of.map_or(0, |of| of.around), self.nodes.len() as u64]);
        for Node { samples, count, sums, hard } in &self.nodes {
            words.extend([samples.start, samples.end, *count, hard.len()].map(|v| v as u64));
            words.extend(sums.iter().map(|v| v.to_bits()));
        }
    }

    /// Puts the numbers of hard features behind `words`.
    pub(in crate::layer) fn put_hard(&self, words: &mut Vec<u64>) {
        words.extend(self.nodes.iter().flat_map(|node| &node.hard).map(|v| v.to_bits()));
    }

    /// Takes sums of the same kind from another rank's `words`, without the numbers of hard features, and says how many of them each
    /// node has.
    pub(in crate::layer) fn take(&self, words: &mut &[u64]) -> Result<(Self, Vec<usize>), Error> {
        let of = self.of.ok_or_else(|| super::wrong("sums of a part", "none"))?;
        let number = |v: u64| usize::try_from(v).unwrap_or(usize::MAX);
        let [around, nodes] = *cut_array(words)?;
        let mut sums = Self::new(super::sums::Of { around, ..of });
        let mut lens = Vec::new();
        for _ in 0..nodes {
            let [start, end, count, hard] = cut_array(words)?.map(number);
            let own = cut(words, of.features * Self::per_feature())?;
            let own = own.iter().map(|bits| f64::from_bits(*bits)).collect();
            sums.nodes.push(Node { samples: start..end, count, sums: own, hard: Vec::new() });
            lens.push(hard);
        }
        Ok((sums, lens))
    }

    /// Takes the numbers of hard features as well.
    pub(in crate::layer) fn take_hard(&mut self, lens: &[usize], words: &mut &[u64]) -> Result<(), Error> {
        for (node, len) in self.nodes.iter_mut().zip(lens) {
            node.hard = cut(words, *len)?.iter().map(|bits| f64::from_bits(*bits)).collect();
        }
        Ok(())
    }
}

/// The first words, which are cut off.
fn cut<'w>(words: &mut &'w [u64], len: usize) -> Result<&'w [u64], Error> {
    let got = words.len();
    let (own, rest) = words
        .split_at_checked(len)
        .ok_or_else(|| super::wrong(&format!("{len} more words of a rank"), &got.to_string()))?;
    *words = rest;
    Ok(own)
}

fn cut_array<'w, const N: usize>(words: &mut &'w [u64]) -> Result<&'w [u64; N], Error> {
    Ok(cut(words, N)?.try_into().unwrap_or_else(|_| unreachable!("cut to this length")))
}

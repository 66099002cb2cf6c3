//! Brings the sums of all ranks together: everybody comes to the same whole.
//!
//! ```text
//! gather       every rank gets the nodes of every other one: one collective of bytes that grow with the ranks
//! along_tree   pairs of ranks exchange what they have merged so far: log₂ of the ranks exchanges of a few nodes
//! ```
//!
//! Nodes merge with their siblings alone, so that either gives the same bits. docs/scaling.md says which is used where.

use super::communicator::Communicator;
use super::wrong;
use crate::layer::error::Error;
use crate::layer::parts::{Moments, PartialSums};
use crate::maths;
use crate::num::Real;

/// By one collective; one more where a rank has hard features. `lengths` are the words of each rank.
pub(super) fn gather<R: Real>(
    comm: &impl Communicator,
    sums: &mut [&mut PartialSums<R>],
    lengths: &[usize],
) -> Result<(), Error> {
    let mut own = Vec::new();
    sums.iter().for_each(|sums| sums.put(&mut own));
    let gathered = |own: &[u64], lengths: &[usize]| {
        let mut all = vec![0; lengths.iter().fold(0, |all: usize, len| all.saturating_add(*len))];
        comm.all_gather(own, lengths, &mut all).map(|()| all)
    };
    let all = gathered(&own, lengths)?;
    let mut words = &all[..];
    // By rank, and by sums.
    let mut taken = lengths.iter().map(|_| sums.iter().map(|own| own.take(&mut words)).collect());
    let mut taken = taken.by_ref().collect::<Result<Vec<Vec<_>>, Error>>()?;
    let hard: Vec<usize> = taken.iter().map(|sums| sums.iter().flat_map(|(_, lens)| lens).sum()).collect();
    if hard.iter().any(|len| *len > 0) {
        own.clear();
        sums.iter().for_each(|sums| sums.put_hard(&mut own));
        let all = gathered(&own, &hard)?;
        let mut words = &all[..];
        for (sums, lens) in taken.iter_mut().flatten() {
            sums.take_hard(lens, &mut words)?;
        }
    }
    // All in the order of ranks, so that an error is the same on each.
    let mut ranks = taken.into_iter().map(|sums| sums.into_iter().map(|(sums, _)| sums));
    let mut by_sums = vec![Vec::with_capacity(lengths.len()); sums.len()];
    ranks.by_ref().for_each(|rank| by_sums.iter_mut().zip(rank).for_each(|(all, own)| all.push(own)));
    for (to, all) in sums.iter_mut().zip(by_sums) {
        let mut whole = PartialSums::default();
        whole.merge_all(&all)?;
        **to = whole;
    }
    Ok(())
}

/// The moments of these features over all ranks, merged in the order of ranks: those of f64 keep what sums lose.
pub(super) fn moments<R: Real>(
    comm: &impl Communicator,
    own: &Moments<R>,
    features: &[usize],
) -> Result<Vec<maths::Moments>, Error> {
    let mut words = vec![own.count() as u64];
    words.extend(features.iter().flat_map(|&f| own.each()[f].words()));
    let mut all = vec![0; words.len() * comm.size()];
    comm.all_gather(&words, &vec![words.len(); comm.size()], &mut all)?;
    let (mut count, mut merged) = (0.0, vec![maths::Moments::default(); features.len()]);
    for words in all.chunks_exact(words.len()) {
        let (n, each) = (words[0] as f64, words[1..].as_chunks().0);
        for (to, own) in merged.iter_mut().zip(each) {
            *to = to.merged::<R>(count, maths::Moments::of_words(own), n);
        }
        count += n;
    }
    Ok(merged)
}

/// What a rank sends that has had an error: no sums begin so.
const ERROR: [u64; 1] = [u64::MAX];

/// By exchanges of two ranks each.
pub(super) fn along_tree<R: Real>(
    comm: &impl Communicator,
    sums: &mut [&mut PartialSums<R>],
) -> Result<(), Error> {
    let (rank, size) = (comm.rank(), comm.size());
    let pairs = 1 << size.ilog2();
    // A rank beyond a power of two hands its sums to another one, and gets the whole in the end.
    if rank >= pairs {
        comm.exchange(rank - pairs, &words(sums))?;
        let whole = comm.exchange(rank - pairs, &[])?;
        return replaced(sums, &whole);
    }
    let mut state = Ok(());
    if rank + pairs < size {
        let theirs = comm.exchange(rank + pairs, &[])?;
        state = state.and_then(|()| merged(sums, &theirs));
    }
    for step in std::iter::successors(Some(1), |step| Some(step * 2)).take_while(|step| *step < pairs) {
        let own = if state.is_ok() { words(sums) } else { ERROR.to_vec() };
        let theirs = comm.exchange(rank ^ step, &own)?;
        state = state.and_then(|()| merged(sums, &theirs));
    }
    if rank + pairs < size {
        let own = if state.is_ok() { words(sums) } else { ERROR.to_vec() };
        comm.exchange(rank + pairs, &own)?;
    }
    state
}

fn words<R: Real>(sums: &[&mut PartialSums<R>]) -> Vec<u64> {
    let mut words = Vec::new();
    sums.iter().for_each(|sums| sums.put(&mut words));
    sums.iter().for_each(|sums| sums.put_hard(&mut words));
    words
}

/// The sums that another rank has sent.
fn sent<R: Real>(sums: &[&mut PartialSums<R>], mut words: &[u64]) -> Result<Vec<PartialSums<R>>, Error> {
    let other = || wrong("sums that fit together on every rank", "others".into());
    if words == ERROR {
        return Err(other());
    }
    let words = &mut words;
    let taken = sums.iter().map(|own| own.take(words)).collect::<Result<Vec<_>, _>>();
    let mut taken = taken.map_err(|_| other())?;
    for (sums, lens) in &mut taken {
        sums.take_hard(lens, words).map_err(|_| other())?;
    }
    Ok(taken.into_iter().map(|(sums, _)| sums).collect())
}

fn merged<R: Real>(sums: &mut [&mut PartialSums<R>], words: &[u64]) -> Result<(), Error> {
    let other = |_| wrong("sums that fit together on every rank", "others".into());
    let theirs = sent(sums, words)?;
    sums.iter_mut().zip(theirs).try_for_each(|(own, theirs)| own.merge(theirs).map_err(other))
}

fn replaced<R: Real>(sums: &mut [&mut PartialSums<R>], words: &[u64]) -> Result<(), Error> {
    let whole = sent(sums, words)?;
    sums.iter_mut().zip(whole).for_each(|(own, whole)| **own = whole);
    Ok(())
}

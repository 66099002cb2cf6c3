//! The bits of the whole table, without its answers: whoever runs a case gives the same.
//!
//! The oracle takes most of [`crate::suite`]'s time, and it need not judge the same bits twice. So a build for another
//! machine, or a number of threads, is held to bits alone.

use crate::any::{AnyCase, Candidate};
use crate::digest::same_bits;
use crate::run::Answer;
use crate::suite;

/// Backends that run together: on the caller's thread, or in a pool of threads.
pub struct Group<'a> {
    /// What reports call the place, such as `7 threads`.
    pub place: String,
    /// The backends.
    pub candidates: Vec<Candidate>,
    /// Runs a closure in that place.
    pub within: &'a (dyn Fn(&mut (dyn FnMut() + Send)) + Sync),
}

/// The bits of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseBits {
    /// The case.
    pub name: String,
    /// One number for all tensors that the first backend gives; for an error, of its text.
    pub digest: u64,
    /// Who gives other bits, as `BACKEND, PLACE: TENSORS`.
    pub unlike: Vec<String>,
}

/// Runs the cases of the table, in its order, on every backend of every group. The first one's bits are the ones
/// that the others must give. With `one_in` above 1 every shape meets one in so many plain data sets, and another shape others; all
/// hard and all long cases are run. `progress` learns how many cases of how many are done.
pub fn bits(groups: &[Group<'_>], one_in: usize, progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<CaseBits> {
    let jobs = suite::unanswered(one_in);
    suite::each(&jobs, &|job| of(&job().0, groups), &|done| progress(done, jobs.len()))
}

fn of(case: &AnyCase, groups: &[Group<'_>]) -> CaseBits {
    let mut bits = CaseBits { name: case.name().into(), digest: 0, unlike: Vec::new() };
    let mut first: Option<Answer> = None;
    for Group { place, candidates, within } in groups {
        let mut answers = Vec::new();
        within(&mut || answers = candidates.iter().map(|candidate| (candidate.run)(case)).collect());
        for (candidate, got) in candidates.iter().zip(answers) {
            let first = first.get_or_insert_with(|| got.clone());
            let other = unlike(&got, first);
            if !other.is_empty() {
                bits.unlike.push(format!("{}, {place}: {}", candidate.name, other.join(", ")));
            }
        }
    }
    bits.digest = match first {
        Some(Ok(results)) => {
            results.iter().fold(0, |all: u64, (tensor, v)| all.rotate_left(7) ^ case.digest(tensor, v))
        }
        Some(Err(error)) => error.to_string().bytes().fold(7, |h, b| h.rotate_left(7) ^ u64::from(b)),
        None => 0,
    };
    bits
}

/// In which tensors two answers differ.
fn unlike(got: &Answer, first: &Answer) -> Vec<String> {
    match (got, first) {
        (Ok(got), Ok(first)) => {
            let there = |t| got.get(t).zip(first.get(t));
            let tensors = got.iter().chain(first.iter()).map(|(t, _)| t);
            let mut other: Vec<String> = tensors
                .filter(|&t| !there(t).is_some_and(|(got, first)| same_bits(got, first)))
                .map(|t| t.name().to_string())
                .collect();
            other.dedup();
            other
        }
        (Err(got), Err(first)) if got == first => Vec::new(),
        (Err(error), _) => vec![format!("the error {error}")],
        (Ok(_), Err(error)) => vec![format!("no error {error}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Results, Tensor};
    use bn_core::Error;

    #[test]
    fn other_bits_are_named_by_tensor() {
        let results = |y: f64, dx: f64| {
            let mut results = Results::default();
            results.insert(Tensor::Y, vec![1.0, y]);
            results.insert(Tensor::Dx, vec![dx]);
            Ok(results)
        };
        assert_eq!(unlike(&results(0.0, f64::NAN), &results(0.0, -f64::NAN)), Vec::<String>::new());
        assert_eq!(unlike(&results(-0.0, 2.0), &results(0.0, 2.0)), ["y"]);
        assert_eq!(unlike(&Ok(Results::default()), &results(0.0, 2.0)), ["y", "dx"]);
        let error = || Err(Error::EmptySaved);
        assert_eq!(unlike(&results(0.0, 1.0), &error()).len(), 1);
        assert_eq!(unlike(&error(), &results(0.0, 1.0)).len(), 1);
        assert!(unlike(&error(), &error()).is_empty());
    }
}

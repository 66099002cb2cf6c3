//! Ranks that are threads hold what ranks must hold, and none waits for one that has left.

use bn_conformance::any::AnyCase;
use bn_conformance::case::{Case, Cotangents};
use bn_conformance::data::{normal, rng};
use bn_conformance::measure::Row;
use bn_conformance::second::{self, Kind};
use bn_conformance::{table, together};
use bn_core::functions::Forward;
use bn_core::ranks::{Communicator, Ranks, Threads};
use bn_core::{Element, Mode, Real, Saved, Shape, Workspace};
use bn_scalar::Scalar;
use std::thread;

/// Runs the same on so many ranks, and returns what each says.
fn on<V: Send>(size: usize, run: impl Fn(Threads) -> V + Sync) -> Vec<V> {
    thread::scope(|scope| {
        let ranks = Threads::ranks(size).into_iter();
        let threads: Vec<_> = ranks.map(|comm| scope.spawn(|| run(comm))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn threads_together_hold_what_ranks_must() {
    for size in [1, 2, 3, 4, 7] {
        for (rank, failures) in on(size, |comm| together::all(&Scalar, &comm)).into_iter().enumerate() {
            assert!(failures.is_empty(), "rank {rank} of {size}: {failures:#?}");
        }
    }
}

#[test]
fn nobody_waits_for_a_rank_that_has_left() {
    for gathers in [8, 1] {
        let said = on(3, |comm| {
            let rank = comm.rank();
            let mut ranks = Ranks::new(comm).gather_up_to(gathers);
            let (shape, x, mut y) = (Shape::nc(4, 2)?, [0.5_f32; 8], [0.0; 8]);
            let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
            for _ in 0..if rank == 1 { 1 } else { 2 } {
                let step = Forward::new(shape, &x, &mut y);
                ranks.layer(0).train(&Scalar, step, &mut saved, &mut workspace)?;
            }
            Ok::<_, bn_core::Error>(())
        });
        let gone = "expected every rank at work, got rank 1, which has left";
        let said: Vec<_> = said.into_iter().map(|said| said.err().map(|error| error.to_string())).collect();
        // Of the two that go on, the one that leaves with its error may be what the other one sees.
        assert_eq!(said[1], None);
        assert!(said.iter().any(|said| said.as_deref() == Some(gone)), "{said:?}");
        assert!(said[0].is_some() && said[2].is_some(), "{said:?}");
    }
}

#[test]
fn what_threads_cannot_do_is_named() {
    let said = on(2, |comm| {
        let other = comm.exchange(2, &[]).unwrap_err().to_string();
        let own = comm.exchange(comm.rank(), &[]).unwrap_err().to_string();
        let lengths = comm.all_gather(&[1, 2], &[2, 3], &mut [0; 5]).unwrap_err().to_string();
        let mut all = [0; 2];
        comm.all_gather(&[comm.rank() as u64], &[1, 1], &mut all).unwrap();
        (other, own, lengths, all)
    });
    for (rank, (other, own, lengths, all)) in said.into_iter().enumerate() {
        let another = format!("expected another one of 2 ranks beside rank {rank}, got rank ");
        assert_eq!((other, own), (another.clone() + "2", format!("{another}{rank}")));
        assert_eq!((lengths.as_str(), all), ("expected [2, 3] words of the ranks, got 4 in all", [0, 1]));
    }
}

/// The double backwards of the table with hard features, on numbers of ranks that the suite does not go over.
#[test]
fn hard_double_backwards_keep_their_limits_on_ranks() {
    hard_on_ranks::<f32>();
    hard_on_ranks::<f64>();
}

fn hard_on_ranks<T: Element>()
where
    AnyCase: From<Case<T>>,
{
    // Some lack the cotangent of dx.
    let hard = second::all().filter(|(_, kind, turn)| turn % 11 == 0 || matches!(kind, Kind::Hard(..)));
    let cases = hard.map(|(entry, kind, turn)| second::case::<T>(entry, kind, turn));
    let has_spread = |case: &Case<T>| case.shape().is_ok_and(|shape| shape.count() > 1);
    on_ranks_within_limits(cases.filter(|case| case.mode == Mode::Train && has_spread(case)));
}

/// A few samples of the first or the last rank are far larger than all others, perhaps with sums of 0.
#[test]
fn ranks_of_other_sizes_keep_the_limits() {
    let sizes = [1e-300, 1e-160, 1e-100, 1.0, 1e100, 1e160, 1e300];
    on_ranks_within_limits(uneven::<f64>(&sizes).into_iter());
    on_ranks_within_limits(uneven::<f32>(&[1e-42, 1e-30, 1.0, 1e18, 1e37]).into_iter());
}

/// A feature for each pair of sizes of dy and v, of cases with each size of x, at either end.
fn uneven<T: Element>(sizes: &[f64]) -> Vec<Case<T>> {
    let (mut cases, features, samples) = (Vec::new(), sizes.len().pow(2), 11);
    for (&of_x, last, twins) in sizes
        .iter()
        .flat_map(|of_x| [(of_x, false, true), (of_x, true, true), (of_x, false, false), (of_x, true, false)])
    {
        let mut rng = rng(71);
        let mut tensor = |size: &dyn Fn(usize) -> f64| -> Vec<T> {
            let mut values: Vec<f64> = (0..samples * features).map(|_| normal(&mut rng)).collect();
            for f in 0..features {
                let at = |row: usize| if last { samples - 1 - row } else { row } * features + f;
                values[at(0)] *= size(f);
                // The opposite of the first, so that no sum tells of them.
                if twins {
                    values[at(1)] = -values[at(0)];
                }
            }
            values.into_iter().map(|v| T::from_compute(T::Compute::from_f64(v))).collect()
        };
        let n = sizes.len();
        let x = tensor(&|_| of_x);
        let (dy, v) = (tensor(&|f| sizes[f / n]), tensor(&|f| sizes[f % n]));
        let ones = |v: f64| Some(vec![T::Compute::from_f64(v); features]);
        cases.push(Case {
            name: format!("x of {of_x:e}, twins {twins}, last {last}"),
            dims: vec![samples, features],
            mode: Mode::Train,
            x,
            dy: Some(dy),
            affine: [ones(1.5), ones(0.1)],
            cotangents: Some(Cotangents { dx: Some(v), dweight: ones(0.7), dbias: ones(-0.3) }),
            ..Case::default()
        });
    }
    cases
}

fn on_ranks_within_limits<T: Element>(cases: impl Iterator<Item = Case<T>>)
where
    AnyCase: From<Case<T>>,
{
    let mut failures = Vec::new();
    for case in cases {
        let case = AnyCase::from(Case { expect: table::expected(&case), ..case });
        let scales = case.scales();
        for n in [1, 2, 3, 5] {
            let results = match case.run_in_ranks(&Scalar, n) {
                Ok(results) => results,
                Err(error) => {
                    failures.push(format!("{} on {n} ranks: {error}", case.name()));
                    continue;
                }
            };
            let bad = case.check_by(&scales, &results).into_iter().filter(|row| !row.ok());
            failures.extend(bad.map(|Row { tensor, error, worst, .. }| {
                format!("{} {} on {n} ranks: {tensor} {error} {worst:?}", T::NAME, case.name())
            }));
        }
    }
    assert!(failures.is_empty(), "{} {failures:#?}", failures.len());
}

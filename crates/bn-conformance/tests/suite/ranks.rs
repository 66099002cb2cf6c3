//! Ranks that are threads hold what ranks must hold, and none waits for one that has left.

use bn_conformance::together;
use bn_core::functions::Forward;
use bn_core::ranks::{Communicator, Ranks, Threads};
use bn_core::{Saved, Shape, Workspace};
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

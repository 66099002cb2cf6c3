//! What is measured under mpirun.

use batchnorm::functions::{self, Backward, Forward};
use batchnorm::ranks::{Check, Communicator, Ranks};
use batchnorm::{DefaultBackend, Saved, Shape, Workspace};
use bn_mpi::Mpi;
use examples::Result;
use examples::turns::{median, medians};
use std::time::Instant;

/// Times of which the median is told.
const ROUNDS: usize = 301;

/// The medians of collectives in which each rank gives so many bytes, and of exchanges with a neighbour.
pub(crate) fn collectives(comm: &Mpi) -> Result<()> {
    let (rank, size) = (comm.rank(), comm.size());
    if rank == 0 {
        println!("{size} ranks, medians of {ROUNDS} in µs\n");
        println!("| bytes of a rank | gathered by all | exchanged by two |");
        println!("| ---: | ---: | ---: |");
    }
    for words in [8, 64, 512, 4096, 32_768] {
        let (own, lengths, mut all) = (vec![rank as u64; words], vec![words; size], vec![0; words * size]);
        let gathered = timed(|| comm.all_gather(&own, &lengths, &mut all).map_err(Into::into))?;
        // With an odd number of ranks the last one has nobody.
        let other = rank ^ 1;
        let exchanged = match other < size {
            true => timed(|| comm.exchange(other, &own).map(|_| ()).map_err(Into::into))?,
            false => f64::NAN,
        };
        comm.all_gather(&[0], &vec![1; size], &mut vec![0; size])?;
        if rank == 0 {
            println!("| {} | {gathered:.1} | {exchanged:.1} |", 8 * words);
        }
    }
    Ok(())
}

/// The median time of a call, in µs.
fn timed(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        call()?;
        times.push(start.elapsed());
    }
    Ok(1e6 * median(times).as_secs_f64())
}

/// A step over ranks and a plain one in turns, each rank with the whole shape: phases apart, headers and collectives included.
pub(crate) fn overhead(comm: &Mpi) -> Result<()> {
    let shape = Shape::nchw(32, 256, 56, 56)?;
    let values = |factor: usize| -> Vec<f32> {
        (0..shape.len()).map(|i| (i * factor % 4099) as f32 / 2049.5 - 1.0).collect()
    };
    let (x, dy, backend) = (values(7919), values(104_729), DefaultBackend::default());
    let mut steps = [Step::new(shape), Step::new(shape), Step::new(shape)];
    let checks = [None, Some(Check::EveryStep), Some(Check::OncePerShape)];
    let mut ranks = checks.map(|check| check.map(|check| Ranks::new(comm).check(check)));
    let mut passes = Vec::new();
    for backwards in [false, true] {
        let mut contenders: Vec<_> = steps
            .iter_mut()
            .zip(&mut ranks)
            .map(|(step, ranks)| {
                let (x, dy, backend) = (&x, &dy, &backend);
                move || {
                    let done = match backwards {
                        false => step.forward(backend, x, ranks.as_mut()),
                        true => step.backward(backend, x, dy, ranks.as_mut()),
                    };
                    done.unwrap_or_else(|error| unreachable!("buffers of the shape's lengths: {error}"));
                }
            })
            .collect();
        let mut contenders: Vec<&mut dyn FnMut()> =
            contenders.iter_mut().map(|contender| contender as &mut dyn FnMut()).collect();
        let times = medians(31, &mut contenders);
        passes.push(times.into_iter().map(|time| 1e3 * time.as_secs_f64()).collect::<Vec<_>>());
    }
    if comm.rank() == 0 {
        println!("(32,256,56,56) f32 on each of {} ranks, medians in ms\n", comm.size());
        println!("| pass | plain | over ranks | time relative to plain | headers once | relative |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        for (pass, times) in ["forward", "backward"].into_iter().zip(passes) {
            let [plain, every, once] = times[..] else { continue };
            println!(
                "| {pass} | {plain:.2} | {every:.2} | {:.2} | {once:.2} | {:.2} |",
                every / plain,
                once / plain
            );
        }
    }
    Ok(())
}

/// The buffers of a layer.
struct Step {
    shape: Shape,
    y: Vec<f32>,
    dx: Vec<f32>,
    dweight: Vec<f32>,
    dbias: Vec<f32>,
    saved: Saved<f32>,
    workspace: Workspace<f32>,
}

impl Step {
    fn new(shape: Shape) -> Self {
        let [y, dx] = [(); 2].map(|()| vec![0.0; shape.len()]);
        let [dweight, dbias] = [(); 2].map(|()| vec![0.0; shape.features()]);
        Self { shape, y, dx, dweight, dbias, saved: Saved::default(), workspace: Workspace::default() }
    }

    fn forward(
        &mut self,
        backend: &DefaultBackend,
        x: &[f32],
        ranks: Option<&mut Ranks<&Mpi>>,
    ) -> std::result::Result<(), batchnorm::Error> {
        let Self { shape, y, saved, workspace, .. } = self;
        let step = Forward::new(*shape, x, y);
        match ranks {
            None => functions::train(backend, step, saved, workspace),
            Some(ranks) => ranks.layer(0).train(backend, step, saved, workspace),
        }
    }

    fn backward(
        &mut self,
        backend: &DefaultBackend,
        x: &[f32],
        dy: &[f32],
        ranks: Option<&mut Ranks<&Mpi>>,
    ) -> std::result::Result<(), batchnorm::Error> {
        let Self { dx, dweight, dbias, saved, workspace, .. } = self;
        let step = Backward {
            dx: Some(dx.into()),
            dweight: Some(dweight),
            dbias: Some(dbias),
            ..Backward::new(x, dy)
        };
        match ranks {
            None => functions::backward(backend, step, saved, workspace),
            Some(ranks) => ranks.layer(0).backward(backend, step, saved, workspace),
        }
    }
}

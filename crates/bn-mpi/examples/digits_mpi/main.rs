//! Data-parallel training of a small network on handwritten digits, over the processes of MPI:
//!
//! ```text
//! cargo build --release -p bn-mpi --example digits_mpi
//! mpirun -n 4 target/release/examples/digits_mpi
//! ```
//!
//! Each process has a share of every batch. The batch-norm layers take the statistics of the whole one, so that the processes train the
//! network that one process would train. Then rank 0 trains it alone, compares both losses to the last bit, and draws them.

mod network;
mod training;

use batchnorm::ranks::{Communicator, Threads};
use bn_mpi::Mpi;
use clap::Parser;
use examples::args::{positive, whole};
use examples::plot::{Curve, Figure, NORMALIZED, PLAIN, Panel, Style};
use examples::scale::Scale;
use examples::{Result, data, exit, progress};
use std::path::PathBuf;
use std::process::ExitCode;
use training::{Settings, Training};

/// Trains a network on handwritten digits over the processes of `mpirun`, and by one process.
#[derive(Parser)]
struct Args {
    /// Passes over the training samples
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole(1..=100_000usize))]
    epochs: usize,
    /// Samples in a step of all processes together
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = whole(2..=data::TRAIN))]
    batch: usize,
    /// Adam's learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-3, value_parser = positive)]
    learning_rate: f32,
    /// What the split, the weights and the order of the batches follow from
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(0..=u64::MAX))]
    seed: u64,
    /// Where rank 0 puts the picture
    #[arg(long, value_name = "FILE", default_value = "out/digits_mpi.svg")]
    svg: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Some(universe) = mpi::initialize() else {
        eprintln!("error: expected to initialize MPI, which has been before");
        return ExitCode::FAILURE;
    };
    exit(run(&args, &Mpi::new(&universe.world())))
}

fn run(args: &Args, comm: &Mpi) -> Result<()> {
    let &Args { epochs, batch, learning_rate, seed, .. } = args;
    let (split, settings) = (data::load(seed)?, Settings { batch, learning_rate, seed });
    let first = comm.rank() == 0;
    let bar = if first { progress::bar(2 * epochs, "epochs")? } else { indicatif::ProgressBar::hidden() };
    let train = |training: &mut Training<&dyn Communicator>| -> Result<Vec<f64>> {
        let mut losses = Vec::new();
        for _ in 0..epochs {
            losses.extend(training.epoch(&split.train)?);
            bar.inc(1);
        }
        Ok(losses)
    };
    let mut together = Training::new(comm as &dyn Communicator, settings)?;
    let losses = train(&mut together)?;
    if !first {
        return Ok(());
    }
    let alone = Threads::ranks(1).remove(0);
    let whole = train(&mut Training::new(&alone as &dyn Communicator, settings)?)?;
    bar.finish_and_clear();
    let (ranks, steps) = (comm.size(), losses.len());
    let accuracy = 100.0 * together.accuracy(&split.held_out)?;
    println!("{ranks} ranks, whose samples of a batch of {batch} are {:?}", together.shares());
    println!(
        "loss of step {steps}: {:.6} on the ranks, {:.6} by one process",
        losses[steps - 1],
        whole[steps - 1]
    );
    println!("held out, classified right: {accuracy:.2} %");
    match losses.iter().zip(&whole).position(|(a, b)| a.to_bits() != b.to_bits()) {
        None => println!("all {steps} losses are the same to the last bit"),
        Some(step) => println!("losses differ from step {} on: the shares are not cut at leaves", step + 1),
    }
    figure(ranks, &losses, &whole).save(&args.svg)?;
    println!("The curves are in {}.", args.svg.display());
    Ok(())
}

fn figure(ranks: usize, losses: &[f64], whole: &[f64]) -> Figure {
    let points =
        |losses: &[f64]| losses.iter().enumerate().map(|(i, loss)| (i as f64 + 1.0, *loss)).collect();
    let (below, above) = (Style::solid(NORMALIZED), Style::dashed(PLAIN));
    let last = (losses.len() as f64).max(2.0);
    Figure {
        title: format!("Training on {ranks} ranks and by one process"),
        caption: "the same network, batches and seed; the curves lie on each other".into(),
        legend: vec![(format!("{ranks} ranks"), below), ("one process".into(), above)],
        panels: vec![Panel {
            title: "Loss of each step".into(),
            x: ("training steps".into(), Scale::log(1.0, last)),
            y: ("cross-entropy (nats)".into(), Scale::decades(losses.iter().chain(whole).copied())),
            curves: vec![
                Curve { style: below, points: points(losses) },
                Curve { style: above, points: points(whole) },
            ],
            notes: Vec::new(),
        }],
    }
}

//! A deep perceptron that learns handwritten digits, with batch normalization and without:
//!
//! ```text
//! cargo run --release --example digits
//! cargo run --release --example digits -- --seeds 5
//! cargo run --release --example digits -- --save out/digits.state --load out/digits.state --epochs 60
//! ```
//!
//! Both networks take their weights from the same seed and see the same batches. Depth, initialization and learning
//! rate are ones that people meet and that the plain network does not survive; they were chosen for that
//! ([`Settings::CHOSEN`]). A table shows how both learn, a picture their curves. With `--save` the whole state is
//! written after every epoch; a run that goes on from it with `--load` arrives at the same numbers, to the bit, as
//! one that was never interrupted.

mod checkpoint;
mod figure;
mod report;
mod run;
#[cfg(test)]
mod tests;

use clap::Parser;
use examples::args::{positive, whole};
use examples::perceptron::Init;
use examples::{Result, data, exit, progress};
use run::{Run, Settings};
use std::path::PathBuf;
use std::process::ExitCode;

const EPOCHS: usize = 40;
const QUICK_EPOCHS: usize = 3;

/// Trains a deep perceptron on handwritten digits, with batch normalization and without.
#[derive(Parser)]
struct Args {
    /// Passes over the training samples [default: 40, with --quick 3]
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000u32))]
    epochs: Option<u32>,
    /// How many hidden layers: begun as PyTorch does it, the plain network learns worse the more there are
    #[arg(long, value_name = "N", default_value_t = Settings::CHOSEN.layers, value_parser = whole(1..=200usize))]
    layers: usize,
    /// How the weights begin: as PyTorch's linear layer does by itself (pytorch), or with the variance that `ReLU`
    /// needs (he)
    #[arg(long, value_name = "NAME", default_value = "pytorch", value_parser = init)]
    init: Init,
    /// Samples in a training step
    #[arg(long, value_name = "N", default_value_t = Settings::CHOSEN.batch, value_parser = whole(2..=data::TRAIN))]
    batch: usize,
    /// Adam's learning rate
    #[arg(long, value_name = "RATE", default_value_t = Settings::CHOSEN.learning_rate, value_parser = positive)]
    learning_rate: f32,
    /// What the split, the weights and the order of the batches follow from
    #[arg(long, value_name = "N", default_value_t = Settings::CHOSEN.seed, value_parser = whole(0..=u64::MAX))]
    seed: u64,
    /// How many seeds to train with, counted from --seed; medians are reported
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = whole(1..=1000u64))]
    seeds: u64,
    /// Where the picture goes
    #[arg(long, value_name = "FILE", default_value = "out/digits.svg")]
    svg: PathBuf,
    /// Where the state is saved after every epoch
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    save: Option<PathBuf>,
    /// A saved state to go on from, of a run with the same options
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    load: Option<PathBuf>,
    /// A short run, to see that everything works
    #[arg(long)]
    quick: bool,
}

fn init(name: &str) -> std::result::Result<Init, String> {
    match name {
        "pytorch" => Ok(Init::PyTorch),
        "he" => Ok(Init::He),
        _ => Err(format!("expected pytorch or he, got {name:?}")),
    }
}

fn main() -> ExitCode {
    exit(train(&Args::parse()))
}

fn train(args: &Args) -> Result<()> {
    let default = if args.quick { QUICK_EPOCHS } else { EPOCHS };
    let epochs = args.epochs.map_or(default, |epochs| epochs as usize);
    let bar = progress::bar(epochs.saturating_mul(args.seeds as usize), "epochs")?;
    let mut runs = Vec::new();
    for seed in (0..args.seeds).map(|i| args.seed.wrapping_add(i)) {
        let &Args { layers, init, batch, learning_rate, .. } = args;
        let settings = Settings { seed, layers, init, batch, learning_rate };
        let split = data::load(seed)?;
        let mut run = match &args.load {
            Some(file) => checkpoint::load(file, settings)?,
            None => Run::new(settings)?,
        };
        if args.seeds == 1 {
            bar.suspend(|| report::head(&split, settings));
            (1..=run.epochs()).for_each(|epoch| bar.suspend(|| report::row(&run, epoch)));
        }
        bar.inc(run.epochs().min(epochs) as u64);
        while run.epochs() < epochs {
            run.epoch(&split)?;
            if let Some(file) = &args.save {
                checkpoint::save(file, &run)?;
            }
            if args.seeds == 1 {
                bar.suspend(|| report::row(&run, run.epochs()));
            }
            bar.inc(1);
        }
        runs.push(run);
    }
    bar.finish_and_clear();
    report::summary(&runs);
    figure::digits(&runs).save(&args.svg)?;
    println!("\nThe curves are in {}.", args.svg.display());
    Ok(())
}

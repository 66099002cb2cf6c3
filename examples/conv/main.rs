//! A small residual network that learns handwritten digits, with batch normalization and without:
//!
//! ```text
//! cargo run --release --example conv
//! ```
//!
//! It shows the layer between convolutions: images lie channels last, the layer's own
//! [`Layout::ChannelsLast`](batchnorm::Layout::ChannelsLast), and a backward goes through both ways of a residual
//! block. The network is ResNet-20, small, and the learning rate ResNet's own. The plain network does not survive it
//! and has a second go at a tenth of it.

mod block;
mod conv;
mod figure;
mod network;
mod run;
mod sgd;
#[cfg(test)]
mod tests;

use clap::Parser;
use examples::args::{positive, whole};
use examples::{Result, data, exit, progress};
use run::{Contender, GOAL, Settings};
use std::path::PathBuf;
use std::process::ExitCode;

const QUICK_EPOCHS: usize = 2;

/// Trains a small residual network on handwritten digits, with batch normalization and without.
#[derive(Parser)]
struct Args {
    /// Passes over the training samples [default: 15, with --quick 2]
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000usize))]
    epochs: Option<usize>,
    /// Samples in a training step
    #[arg(long, value_name = "N", default_value_t = Settings::CHOSEN.batch, value_parser = whole(2..=data::TRAIN))]
    batch: usize,
    /// Residual blocks in each of the three stages
    #[arg(long, value_name = "N", default_value_t = Settings::CHOSEN.blocks, value_parser = whole(1..=50usize))]
    blocks: usize,
    /// The learning rate; the plain network is trained at a tenth of it as well
    #[arg(long, value_name = "RATE", default_value_t = Settings::CHOSEN.learning_rate, value_parser = positive)]
    learning_rate: f32,
    /// What the split, the weights and the order of the batches follow from
    #[arg(long, value_name = "N", default_value_t = Settings::CHOSEN.seed, value_parser = whole(0..=u64::MAX))]
    seed: u64,
    /// Where the picture goes
    #[arg(long, value_name = "FILE", default_value = "out/conv.svg")]
    svg: PathBuf,
    /// A short run, to see that everything works
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    exit(compare(&Args::parse()))
}

fn compare(args: &Args) -> Result<()> {
    let &Args { batch, blocks, learning_rate, seed, .. } = args;
    let default = if args.quick { QUICK_EPOCHS } else { Settings::CHOSEN.epochs };
    let settings = Settings { blocks, batch, learning_rate, epochs: args.epochs.unwrap_or(default), seed };
    println!(
        "A residual network of {} layers, batches of {batch}, seed {seed}. Scores are taken after the epoch, outside \
         training.",
        settings.layers()
    );
    if settings.chosen() {
        println!(
            "The learning rate of 0.1 is ResNet's own. It was chosen: the plain network does not survive it. At a \
             tenth it learns."
        );
    }
    let mut contenders = run::contenders(settings);
    let bar = progress::bar(contenders.len().saturating_mul(settings.epochs), "epochs")?;
    run::train(&mut contenders, settings, &data::load(seed)?, &bar)?;
    bar.finish_and_clear();
    table(&contenders, settings);
    figure::conv(&contenders, settings).save(&args.svg)?;
    println!("\nThe curves are in {}.", args.svg.display());
    Ok(())
}

fn table(contenders: &[Contender], settings: Settings) {
    let row = |first: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("   {cell:>22}")).collect();
        println!("{first:>5}{cells}");
    };
    println!();
    row("", contenders.iter().map(Contender::name).collect());
    row("epoch", contenders.iter().map(|_| "train loss    held out".to_owned()).collect());
    for epoch in 0..settings.epochs {
        let cell = |contender: &Contender| match contender.epochs.get(epoch) {
            Some([train, held_out]) => format!("{:.4}  {:>8.2} %", train.loss, 100.0 * held_out.accuracy),
            None => "diverged".to_owned(),
        };
        row(&(epoch + 1).to_string(), contenders.iter().map(cell).collect());
    }
    println!();
    for contender in contenders {
        let goal = match (contender.epochs_to_goal(), contender.diverged) {
            (Some(epochs), _) => format!("after {epochs} epochs"),
            (None, false) => "not reached".to_owned(),
            (None, true) => "not reached, diverged".to_owned(),
        };
        println!("{:<21} {:.0} % held out {goal}", contender.name(), 100.0 * GOAL);
    }
    for contender in contenders.iter().filter(|contender| contender.normalized) {
        println!("batch norm took {:.1} % of the training steps' time", 100.0 * contender.norm_share());
    }
}

//! How much batch normalization makes of a badly scaled start: the experiment of Stanford's course CS231n
//! (<https://cs231n.github.io/assignments2024/assignment2/>), on handwritten digits.
//!
//! ```text
//! cargo run --release --example weight_scale
//! ```
//!
//! A perceptron with seven hidden layers of fifty units starts from weights drawn as scale · N(0, 1), for
//! scales from 1e-4 to 1, with the layer and without. Small weights shrink the signal and its gradient in
//! every layer until nothing is left to learn from; large ones blow it up. The layer undoes both.

mod figure;
mod sweep;

use clap::Parser;
use examples::args::whole;
use examples::{Result, data, exit, progress};
use std::path::PathBuf;
use std::process::ExitCode;
use sweep::{Point, Sweep};

const EPOCHS: usize = 60;
const QUICK_EPOCHS: usize = 3;
/// Four to a decade.
const POINTS: usize = 17;
/// One to a decade.
const QUICK_POINTS: usize = 5;

/// Sweeps the scale of the initial weights, with batch normalization and without.
#[derive(Parser)]
struct Args {
    /// Passes over the training samples for each network [default: 60, with --quick 3]
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000u32))]
    epochs: Option<u32>,
    /// How many scales from 1e-4 to 1, evenly spaced in their logarithm [default: 17, with --quick 5]
    #[arg(long, value_name = "N", value_parser = whole(2..=1000u32))]
    points: Option<u32>,
    /// What the split, the weights and the order of the batches follow from
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(0..=u64::MAX))]
    seed: u64,
    /// Where the picture goes
    #[arg(long, value_name = "FILE", default_value = "out/weight_scale.svg")]
    svg: PathBuf,
    /// A short run, to see that everything works
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    exit(compare(&Args::parse()))
}

fn compare(args: &Args) -> Result<()> {
    let (epochs, points) = if args.quick { (QUICK_EPOCHS, QUICK_POINTS) } else { (EPOCHS, POINTS) };
    let given = |option: Option<u32>, default| option.map_or(default, |n| n as usize);
    let sweep = Sweep { epochs: given(args.epochs, epochs), seed: args.seed };
    let scales = sweep::scales(given(args.points, points));

    let bar = progress::bar(2 * scales.len() * sweep.epochs, "epochs")?;
    let points = sweep.run(&scales, &data::load(args.seed)?, &bar)?;
    bar.finish_and_clear();
    table(&points, &sweep);
    figure::weight_scale(&points).save(&args.svg)?;
    println!("\nThe plots are in {}.", args.svg.display());
    Ok(())
}

fn table(points: &[Point], sweep: &Sweep) {
    println!(
        "{} epochs of batches of {}, seed {}; the best accuracies and the last loss\n",
        sweep.epochs,
        sweep::BATCH,
        sweep.seed
    );
    println!("{:>12}  {:^35}   {:^35}", "", "with batch norm", "without");
    let columns = "train acc.  validation  train loss";
    println!("{:>12}  {columns:>35}   {columns:>35}", "weight scale");
    for Point { scale, normalized, plain } in points {
        let cells = [normalized, plain].map(|outcome| {
            let [train, validation] = [outcome.train, outcome.validation].map(|share| 100.0 * share);
            format!("{train:>8.2} %  {validation:>8.2} %  {:>11.4}", outcome.loss)
        });
        println!("{scale:>12.2e}  {:>35}   {:>35}", cells[0], cells[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_sweep_runs_and_draws() {
        let folder = tempfile::tempdir().expect("a folder");
        let svg = folder.path().join("new/weight_scale.svg");
        let args = ["weight_scale", "--quick", "--epochs", "1", "--points", "2", "--svg"];
        let args = args.iter().map(std::ffi::OsStr::new).chain([svg.as_os_str()]);
        compare(&Args::try_parse_from(args).expect("valid options")).expect("a sweep");
        assert!(std::fs::read_to_string(svg).expect("a picture").starts_with("<svg"));
    }
}

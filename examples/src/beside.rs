//! A framework's network with its own layer, with ours, and without one: trained batch by batch in turns, so that the three see the
//! same data and the same moods of the machine.

use crate::args::whole;
use crate::data::{self, Samples};
use crate::plot::{Curve, Figure, NORMALIZED, PLAIN, Panel, Style};
use crate::scale::Scale;
use crate::softmax::{cross_entropy, hits};
use crate::turns::median;
use crate::{Result, progress};
use clap::Parser;
use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Which layer stands in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// The framework's own.
    Theirs,
    /// Ours.
    Ours,
    /// None: for the time that everything else takes.
    Without,
}

/// A network in training.
pub trait Trainee {
    /// A step on a batch.
    ///
    /// # Errors
    /// The framework's.
    fn step(&mut self, batch: &Samples) -> Result<()>;

    /// The logits outside training, shape (N, classes), of images of shape (N, pixels).
    ///
    /// # Errors
    /// The framework's.
    fn logits(&self, images: &Array2<f32>) -> Result<Array2<f32>>;
}

/// Trains a small residual network on handwritten digits with the framework's batch normalization and with ours.
#[derive(Parser)]
pub struct Args {
    /// Passes over the training samples [default: 10, with --quick 1]
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000usize))]
    epochs: Option<usize>,
    /// Samples in a training step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole(2..=data::TRAIN))]
    batch: usize,
    /// What the split, the weights and the order of the batches follow from
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(0..=u64::MAX))]
    pub seed: u64,
    /// Where the picture goes
    #[arg(long, value_name = "FILE", default_value = "out/digits.svg")]
    svg: PathBuf,
    /// A short run, to see that everything works
    #[arg(long)]
    quick: bool,
}

/// A contender with what came of it.
struct Contender {
    name: &'static str,
    trainee: Box<dyn Trainee>,
    steps: Vec<Duration>,
    /// After each epoch the loss on the training samples, in nats, and the share of held-out samples classified right.
    scores: Vec<[f64; 2]>,
}

/// Trains what `build` makes, and shows the scores, the times and the picture. `names` are the framework's layer and ours.
///
/// # Errors
/// The framework's, and where the picture cannot be written.
pub fn run(
    args: &Args,
    names: [&'static str; 2],
    build: impl Fn(Norm) -> Result<Box<dyn Trainee>>,
) -> Result<()> {
    let split = data::load(args.seed)?;
    let of = |name, norm| {
        Ok::<_, crate::Error>(Contender {
            name,
            trainee: build(norm)?,
            steps: Vec::new(),
            scores: Vec::new(),
        })
    };
    let mut contenders =
        [of(names[0], Norm::Theirs)?, of(names[1], Norm::Ours)?, of("without a layer", Norm::Without)?];
    let epochs = args.epochs.unwrap_or(if args.quick { 1 } else { 10 });
    let bar = progress::bar(epochs * (split.train.count() / args.batch), "steps")?;
    println!("A residual network on handwritten digits, batches of {}, seed {}.\n", args.batch, args.seed);
    println!("{:>5}   {:>26}   {:>26}", "", names[0], names[1]);
    println!("{:>5}   {:>26}   {:>26}", "epoch", "train loss    held out", "train loss    held out");
    let mut rng = Pcg64::seed_from_u64(args.seed);
    for epoch in 1..=epochs {
        let mut order: Vec<usize> = (0..split.train.count()).collect();
        order.shuffle(&mut rng);
        for (i, indices) in order.chunks_exact(args.batch).enumerate() {
            let batch = split.train.select(indices);
            // Who comes first changes: the caches are as the last one left them.
            for k in 0..contenders.len() {
                let contender = &mut contenders[(i + k) % 3];
                let start = Instant::now();
                contender.trainee.step(&batch)?;
                contender.steps.push(start.elapsed());
            }
            bar.inc(1);
        }
        let [theirs, ours, _] = &mut contenders;
        let cells = [theirs, ours].map(|contender| contender.score(&split));
        let [theirs, ours] = cells;
        bar.suspend(|| -> Result<()> {
            println!("{epoch:>5}   {:>26}   {:>26}", theirs?, ours?);
            Ok(())
        })?;
    }
    bar.finish_and_clear();
    times(&contenders);
    figure(&contenders[..2]).save(&args.svg)?;
    println!("\nThe curves are in {}.", args.svg.display());
    Ok(())
}

impl Contender {
    fn score(&mut self, split: &data::Split) -> Result<String> {
        let loss = cross_entropy(&self.trainee.logits(&split.train.images)?, &split.train.labels).0;
        let held_out = &split.held_out;
        let right = hits(&self.trainee.logits(&held_out.images)?, &held_out.labels);
        let accuracy = right as f64 / held_out.count() as f64;
        self.scores.push([loss, accuracy]);
        Ok(format!("{loss:.4}  {:>8.2} %", 100.0 * accuracy))
    }

    fn median(&self) -> f64 {
        1e3 * median(self.steps.clone()).as_secs_f64()
    }
}

fn times(contenders: &[Contender; 3]) {
    let [theirs, ours, none] = contenders;
    let without = none.median();
    println!("\n{:<20}{:>12}{:>20}{:>18}", "", "ms a step", "more than without", "the layer's share");
    for contender in [theirs, ours] {
        let time = contender.median();
        let (more, share) = (time - without, 100.0 * (1.0 - without / time));
        println!("{:<20}{time:>12.2}{more:>20.2}{share:>16.1} %", contender.name);
    }
    println!("{:<20}{without:>12.2}", none.name);
    println!(
        "\nMedians of steps in turns. Ours takes in the ReLU and the addition behind it, which the network without a layer has \
         as well: the share can be below 0."
    );
}

fn figure(contenders: &[Contender]) -> Figure {
    let styles = [Style::solid(PLAIN), Style::dashed(NORMALIZED)];
    let curves = |x: &dyn Fn(&Contender, usize) -> f64| -> Vec<Curve> {
        let points = |contender: &Contender| {
            let scores = contender.scores.iter().enumerate();
            scores.map(|(i, score)| (x(contender, i + 1), score[0])).collect()
        };
        contenders.iter().zip(styles).map(|(c, style)| Curve { style, points: points(c) }).collect()
    };
    let epochs = contenders[0].scores.len();
    let per_epoch = |contender: &Contender| contender.steps.len() / epochs.max(1);
    let seconds = |contender: &Contender, epoch: usize| -> f64 {
        contender.steps[..epoch * per_epoch(contender)].iter().map(Duration::as_secs_f64).sum()
    };
    let end = contenders.iter().map(|contender| seconds(contender, epochs)).fold(0.0, f64::max);
    let losses = || contenders.iter().flat_map(|c| &c.scores).map(|score| score[0]);
    let panel = |title: &str, x: &str, last: f64, curves| Panel {
        title: title.to_owned(),
        x: (x.to_owned(), Scale::linear(0.0, last)),
        y: ("cross-entropy (nats)".to_owned(), Scale::decades(losses())),
        curves,
        notes: Vec::new(),
    };
    Figure {
        title: "Handwritten digits, one network with either layer".to_owned(),
        caption: "same weights, same batches; the time is that of the training steps".to_owned(),
        legend: contenders.iter().zip(styles).map(|(c, style)| (c.name.to_owned(), style)).collect(),
        panels: vec![
            panel(
                "Training loss after each epoch",
                "epochs",
                epochs.max(2) as f64,
                curves(&|_, epoch| epoch as f64),
            ),
            panel("The same by time", "seconds of training", end, curves(&seconds)),
        ],
    }
}

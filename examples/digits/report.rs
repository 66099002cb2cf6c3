//! What the program prints: a table by epoch for one seed, a line for each of several, and the summary.

use crate::run::{Contender, GOAL, Run, Settings};
use examples::data::Split;

pub(crate) fn head(split: &Split, settings: Settings) {
    println!(
        "{} training samples, {} held out; {settings}. Scores are taken after the epoch, outside training.",
        split.train.count(),
        split.held_out.count(),
    );
    println!("{}", choice(settings));
    println!("       {:^33}   {:^33}", "with batch norm", "without");
    let columns = "train loss  train acc.  held out";
    println!("epoch  {columns:>33}   {columns:>33}");
}

/// What there is to say about the settings.
fn choice(settings: Settings) -> &'static str {
    match settings.chosen() {
        true => {
            "Depth, initialization and learning rate were chosen: people meet them, and the plain network does not \
             survive them.\nWith --layers 7 --init he it learns as well as the other.\n"
        }
        false => "",
    }
}

/// The table's row of an epoch, counted from 1.
pub(crate) fn row(run: &Run, epoch: usize) {
    let cells = |contender: &Contender| {
        contender.epochs.get(epoch - 1).map_or(String::new(), |scores| {
            let [train, held_out] =
                [scores.train.accuracy, scores.held_out.accuracy].map(|share| 100.0 * share);
            format!("{:>11.4}  {train:>8.2} %  {held_out:>6.2} %", scores.train.loss)
        })
    };
    println!("{epoch:>5}  {:>33}   {:>33}", cells(&run.normalized), cells(&run.plain));
}

pub(crate) fn summary(runs: &[Run]) {
    if runs.len() > 1 {
        by_seed(runs);
    }
    println!();
    for (name, pick) in CONTENDERS {
        let mut accuracies: Vec<f64> = runs.iter().filter_map(|run| accuracy(pick(run))).collect();
        let mut steps: Vec<f64> = runs.iter().map(|run| steps_or_never(pick(run))).collect();
        let of = if runs.len() > 1 { format!(" (median of {} seeds)", runs.len()) } else { String::new() };
        println!("{name}{of}:");
        if let Some(accuracy) = median(&mut accuracies) {
            println!("  held-out accuracy at the end  {:.2} %", 100.0 * accuracy);
        }
        let steps = median(&mut steps).filter(|steps| steps.is_finite());
        let steps = steps.map_or("not reached".to_owned(), |steps| steps.to_string());
        println!("  steps to {:.0} % held out        {steps}", 100.0 * GOAL);
    }
    let mut shares: Vec<f64> = runs.iter().map(|run| run.normalized.norm_share()).collect();
    if let Some(share) = median(&mut shares) {
        println!("batch norm took {:.1} % of the training steps' time", 100.0 * share);
    }
}

pub(crate) type Pick = fn(&Run) -> &Contender;

pub(crate) const CONTENDERS: [(&str, Pick); 2] =
    [("with batch norm", |run| &run.normalized), ("without", |run| &run.plain)];

fn by_seed(runs: &[Run]) {
    println!("       {:^29}   {:^29}", "with batch norm", "without");
    let columns = format!("held out  steps to {:.0} %", 100.0 * GOAL);
    println!("seed   {columns:>29}   {columns:>29}");
    for run in runs {
        let cells = CONTENDERS.map(|(_, pick)| {
            let steps = pick(run).steps_to_goal().map_or("not reached".to_owned(), |s| s.to_string());
            let accuracy = accuracy(pick(run)).map_or(String::new(), |a| format!("{:.2} %", 100.0 * a));
            format!("{accuracy:>15}  {steps:>12}")
        });
        println!("{:<5}  {}   {}", run.settings.seed, cells[0], cells[1]);
    }
}

/// The held-out accuracy after the last epoch.
fn accuracy(contender: &Contender) -> Option<f64> {
    contender.epochs.last().map(|scores| scores.held_out.accuracy)
}

/// A network that never reaches the goal needs more steps than any that does.
pub(crate) fn steps_or_never(contender: &Contender) -> f64 {
    contender.steps_to_goal().map_or(f64::INFINITY, |steps| steps as f64)
}

pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&mut [f64::INFINITY, 1.0, f64::INFINITY]), Some(f64::INFINITY));
    }
}

//! The curves of a run, or of several seeds one over the other.

use crate::report::{CONTENDERS, median, steps_or_never};
use crate::run::{Contender, EpochScores, GOAL, LOOK_EVERY, Run, Settings};
use examples::data::CLASSES;
use examples::plot::{Curve, Figure, NEUTRAL, NORMALIZED, Note, PLAIN, Panel, Style};
use examples::scale::Scale;

/// Where the panel begins that shows accuracies near the goal.
const CLOSE: f64 = 80.0;

pub(crate) fn digits(runs: &[Run]) -> Figure {
    let contenders: Vec<(&Contender, Style, Style)> = runs
        .iter()
        .flat_map(|run| [(&run.plain, PLAIN), (&run.normalized, NORMALIZED)])
        .map(|(contender, color)| (contender, Style::solid(color), Style::dashed(color)))
        .collect();
    // Most happens in the first epochs: a logarithmic axis gives them room.
    let first = LOOK_EVERY as f64;
    let last = contenders.iter().map(|(contender, ..)| contender.steps).max().unwrap_or(0) as f64;
    let last = last.max(2.0 * first);
    let batch = runs.first().map_or(0, |run| run.settings.batch);
    let x = || (format!("training steps (batches of {batch})"), Scale::log(first, last));

    // The curves of several seeds hide each other even without those of training.
    let alone = runs.len() == 1;
    let mut legend =
        vec![("batch norm, held out", Style::solid(NORMALIZED)), ("without, held out", Style::solid(PLAIN))];
    if alone {
        legend.insert(1, ("batch norm, training", Style::dashed(NORMALIZED)));
        legend.push(("without, training", Style::dashed(PLAIN)));
    }

    let mut loss = Vec::new();
    for &(contender, solid, dashed) in &contenders {
        if alone {
            loss.push(by_epoch(contender, dashed, |scores| scores.train.loss));
        }
        loss.push(by_epoch(contender, solid, |scores| scores.held_out.loss));
    }
    let losses = Scale::decades(loss.iter().flat_map(|curve| &curve.points).map(|&(_, loss)| loss));
    let accuracies = |title: &str, start, notes| {
        let mut curves = vec![Curve {
            style: Style::dashed(NEUTRAL),
            points: vec![(first, 100.0 * GOAL), (last, 100.0 * GOAL)],
        }];
        for &(contender, solid, dashed) in &contenders {
            if alone {
                curves.push(by_epoch(contender, dashed, |scores| 100.0 * scores.train.accuracy));
            }
            let looks = contender.looks.iter().map(|&(step, accuracy)| (step as f64, 100.0 * accuracy));
            curves.push(Curve { style: solid, points: looks.collect() });
        }
        let y = ("samples classified right (%)".to_owned(), Scale::percent(start));
        Panel { title: title.to_owned(), x: x(), y, curves, notes }
    };
    let percent = |name, share: f64| Note {
        at: (first, 100.0 * share),
        text: format!("{name}: {:.0} %", 100.0 * share),
        color: NEUTRAL,
        drop: None,
    };
    let goal = || percent("goal", GOAL);
    let chance = percent("chance", 1.0 / CLASSES as f64);
    let mut close = vec![goal()];
    close.extend(reached(runs, first));
    Figure {
        title: "Handwritten digits, with batch normalization and without".to_owned(),
        caption: runs.first().map_or(String::new(), |run| caption(run.settings)),
        legend: legend.into_iter().map(|(name, style)| (name.to_owned(), style)).collect(),
        panels: vec![
            Panel {
                title: "Loss after each epoch".to_owned(),
                x: x(),
                y: ("cross-entropy (nats)".to_owned(), losses),
                curves: loss,
                notes: Vec::new(),
            },
            accuracies("Accuracy", 0.0, vec![goal(), chance]),
            accuracies(&format!("Accuracy from {CLOSE:.0} % up"), CLOSE, close),
        ],
    }
}

fn caption(settings: Settings) -> String {
    let (network, rate) = (settings.network(), settings.learning_rate);
    let why = match settings.chosen() {
        true => ": common settings, chosen since the plain network does not train with them",
        false => "",
    };
    format!("{network}, learning rate {rate}{why}")
}

/// When the goal was reached, with the layer and without; medians where there are several seeds.
fn reached(runs: &[Run], first: f64) -> Vec<Note> {
    let colors = [NORMALIZED, PLAIN];
    let of = if runs.len() > 1 { " (median)" } else { "" };
    let mut notes = Vec::new();
    for (i, ((name, pick), color)) in CONTENDERS.iter().zip(colors).enumerate() {
        let mut steps: Vec<f64> = runs.iter().map(|run| steps_or_never(pick(run))).collect();
        let goal = 100.0 * GOAL;
        // Each on a line of its own, low in the panel, where no curve stays long.
        let y = CLOSE + 4.0 - 2.0 * i as f64;
        notes.extend(median(&mut steps).map(|steps| match steps.is_finite() {
            true => Note {
                at: (steps, goal),
                text: format!("{goal:.0} % after {steps} steps{of}"),
                color,
                drop: Some(y),
            },
            false => Note { at: (first, y), text: format!("{name}: never {goal:.0} %"), color, drop: None },
        }));
    }
    notes
}

fn by_epoch(contender: &Contender, style: Style, value: fn(&EpochScores) -> f64) -> Curve {
    let points = contender.epochs.iter().map(|scores| (scores.step as f64, value(scores))).collect();
    Curve { style, points }
}

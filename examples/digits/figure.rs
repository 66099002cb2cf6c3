//! The curves of a run, or of several seeds one over the other.

use crate::run::{Contender, EpochScores, GOAL, LOOK_EVERY, Run};
use examples::plot::{Curve, Figure, NEUTRAL, NORMALIZED, PLAIN, Panel, Style};
use examples::scale::Scale;

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

    let mut loss = Vec::new();
    let mut accuracy = vec![Curve {
        style: Style::dashed(NEUTRAL),
        points: vec![(first, 100.0 * GOAL), (last, 100.0 * GOAL)],
    }];
    for &(contender, solid, dashed) in &contenders {
        loss.push(by_epoch(contender, dashed, |scores| scores.train.loss));
        loss.push(by_epoch(contender, solid, |scores| scores.held_out.loss));
        accuracy.push(by_epoch(contender, dashed, |scores| 100.0 * scores.train.accuracy));
        let looks = contender.looks.iter().map(|&(step, accuracy)| (step as f64, 100.0 * accuracy));
        accuracy.push(Curve { style: solid, points: looks.collect() });
    }
    let losses = Scale::decades(loss.iter().flat_map(|curve| &curve.points).map(|&(_, loss)| loss));
    Figure {
        title: "Handwritten digits, seven hidden layers of 50".to_owned(),
        caption: String::new(),
        legend: vec![
            ("batch norm, held out", Style::solid(NORMALIZED)),
            ("batch norm, training", Style::dashed(NORMALIZED)),
            ("without, held out", Style::solid(PLAIN)),
            ("without, training", Style::dashed(PLAIN)),
            ("goal", Style::dashed(NEUTRAL)),
        ],
        panels: vec![
            Panel {
                title: "Loss".to_owned(),
                x: x(),
                y: ("cross-entropy (nats)".to_owned(), losses),
                curves: loss,
                notes: Vec::new(),
            },
            Panel {
                title: "Accuracy".to_owned(),
                x: x(),
                y: ("samples classified right (%)".to_owned(), Scale::percent(0.0)),
                curves: accuracy,
                notes: Vec::new(),
            },
        ],
    }
}

fn by_epoch(contender: &Contender, style: Style, value: fn(&EpochScores) -> f64) -> Curve {
    let points = contender.epochs.iter().map(|scores| (scores.step as f64, value(scores))).collect();
    Curve { style, points }
}

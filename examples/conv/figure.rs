//! The curves of the networks.

use crate::run::{Contender, GOAL, Settings};
use examples::data::CLASSES;
use examples::plot::{Curve, Figure, NEUTRAL, NORMALIZED, Note, PLAIN, Panel, Style};
use examples::scale::Scale;
use examples::train::Score;

pub(crate) fn conv(contenders: &[Contender], settings: Settings) -> Figure {
    let last = settings.epochs.max(2) as f64;
    let x = || (format!("epochs (batches of {})", settings.batch), Scale::linear(0.0, last));
    let curves = |value: fn(&[Score; 2]) -> f64| -> Vec<Curve> {
        contenders.iter().map(|contender| curve(contender, settings, value)).collect()
    };
    let losses = curves(|[train, _]| train.loss);
    let scale = Scale::decades(losses.iter().flat_map(|curve| &curve.points).map(|&(_, loss)| loss));
    let mut accuracies = curves(|[_, held_out]| 100.0 * held_out.accuracy);
    let goal = 100.0 * GOAL;
    let style = Style::dashed(NEUTRAL);
    accuracies.insert(0, Curve { style, points: vec![(0.0, goal), (last, goal)] });
    let chance = 100.0 / CLASSES as f64;
    let level =
        |name: &str, y| Note { at: (0.0, y), text: format!("{name}: {y} %"), color: NEUTRAL, drop: None };
    let mut notes = vec![level("goal", goal), level("chance", chance)];
    // Each on a line of its own, low in the panel, where no curve stays long.
    for (i, contender) in contenders.iter().enumerate() {
        notes.extend(contender.epochs_to_goal().map(|epochs| Note {
            at: (epochs as f64, goal),
            text: format!("{goal} % after {epochs} epochs"),
            color: style_of(contender, settings).color,
            drop: Some(26.0 - 4.0 * i as f64),
        }));
    }
    let why = match settings.chosen() {
        true => " (ResNet's own: chosen, since the plain network does not survive it)",
        false => "",
    };
    Figure {
        title: format!("Handwritten digits, a residual network of {} layers", settings.layers()),
        caption: format!("learning rate {}{why}, and a tenth of it", settings.learning_rate),
        legend: contenders.iter().map(|c| (c.name(), style_of(c, settings))).collect(),
        panels: vec![
            Panel {
                title: "Training loss".to_owned(),
                x: x(),
                y: ("cross-entropy (nats)".to_owned(), scale),
                curves: losses,
                notes: Vec::new(),
            },
            Panel {
                title: "Held-out accuracy".to_owned(),
                x: x(),
                y: ("samples classified right (%)".to_owned(), Scale::percent(0.0)),
                curves: accuracies,
                notes,
            },
        ],
    }
}

/// The points that are numbers, by epoch.
fn curve(contender: &Contender, settings: Settings, value: fn(&[Score; 2]) -> f64) -> Curve {
    let points = (1..).zip(&contender.epochs).map(|(epoch, scores)| (f64::from(epoch), value(scores)));
    Curve {
        style: style_of(contender, settings),
        points: points.filter(|point| point.1.is_finite()).collect(),
    }
}

fn style_of(contender: &Contender, settings: Settings) -> Style {
    let color = if contender.normalized { NORMALIZED } else { PLAIN };
    Style { dashed: contender.learning_rate != settings.learning_rate, ..Style::solid(color) }
}

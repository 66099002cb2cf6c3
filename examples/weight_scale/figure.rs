//! The three plots of the course: accuracies and loss against the weight scale.

use crate::sweep::{Outcome, Point};
use examples::plot::{Curve, Figure, NORMALIZED, PLAIN, Panel, Style};
use examples::scale::Scale;
use plotters::style::RGBColor;

pub(crate) fn weight_scale(points: &[Point]) -> Figure {
    let losses = Scale::decades(points.iter().flat_map(|p| [p.normalized.loss, p.plain.loss]));
    let accuracy = "samples classified right (%)";
    Figure {
        title: "Seven hidden layers of 50, by the scale of their initial weights".to_owned(),
        caption: "Each weight is drawn as scale · N(0, 1); the best of all epochs, and the last loss"
            .to_owned(),
        legend: vec![
            ("with batch norm".to_owned(), marked(NORMALIZED)),
            ("without".to_owned(), marked(PLAIN)),
        ],
        panels: vec![
            panel("Best validation accuracy", accuracy, Scale::percent(0.0), points, |o| {
                100.0 * o.validation
            }),
            panel("Best training accuracy", accuracy, Scale::percent(0.0), points, |o| 100.0 * o.train),
            panel("Final training loss", "cross-entropy (nats)", losses, points, |o| o.loss),
        ],
    }
}

fn panel(title: &str, y: &str, scale: Scale, points: &[Point], value: fn(&Outcome) -> f64) -> Panel {
    let curve = |color, pick: fn(&Point) -> &Outcome| Curve {
        style: marked(color),
        points: points.iter().map(|point| (f64::from(point.scale), value(pick(point)))).collect(),
    };
    Panel {
        title: title.to_owned(),
        x: (
            "standard deviation of the initial weights".to_owned(),
            Scale::decades(points.iter().map(|p| f64::from(p.scale))),
        ),
        y: (y.to_owned(), scale),
        curves: vec![curve(PLAIN, |point| &point.plain), curve(NORMALIZED, |point| &point.normalized)],
        notes: Vec::new(),
    }
}

fn marked(color: RGBColor) -> Style {
    Style { marked: true, ..Style::solid(color) }
}

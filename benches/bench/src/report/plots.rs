//! Which plots there are, and what they say.

use super::draw::{Axis, Curve, Figure, Look, Mark, Panel, Result};
use super::looks::{circles, legend};
use crate::record::{Record, distinct, of};
use crate::table::figure;
use benches::floor::FLOOR;
use benches::implementation::Pass;
use bn_conformance::tolerances::{LIMIT, LIMIT_DX};

type Draw = fn(&[Record]) -> Option<Result<String>>;

/// Every plot: anchor, title, caption, what it needs, how it is drawn.
pub(super) const PLOTS: [(&str, &str, &str, &str, Draw); 6] = [
    (
        "time",
        "Time per shape by backend",
        "Medians; further left is faster. Circles: one thread; triangles: several; squares: the textbook; diamonds: other \
         libraries, hollow on several threads.",
        "a measurement",
        times,
    ),
    (
        "floor",
        "Share of the floor",
        "100 % is a streaming copy (forward), triad (backward) or one after the other (step) of the same tensors on at most as \
         many threads; further right is better. Beyond 100 % a tensor was found in a cache that the floor's stores pass by.",
        "a measurement",
        |records| shares(records, String::new()),
    ),
    (
        "graph",
        "Speed-up over the computational graph",
        "The graph's median by the other's, both of this run. The graph runs on one thread; triangles have more.",
        "a shape on which the graph was measured",
        speedups,
    ),
    (
        "threads",
        "Scaling with threads",
        "rayon+dispatch against the serial kernels (dispatch) on the largest shapes. Dashed: as many times faster as \
         there are threads. Memory is shared: the floor itself does not follow the dashed line.",
        "rayon+dispatch on two threads or more",
        threads,
    ),
    (
        "batch",
        "Scaling with batch size",
        "Time per sample of a batch (N,64,56,56). A level line: twice the batch takes twice the time.",
        "two batch sizes of batch.txt or more",
        batches,
    ),
    (
        "accuracy",
        "Accuracy against speed",
        "error(t), in units of roundoff as crates/bn-conformance/cases/README.md defines it, against the time of a step \
         per element; better is down and left. Left: centred data. Right: a mean of 1000 σ. Dashed: this project's \
         limits. A point for each of the shapes whose errors were measured.",
        "a shape whose errors are measured (mlp_1024x512, stage4_narrow)",
        accuracy,
    ),
];

/// A point in a row: the row, the value, who of the legend.
type Dot = (usize, f64, usize);

/// Rows of dots, a panel for each pass.
fn rows(
    (title, width): (String, i32),
    legend: Vec<(String, Look)>,
    labels: &[String],
    panels: Vec<(Pass, Vec<Dot>)>,
    axis: &dyn Fn(&[f64]) -> Axis,
    reference: Option<f64>,
) -> Option<Result<String>> {
    let (y, last) = (Axis::rows(labels), labels.len() as f64 - 1.0);
    if panels.iter().all(|(_, dots)| dots.is_empty()) {
        return None;
    }
    let panel = |(pass, dots): (Pass, Vec<Dot>)| {
        let values: Vec<f64> = dots.iter().map(|dot| dot.1).chain(reference).collect();
        // Apart, so that neither hides the other where threads gain nothing. The best last, on top of the others.
        let aside = |who: usize| {
            if matches!(legend[who].1.mark, Mark::Triangle | Mark::Diamond) { -0.17 } else { 0.17 }
        };
        let curve = |&(row, value, who): &Dot| Curve {
            who,
            points: vec![(value, last - row as f64 + aside(who))],
            joined: false,
        };
        let line = |value| vec![(value, -0.5), (value, last + 0.5)];
        Panel {
            title: pass.name().into(),
            x: axis(&values),
            y: y.clone(),
            curves: dots.iter().rev().map(curve).collect(),
            reference: reference.map_or_else(Vec::new, line),
        }
    };
    let panels: Vec<Panel> = panels.into_iter().map(panel).collect();
    let (columns, height) = (panels.len(), 98 + 23 * labels.len() as i32);
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let labels = 16 + 7 * longest as i32;
    Some(Figure { title, width, legend, panels, columns, height, labels, shared: true }.svg())
}

/// Rows of dots over all shapes: `value` of a record, where it has one.
fn by_shape(
    records: &[Record],
    (title, width, passes): (String, i32, &[Pass]),
    without: &[&str],
    value: &dyn Fn(&Record) -> Option<f64>,
    axis: &dyn Fn(&[f64]) -> Axis,
    reference: Option<f64>,
) -> Option<Result<String>> {
    let valued = || records.iter().filter(|r| value(r).is_some());
    let shapes = distinct(valued(), Record::problem);
    let labels: Vec<String> =
        distinct(valued(), |r| (r.problem(), r.title())).into_iter().map(|l| l.1).collect();
    let labels = if labels.len() == shapes.len() { labels } else { return None };
    let legend = legend(records, without);
    let dots = |pass: &Pass| {
        let dots = legend.iter().enumerate().flat_map(|(who, (name, _))| {
            let (shapes, of_one) = (&shapes, of(records, name, *pass));
            of_one.filter_map(move |r| Some((shapes.iter().position(|s| *s == r.problem())?, value(r)?, who)))
        });
        (*pass, dots.collect())
    };
    rows((title, width), legend.clone(), &labels, passes.iter().map(dots).collect(), axis, reference)
}

/// Medians by shape and variant.
pub(super) fn times(records: &[Record]) -> Option<Result<String>> {
    let axis = |values: &[f64]| Axis::log("median time", values, &time);
    by_shape(records, (String::new(), 1240, &Pass::ALL), &[], &|r| Some(r.median_ns), &axis, None)
}

fn shares(records: &[Record], title: String) -> Option<Result<String>> {
    let axis = |values: &[f64]| {
        let end = values.iter().copied().fold(100.0, f64::max);
        Axis::linear("share of the floor's speed", end, &|v| format!("{v} %"))
    };
    let (width, passes) =
        if title.is_empty() { (1240, &Pass::ALL[..]) } else { (900, &[Pass::Forward, Pass::Backward][..]) };
    by_shape(records, (title, width, passes), &[FLOOR], &|r| Some(r.share()), &axis, Some(100.0))
}

/// The shapes of README's picture.
const PICTURE: [&str; 9] = [
    "mlp_128x1024",
    "mlp_4096x1024",
    "mlp_65536x256",
    "stem",
    "stage1_wide",
    "stage2_wide",
    "stage3_wide",
    "stage4_wide",
    "stage1_wide_last",
];

/// README's picture: the shares of the floor of the layer, PyTorch's fastest, burn and candle, on one thread.
pub(super) fn picture(records: &[Record]) -> Option<Result<String>> {
    let mut kept: Vec<Record> = Vec::new();
    for r in
        records.iter().filter(|r| r.threads == 1 && r.dtype == "f32" && PICTURE.contains(&r.name.as_str()))
    {
        let name = match r.implementation.as_str() {
            "dispatch" => "this layer",
            torch if torch.starts_with("torch") => "PyTorch's fastest",
            other @ ("burn" | "candle") => other,
            _ => continue,
        };
        let r = Record { implementation: name.into(), name: String::new(), ..r.clone() };
        let same = |k: &&mut Record| {
            (k.problem(), &k.pass, &k.implementation) == (r.problem(), &r.pass, &r.implementation)
        };
        match kept.iter_mut().find(same) {
            Some(known) if known.median_ns <= r.median_ns => {}
            Some(known) => *known = r,
            None => kept.push(r),
        }
    }
    let first = kept.first()?;
    let title = format!("Share of the floor's speed, f32, one thread: {}, {}", first.cpu, first.date);
    shares(&kept, title)
}

fn speedups(records: &[Record]) -> Option<Result<String>> {
    let graph = |r: &Record| {
        let mut graphs = records.iter().filter(|g| g.implementation == "graph" && g.pass == r.pass);
        Some(graphs.find(|g| g.problem() == r.problem())?.median_ns / r.median_ns)
    };
    let axis = |values: &[f64]| Axis::log("times as fast as the graph", values, &times_as);
    by_shape(records, (String::new(), 1240, &Pass::ALL), &[FLOOR, "graph"], &graph, &axis, Some(1.0))
}

/// Panels of curves, each with the points of one of the legend.
fn curves(legend: Vec<(String, Look)>, panels: Vec<Panel>, columns: usize) -> Result<String> {
    Figure {
        title: String::new(),
        width: 1240,
        legend,
        panels,
        columns,
        height: 370,
        labels: 76,
        shared: false,
    }
    .svg()
}

fn threads(records: &[Record]) -> Option<Result<String>> {
    const MOST: usize = 8;
    let parallel = |r: &&Record| r.implementation == "rayon+dispatch";
    let mut shapes: Vec<&Record> = Vec::new();
    for r in records.iter().filter(parallel).filter(|r| r.threads > 1) {
        if !shapes.iter().any(|s| s.problem() == r.problem()) {
            shapes.push(r);
        }
    }
    shapes.sort_by(|a, b| b.elements().total_cmp(&a.elements()));
    shapes.truncate(MOST);
    let counts: Vec<f64> = records.iter().filter(parallel).map(|r| r.threads as f64).chain([1.0]).collect();
    let most = counts.iter().copied().fold(1.0, f64::max);
    let curve = |who: usize, pass: Pass| {
        let here = |r: &&Record| r.pass == pass.name() && r.problem() == shapes[who].problem();
        let serial = records.iter().filter(here).find(|r| r.implementation == "dispatch")?.median_ns;
        let own = records.iter().filter(here).filter(parallel);
        let mut points: Vec<(f64, f64)> = own.map(|r| (r.threads as f64, serial / r.median_ns)).collect();
        // The serial kernels stand for one thread where rayon was not measured on one.
        if points.iter().all(|p| p.0 > 1.0) {
            points.push((1.0, 1.0));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(Curve { who, points, joined: true })
    };
    let panels = Pass::ALL.map(|pass| {
        let curves: Vec<Curve> = (0..shapes.len()).filter_map(|who| curve(who, pass)).collect();
        let highest = curves.iter().flat_map(|c| &c.points).map(|p| p.1).fold(most, f64::max);
        Panel {
            title: pass.name().into(),
            x: Axis::doublings("threads", counts.clone()),
            y: Axis::linear("times as fast as serial", highest, &times_as),
            curves,
            reference: vec![(1.0, 1.0), (most, most)],
        }
    });
    let legend = circles(shapes.iter().map(|s| s.title()).collect());
    (most > 1.0 && !shapes.is_empty()).then(|| curves(legend, panels.into(), 3))
}

fn batches(records: &[Record]) -> Option<Result<String>> {
    let size = |r: &Record| {
        let batch = r.layout == "nchw" && r.dtype == "f32";
        r.shape.strip_suffix("x64x56x56").filter(|_| batch)?.parse::<f64>().ok()
    };
    let legend = legend(records, &[]);
    let sizes = distinct(records.iter().filter(|r| size(r).is_some()), |r| size(r).unwrap_or(0.0));
    let panels = Pass::ALL.map(|pass| {
        let curve = |(who, (name, _)): (usize, &(String, Look))| {
            let of_one = of(records, name, pass);
            let mut points: Vec<(f64, f64)> =
                of_one.filter_map(|r| size(r).map(|n| (n, r.median_ns / n))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Curve { who, points, joined: true }
        };
        let curves: Vec<Curve> = legend.iter().enumerate().map(curve).collect();
        let values: Vec<f64> = curves.iter().flat_map(|c| &c.points).map(|p| p.1).collect();
        Panel {
            title: pass.name().into(),
            x: Axis::doublings("batch size N", sizes.clone()),
            y: Axis::log("time per sample", &values, &time),
            curves,
            reference: Vec::new(),
        }
    });
    (sizes.len() > 1).then(|| curves(legend, panels.into(), 3))
}

fn accuracy(records: &[Record]) -> Option<Result<String>> {
    type Error = fn(&Record) -> Option<f64>;
    let kinds: [(&str, f64, Error); 4] = [
        ("y, centred data", LIMIT, |r| r.error_y),
        ("y, a mean of 1000 σ", LIMIT, |r| r.error_y_far),
        ("dx, centred data", LIMIT_DX, |r| r.error_dx),
        ("dx, a mean of 1000 σ", LIMIT_DX, |r| r.error_dx_far),
    ];
    let measured: Vec<Record> = records.iter().filter(|r| r.error_y.is_some()).cloned().collect();
    let legend = legend(&measured, &[]);
    let speed = |r: &Record| r.median_ns / r.elements();
    let speeds: Vec<f64> = measured.iter().map(speed).collect();
    let ends = [f64::min, f64::max].map(|pick| speeds.iter().copied().reduce(pick).unwrap_or(1.0));
    let panels = kinds.map(|(title, limit, error)| {
        let point = |r: &Record| Some((speed(r), error(r)?.max(1e-3)));
        let curve = |(who, (name, _)): (usize, &(String, Look))| Curve {
            who,
            points: of(&measured, name, Pass::Step).filter_map(point).collect(),
            joined: false,
        };
        let curves: Vec<Curve> = legend.iter().enumerate().map(curve).collect();
        let errors: Vec<f64> = curves.iter().flat_map(|c| &c.points).map(|p| p.1).chain([limit]).collect();
        Panel {
            title: title.into(),
            x: Axis::log("step: ns per element", &speeds, &number),
            y: Axis::log("error, in roundings", &errors, &number),
            curves,
            reference: ends.map(|x| (x, limit)).into(),
        }
    });
    (!measured.is_empty()).then(|| curves(legend, panels.into(), 2))
}

/// What most rows of hard data may take.
const BAR: f64 = 4.0;

/// Multiples by kind and type, a panel for each pass, a colour for each shape.
pub(super) fn hard(records: &[Record]) -> Option<Result<String>> {
    let kinds: Vec<&Record> = records.iter().filter(|r| r.variant.starts_with("hard:")).collect();
    let label = |r: &Record| format!("{} {}", r.variant.trim_start_matches("hard:"), r.dtype);
    let shape = |r: &Record| format!("{} {}", r.layout, r.shape);
    let (labels, shapes) = (distinct(kinds.iter().copied(), label), distinct(kinds.iter().copied(), shape));
    let dots = |pass: Pass| {
        let dot = |r: &&Record| {
            let row = labels.iter().position(|known| *known == label(r))?;
            Some((row, r.ratios()?[0], shapes.iter().position(|s| *s == shape(r))?))
        };
        (pass, kinds.iter().filter(|r| r.pass == pass.name()).filter_map(dot).collect())
    };
    let axis =
        |values: &[f64]| Axis::log("time over an ordinary one's", &[values, &[1.0]].concat(), &times_as);
    let panels = [Pass::Forward, Pass::Backward].map(dots).into();
    rows((String::new(), 1240), circles(shapes.clone()), &labels, panels, &axis, Some(BAR))
}

/// Nanoseconds as a label: no more digits than it has.
fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 999.5 => (ns, "ns"),
        _ if ns < 999.5e3 => (ns / 1e3, "µs"),
        _ if ns < 999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", number(figure(value).parse().unwrap_or(value)))
}

fn times_as(v: f64) -> String {
    format!("{}×", number(v))
}

/// A label's number: short, and without the noise of binary fractions.
fn number(v: f64) -> String {
    match v {
        0.0 => "0".into(),
        _ if (1e-3..1e4).contains(&v) => ((1e3 * v).round() / 1e3).to_string(),
        _ => format!("{v:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short() {
        let labels = [1.0, 999.6, 12_345.0, 2.5e9, 0.1 + 0.2].map(time);
        assert_eq!(labels, ["1 ns", "1 µs", "12.3 µs", "2.5 s", "0.3 ns"]);
    }
}

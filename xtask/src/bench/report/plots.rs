//! Which plots there are, and what they say.

use super::super::record::Record;
use super::super::table::{PASSES, everyone, of, time};
use super::axis::Axis;
use super::figure::{Curve, Curves, Dots, Legend, Panel, Result, Rows};
use super::style::{self, Mark, Style};
use benches::floor::FLOOR;
use bn_conformance::tolerances::{LIMIT, LIMIT_DX};

/// A plot of the report, or why there is none.
pub(super) struct Plot {
    /// The anchor in the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) caption: &'static str,
    pub(super) svg: std::result::Result<String, &'static str>,
}

type Draw = fn(&[Record]) -> Option<Result<String>>;

/// Every plot: anchor, title, caption, what it needs, how it is drawn.
const PLOTS: [(&str, &str, &str, &str, Draw); 6] = [
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
        shares,
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
         limits, 4.01 for y and 5.01 for dx. A point for each of the shapes whose errors were measured.",
        "a shape whose errors are measured (mlp_1024x512, stage4_narrow)",
        accuracy,
    ),
];

/// All of them.
pub(super) fn all(records: &[Record]) -> Vec<Plot> {
    let draw = |(id, title, caption, needs, draw): (_, _, _, _, Draw)| {
        let svg = match draw(records) {
            Some(Ok(svg)) => Ok(svg),
            Some(Err(_)) => Err("it could not be drawn"),
            None => Err(needs),
        };
        Plot { id, title, caption, svg }
    };
    PLOTS.map(draw).into()
}

/// The picture beside the README: the shares of the floor of the default backend, the textbook and the peers.
pub(super) fn overview(records: &[Record]) -> Result<String> {
    let kept = |r: &&Record| {
        let other_kernels =
            ["scalar", "wide", "dispatch@"].iter().any(|part| r.implementation.contains(part));
        !other_kernels
            && (r.implementation != "rayon+dispatch" || r.threads > 1)
            && r.elements() >= 32.0 * 1024.0
    };
    let records: Vec<Record> = records.iter().filter(kept).cloned().collect();
    shares(&records)
        .unwrap_or_else(|| Rows { legend: vec![], labels: vec![], panels: vec![], reference: None }.svg())
}

fn legend(records: &[Record], without: &[&str]) -> (Vec<(String, usize)>, Legend) {
    let all = everyone(records);
    let kept: Vec<(String, usize)> =
        all.iter().filter(|(name, _)| !without.contains(&name.as_str())).cloned().collect();
    let name = |(name, n): &(String, usize)| if *n == 1 { name.clone() } else { format!("{name} ×{n}") };
    let legend = kept.iter().map(|who| (name(who), style::of(who, &all))).collect();
    (kept, legend)
}

/// Shapes in order of appearance, for the rows of a plot.
fn shapes<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<&'a Record> {
    let mut shapes: Vec<&Record> = Vec::new();
    for record in records {
        if !shapes.iter().any(|s| s.problem() == record.problem()) {
            shapes.push(record);
        }
    }
    shapes
}

/// Rows of dots over all shapes: `value` of a record, where it has one.
fn rows(
    records: &[Record],
    without: &[&str],
    value: &dyn Fn(&Record) -> Option<f64>,
    axis: &dyn Fn(&[f64]) -> Axis,
    reference: Option<f64>,
) -> Option<Result<String>> {
    let shapes = shapes(records.iter().filter(|r| value(r).is_some()));
    let (all, legend) = legend(records, without);
    let panels = PASSES.map(|pass| {
        let mut points = Vec::new();
        for (who, name) in all.iter().enumerate() {
            for record in of(records, name, pass) {
                let row = shapes.iter().position(|s| s.problem() == record.problem());
                points.extend(row.and_then(|row| Some((row, value(record)?, who))));
            }
        }
        // The best last, on top of the others.
        points.reverse();
        let values: Vec<f64> = points.iter().map(|p| p.1).collect();
        Dots { title: pass.into(), axis: axis(&values), points }
    });
    let labels = shapes.iter().map(|s| s.title()).collect();
    let any = panels.iter().any(|panel| !panel.points.is_empty());
    any.then(|| Rows { legend, labels, panels: panels.into(), reference }.svg())
}

fn times(records: &[Record]) -> Option<Result<String>> {
    let axis = |values: &[f64]| Axis::log("median time", values.iter().copied(), round_time);
    rows(records, &[], &|r| Some(r.median_ns), &axis, None)
}

/// A tick's label: no more digits than it has.
fn round_time(ns: f64) -> String {
    let text = time(ns);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}")
}

fn shares(records: &[Record]) -> Option<Result<String>> {
    let axis = |values: &[f64]| {
        let end = values.iter().copied().fold(100.0, f64::max);
        Axis::linear("share of the floor's speed", end, |v| format!("{v} %"))
    };
    rows(records, &[FLOOR], &|r| Some(100.0 * r.fraction()), &axis, Some(100.0))
}

fn speedups(records: &[Record]) -> Option<Result<String>> {
    let graph = |r: &Record| {
        let mut graphs = records.iter().filter(|g| g.implementation == "graph" && g.pass == r.pass);
        Some(graphs.find(|g| g.problem() == r.problem())?.median_ns / r.median_ns)
    };
    let axis = |values: &[f64]| {
        Axis::log("times as fast as the graph", values.iter().copied(), |v| format!("{}×", number(v)))
    };
    rows(records, &[FLOOR, "graph"], &graph, &axis, Some(1.0))
}

fn threads(records: &[Record]) -> Option<Result<String>> {
    const MOST: usize = 8;
    let parallel = |r: &&Record| r.implementation == "rayon+dispatch";
    let mut shapes = shapes(records.iter().filter(parallel).filter(|r| r.threads > 1));
    shapes.sort_by(|a, b| b.elements().total_cmp(&a.elements()));
    shapes.truncate(MOST);
    let counts: Vec<usize> = records.iter().filter(parallel).map(|r| r.threads).chain([1]).collect();
    let most = counts.iter().copied().max().unwrap_or(1);
    let curve = |who: usize, pass: &str| {
        let here = |r: &&Record| r.pass == pass && r.problem() == shapes[who].problem();
        let serial = records.iter().filter(here).find(|r| r.implementation == "dispatch")?.median_ns;
        let mut points: Vec<(f64, f64)> = records
            .iter()
            .filter(here)
            .filter(parallel)
            .map(|r| (r.threads as f64, serial / r.median_ns))
            .collect();
        // The serial kernels stand for one thread where rayon was not measured on one.
        if points.iter().all(|p| p.0 > 1.0) {
            points.push((1.0, 1.0));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(Curve { who, points, joined: true })
    };
    let panels = PASSES.map(|pass| {
        let curves: Vec<Curve> = (0..shapes.len()).filter_map(|who| curve(who, pass)).collect();
        let highest = curves.iter().flat_map(|c| &c.points).map(|p| p.1).fold(most as f64, f64::max);
        Panel {
            title: pass.into(),
            x: Axis::doublings("threads", counts.iter().copied()),
            y: Axis::linear("times as fast as serial", highest, |v| format!("{}×", number(v))),
            curves,
            reference: (1..=most).map(|n| (n as f64, n as f64)).collect(),
        }
    });
    let style = |i| Style { color: style::nth(i), mark: Mark::Circle, hollow: false };
    let legend = shapes.iter().enumerate().map(|(i, s)| (s.title(), style(i))).collect();
    (most > 1 && !shapes.is_empty()).then(|| Curves { legend, panels: panels.into(), columns: 3 }.svg())
}

fn batches(records: &[Record]) -> Option<Result<String>> {
    let size = |r: &Record| {
        let batch = r.layout == "nchw" && r.dtype == "f32";
        r.shape.strip_suffix("x64x56x56").filter(|_| batch)?.parse::<usize>().ok()
    };
    let (all, legend) = legend(records, &[]);
    let mut sizes: Vec<usize> = records.iter().filter_map(size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let panels = PASSES.map(|pass| {
        let curve = |(who, name): (usize, &(String, usize))| {
            let mut points: Vec<(f64, f64)> = of(records, name, pass)
                .filter_map(|r| size(r).map(|n| (n as f64, r.median_ns / n as f64)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Curve { who, points, joined: true }
        };
        let curves: Vec<Curve> = all.iter().enumerate().map(curve).filter(|c| !c.points.is_empty()).collect();
        let values: Vec<f64> = curves.iter().flat_map(|c| &c.points).map(|p| p.1).collect();
        Panel {
            title: pass.into(),
            x: Axis::doublings("batch size N", sizes.iter().copied()),
            y: Axis::log("time per sample", values, round_time),
            curves,
            reference: Vec::new(),
        }
    });
    (sizes.len() > 1).then(|| Curves { legend, panels: panels.into(), columns: 3 }.svg())
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
    let (all, legend) = legend(&measured, &[]);
    let speed = |r: &Record| r.median_ns / r.elements();
    let panels = kinds.map(|(title, limit, error)| {
        let points = |name| -> Vec<(f64, f64)> {
            of(&measured, name, "step").filter_map(|r| Some((speed(r), error(r)?.max(1e-3)))).collect()
        };
        let curve = |(who, name)| Curve { who, points: points(name), joined: false };
        let curves: Vec<Curve> = all.iter().enumerate().map(curve).collect();
        let errors: Vec<f64> =
            curves.iter().flat_map(|c| &c.points).map(|p| p.1).chain([1.0, limit]).collect();
        let x = Axis::log("step: ns per element", measured.iter().map(speed), number);
        let ends = [x.ticks[0].0, x.ticks[x.ticks.len() - 1].0];
        Panel {
            title: title.into(),
            x,
            y: Axis::log("error, in roundings", errors, number),
            curves,
            reference: ends.map(|x| (x, limit)).into(),
        }
    });
    (!measured.is_empty()).then(|| Curves { legend, panels: panels.into(), columns: 2 }.svg())
}

/// A tick's number: short, and without the noise of binary fractions.
fn number(v: f64) -> String {
    match v {
        0.0 => "0".into(),
        _ if (1e-3..1e4).contains(&v) => {
            let text = format!("{v:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => format!("{v:.0e}"),
    }
}

//! The report's section of hard data: a plot of the multiples, and tables with their bars.

use super::super::hard::figure;
use super::super::record::Record;
use super::axis::Axis;
use super::figure::{Dots, Legend, Result, Rows};
use super::style::{self, Mark, Style};
use super::{Report, escape};
use std::fmt::Write as _;

const READ: &str = "
<p>Each row is timed in turns with what it is measured against, on one thread of the default
backend, after its answer was found to have the bits of the scalar kernels. A figure is the least
time of up to 15 samples of a pass as a multiple of the other's least time. The multiple of the
medians stands in brackets. A figure over its bar is marked.</p>";

const KINDS: &str = "
<p><code>weight_V</code>: γ = V in every feature, or in one of 64. <code>x_V</code>: x around V.
<code>dy_V</code>: dy normal with σ = V. <code>dy_subnormal</code>: the same with an eighth of the
type's least normal number. <code>dy_constant</code>: dy = 1e-6 throughout, with x of σ = 1e4.
<code>dy_nan</code>: NaN in every 9973rd dy. <code>dy_infinite</code>: ∞ in all of them.
<code>dy_one_infinite</code>: ∞ in one of each feature. A type whose
range has not the value has no such row.</p>";

/// The passes that rows of hard data have.
const PASSES: [&str; 2] = ["forward", "backward"];

/// The section, or nothing where the run had no such row.
pub(super) fn section(report: &Report) -> String {
    let rows: Vec<&[Record]> = report.hard_rows().collect();
    let (hard, others): (Vec<&[Record]>, Vec<&[Record]>) =
        rows.into_iter().partition(|row| row[0].variant.starts_with("hard:"));
    let mut section = String::new();
    if hard.is_empty() && others.is_empty() {
        return section;
    }
    let _ = writeln!(section, "<h2 id=\"hard\">Hard data</h2>{READ}");
    if !hard.is_empty() {
        section += KINDS;
        if let Ok(svg) = plot(&hard) {
            let _ = write!(
                section,
                "\n<p>The line marks 4. Further left is faster.</p>\n<figure>\n{svg}</figure>\n"
            );
        }
        kinds(&mut section, &hard);
    }
    if !others.is_empty() {
        compared(&mut section, &others);
    }
    section
}

/// What the rows of the table and of the plot are: a kind with a type.
fn key(record: &Record) -> Pair<'_> {
    (record.variant.trim_start_matches("hard:"), &record.dtype)
}

/// A kind and a type, or a layout and dimensions.
type Pair<'a> = (&'a str, &'a str);

/// Keys and shapes in order of appearance.
fn axes<'a>(rows: &[&'a [Record]]) -> (Vec<Pair<'a>>, Vec<Pair<'a>>) {
    let (mut keys, mut shapes): (Vec<Pair<'_>>, Vec<Pair<'_>>) = (Vec::new(), Vec::new());
    for row in rows {
        let (key, shape) = (key(&row[0]), (row[0].layout.as_str(), row[0].shape.as_str()));
        if !keys.contains(&key) {
            keys.push(key);
        }
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    (keys, shapes)
}

/// Multiples by kind and type, a panel for each pass, a colour for each shape.
fn plot(rows: &[&[Record]]) -> Result<String> {
    let (keys, shapes) = axes(rows);
    let panels = PASSES.map(|pass| {
        let found = rows.iter().flat_map(|row| row.iter()).filter(|record| record.pass == pass);
        let point = |record: &Record| {
            let row = keys.iter().position(|known| *known == key(record))?;
            let who = shapes.iter().position(|s| *s == (record.layout.as_str(), record.shape.as_str()))?;
            Some((row, record.ratios()?[0], who))
        };
        let points: Vec<(usize, f64, usize)> = found.filter_map(point).collect();
        // Both panels reach the bar.
        let values = points.iter().map(|point| point.1).chain([1.0, BAR]);
        let axis = Axis::log("time over an ordinary one's", values, |v| format!("{v}×"));
        Dots { title: pass.into(), axis, points }
    });
    let legend: Legend = shapes
        .iter()
        .enumerate()
        .map(|(i, (layout, shape))| {
            let style = Style { color: style::nth(i), mark: Mark::Circle, hollow: false };
            (format!("{layout} {shape}"), style)
        })
        .collect();
    let labels = keys.iter().map(|(kind, dtype)| format!("{kind} {dtype}")).collect();
    Rows { legend, labels, panels: panels.into(), reference: Some(BAR) }.svg()
}

/// What most rows may take.
const BAR: f64 = 4.0;

/// A cell: least and median multiple.
fn cell(record: Option<&Record>) -> String {
    let Some((record, [least, median])) = record.and_then(|record| Some((record, record.ratios()?))) else {
        return "<td>–</td>".into();
    };
    let (least, median) = (figure(least), figure(median));
    match record.is_over() {
        true => format!("<td class=\"missing\"><strong>{least}</strong> ({median})</td>"),
        false => format!("<td>{least} ({median})</td>"),
    }
}

/// Kinds and types by shapes and passes.
fn kinds(section: &mut String, rows: &[&[Record]]) {
    let (keys, shapes) = axes(rows);
    *section += "<div class=\"wide\"><table><thead><tr><th rowspan=\"2\">data</th><th rowspan=\"2\" class=\"left\">type</th>";
    for (layout, shape) in &shapes {
        let _ = write!(section, "<th colspan=\"2\">{} {}</th>", escape(layout), escape(shape));
    }
    *section += "<th rowspan=\"2\">bar</th></tr><tr>";
    shapes.iter().for_each(|_| PASSES.iter().for_each(|pass| *section += &format!("<th>{pass}</th>")));
    *section += "</tr></thead>\n";
    for (kind, dtype) in keys {
        let of_key: Vec<&Record> =
            rows.iter().flat_map(|row| row.iter()).filter(|record| key(record) == (kind, dtype)).collect();
        let _ = write!(section, "<tr><td>{}</td><td class=\"left\">{dtype}</td>", escape(kind));
        for (layout, shape) in &shapes {
            for pass in PASSES {
                let here = |r: &&&Record| r.layout == *layout && r.shape == *shape && r.pass == pass;
                *section += &cell(of_key.iter().find(here).copied());
            }
        }
        let bar = of_key.iter().find_map(|record| record.bar);
        let _ = writeln!(section, "<td>{}</td></tr>", bar.map_or("–".into(), |bar| bar.to_string()));
    }
    *section += "</table></div>\n";
}

/// Half precision and many features, each against something else.
fn compared(section: &mut String, rows: &[&[Record]]) {
    *section += "<h3>Half precision, and many features</h3>\n<p>Half precision against the same shape in f32; many \
                 features of two values, per element, against an ordinary shape. The bar of half precision is one of \
                 whole steps.</p>\n<div class=\"wide\"><table><thead><tr><th>shape</th><th class=\"left\">type</th>\
                 <th class=\"left\">against</th><th>forward</th><th>backward</th><th>step</th><th>bar</th></tr></thead>\n";
    for row in rows {
        let first = &row[0];
        let against = first.against.as_deref().unwrap_or_default();
        let _ = write!(
            section,
            "<tr><td>{} {}</td><td class=\"left\">{}</td><td class=\"left\">{}</td>",
            first.layout,
            first.shape,
            first.dtype,
            escape(against)
        );
        for pass in ["forward", "backward", "step"] {
            *section += &cell(row.iter().find(|record| record.pass == pass));
        }
        let bar = row.iter().find_map(|record| record.bar);
        let _ = writeln!(section, "<td>{}</td></tr>", bar.map_or("–".into(), |bar| bar.to_string()));
    }
    *section += "</table></div>\n";
}

#[cfg(test)]
mod tests {
    use super::super::super::machine::Machine;
    use super::super::super::record::tests::{hard, record};
    use super::*;

    fn report(records: Vec<Record>) -> Report {
        let machine = Machine::here();
        Report { machine, records, notes: vec![], changes: None, interrupted: false, quick: false }
    }

    #[test]
    fn rows_stand_in_a_section_of_their_own() {
        let mut half = hard("", "step", 0.65, Some(0.7));
        (half.variant, half.dtype, half.against) = ("plain".into(), "f16".into(), Some("f32".into()));
        let mut other = hard("weight_1e-33", "backward", 3.0, Some(4.0));
        other.shape = "8x9".into();
        let records = vec![
            record("floor", 1, "step", 1e5),
            record("dispatch", 1, "step", 1e5),
            hard("dy_nan", "forward", 1.02, Some(4.0)),
            hard("dy_nan", "backward", 27.04, Some(4.0)),
            other,
            half,
        ];
        let report = report(records);
        assert_eq!((report.plain().len(), report.hard().len(), report.hard_rows().count()), (2, 4, 3));
        assert_eq!(report.groups().count(), 1);
        let section = section(&report);
        assert!(
            section.contains("<td>dy_nan</td><td class=\"left\">f32</td><td>1.02 (1.02)</td>"),
            "{section}"
        );
        assert!(section.contains("<strong>27.0</strong> (27.0)"), "{section}");
        assert!(section.contains("<td>–</td>"), "a kind that a shape was not measured on: {section}");
        assert!(section.contains("<td class=\"left\">f16</td><td class=\"left\">f32</td>"), "{section}");
        assert!(section.contains("<td>0.65 (0.65)</td><td>0.7</td>"), "{section}");
        assert_eq!(section.matches("<circle").count(), 2 * 3 + 2 * 2, "three points and two of the legend");
        let page = report.html();
        assert!(page.contains("href=\"#hard\"") && page.contains(&section));
        assert!(!super::super::super::table::summary(report.plain()).contains("NaN"));
        let without = super::section(&Report { records: report.records[..2].to_vec(), ..report });
        assert_eq!(without, "");
    }
}

//! Plots as SVG, by plotters: panels side by side under a legend that covers nothing.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{BoldPoints, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters_backend::{BackendCoord, DrawingErrorKind};
use std::ops::Range;

pub(super) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TEXT: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 222);
const REFERENCE: RGBColor = RGBColor(90, 90, 90);
/// The viewer's font is unknown; a letter of a sans-serif font of 14 pixels takes about 8.
const LETTER: i32 = 8;
const LEGEND_LINE: i32 = 24;

/// How one of the legend looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    pub(super) color: RGBColor,
    pub(super) mark: Mark,
    pub(super) hollow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Triangle,
    Square,
    Diamond,
}

/// An axis of plotters' with labels of its own.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    title: String,
    log: bool,
    /// Of values, as the labels' places are.
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    fn new(
        title: &str,
        log: bool,
        range: Range<f64>,
        ticks: Vec<f64>,
        label: &dyn Fn(f64) -> String,
    ) -> Self {
        let ticks = ticks.into_iter().map(|v| (v, label(v))).collect();
        Self { title: title.into(), log, range, ticks }
    }

    fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    /// From 0 to a little more than `end`, with labels where plotters has them.
    pub(super) fn linear(title: &str, end: f64, label: &dyn Fn(f64) -> String) -> Self {
        let range = 0.0..1.04 * end;
        let ticks = RangedCoordf64::from(range.clone()).key_points(BoldPoints(7));
        Self::new(title, false, range, ticks, label)
    }

    /// All `values`, with labels at powers of ten; at 2 and 5 times them as well where the axis is short.
    pub(super) fn log(title: &str, values: &[f64], label: &dyn Fn(f64) -> String) -> Self {
        let sound = || values.iter().copied().filter(|v| *v > 0.0 && v.is_finite());
        let low = sound().reduce(f64::min).unwrap_or(1.0) / 1.15;
        let high = sound().reduce(f64::max).unwrap_or(10.0) * 1.15;
        let steps: &[f64] = if high / low < 50.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all = powers.flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e)));
        let mut ticks: Vec<f64> = all.filter(|v| (low..=high).contains(v)).collect();
        // No more labels than there is room for.
        while ticks.len() > 6 {
            ticks = ticks.into_iter().step_by(2).collect();
        }
        Self::new(title, true, low..high, ticks, label)
    }

    /// The values themselves as labels, a doubling being one length.
    pub(super) fn doublings(title: &str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        values.dedup();
        let ends = [values.first(), values.last()].map(|end| end.copied().unwrap_or(1.0));
        Self::new(title, true, ends[0] / 1.2..ends[1] * 1.2, values, &|v| v.to_string())
    }

    /// A row for each label, the first on top.
    pub(super) fn rows(labels: &[String]) -> Self {
        let last = labels.len() as f64 - 1.0;
        let ticks = (0..labels.len()).map(|row| last - row as f64).collect();
        Self::new("", false, -0.5..last + 0.5, ticks, &|v| labels[(last - v).round() as usize].clone())
    }

    /// The same without its title and its labels: for the second of two panels.
    fn bare(&self) -> Self {
        let ticks = self.ticks.iter().map(|(v, _)| (*v, String::new())).collect();
        Self { title: String::new(), ticks, ..self.clone() }
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|tick| tick.0 == *value).map_or(String::new(), |tick| tick.1.clone())
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let ends = self.place(self.range.start)..self.place(self.range.end);
        RangedCoordf64::from(ends).map(&self.place(*value), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let bold = !hint.weight().allow_light_points();
        self.ticks.iter().map(|tick| tick.0).filter(|_| bold).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// Points of one of the legend, joined or not.
pub(super) struct Curve {
    pub(super) who: usize,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) joined: bool,
}

pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) curves: Vec<Curve>,
    /// A line to compare with.
    pub(super) reference: Vec<(f64, f64)>,
}

/// Panels, so many side by side.
pub(super) struct Figure {
    /// Above the legend, where there is one.
    pub(super) title: String,
    pub(super) width: i32,
    pub(super) legend: Vec<(String, Look)>,
    pub(super) panels: Vec<Panel>,
    pub(super) columns: usize,
    /// Of a panel.
    pub(super) height: i32,
    /// Of the labels on the left; where the panels of a line share them, only the first has any.
    pub(super) labels: i32,
    pub(super) shared: bool,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Figure {
    pub(super) fn svg(&self) -> Result<String> {
        let places = self.places();
        let top = places.last().map_or(0, |(_, y)| y + LEGEND_LINE);
        let lines = self.panels.len().div_ceil(self.columns) as i32;
        let size = (self.width as u32, (top + lines * self.height) as u32);
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            root.fill(&WHITE)?;
            let title = ("sans-serif", 15).into_font().color(&TEXT);
            root.draw(&Text::new(self.title.clone(), (16, 8), title))?;
            for ((name, look), (x, y)) in self.legend.iter().zip(places) {
                root.draw(&Sign((x, y), *look))?;
                root.draw(&Text::new(
                    name.clone(),
                    (x + 13, y - 6),
                    ("sans-serif", 14).into_font().color(&TEXT),
                ))?;
            }
            let (_, below) = root.split_vertically(top);
            for (panels, line) in
                self.panels.chunks(self.columns).zip(below.split_evenly((lines as usize, 1)))
            {
                let own = if self.shared { 14 } else { self.labels };
                let width = (self.width - self.labels + own) / self.columns as i32;
                let mut rest = line;
                for (i, panel) in panels.iter().enumerate() {
                    let first = i == 0 || !self.shared;
                    let labels = if first { self.labels } else { own };
                    let (area, right) = rest.split_horizontally(width - own + labels);
                    rest = right;
                    self.panel(&area, panel, labels, first)?;
                }
            }
            root.present()?;
        }
        Ok(svg)
    }

    fn panel(&self, area: &Area<'_>, panel: &Panel, labels: i32, labelled: bool) -> Result<()> {
        let (x, y) = (&panel.x, if labelled { panel.y.clone() } else { panel.y.bare() });
        let mut chart = ChartBuilder::on(area)
            .caption(&panel.title, ("sans-serif", 16).into_font().color(&TEXT))
            .margin_right(22)
            .margin_left(8)
            .margin_bottom(10)
            .x_label_area_size(46)
            .y_label_area_size(labels)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_label_style(("sans-serif", 13).into_font().color(&TEXT))
            .y_label_style(("sans-serif", 13).into_font().color(&TEXT))
            .axis_desc_style(("sans-serif", 14).into_font().color(&TEXT))
            .x_desc(&x.title)
            .y_desc(&y.title)
            .draw()?;
        chart.draw_series(DashedLineSeries::new(
            panel.reference.iter().copied(),
            6,
            4,
            REFERENCE.stroke_width(2),
        ))?;
        for Curve { who, points, joined } in &panel.curves {
            let look = self.legend[*who].1;
            if *joined {
                chart.draw_series(LineSeries::new(points.iter().copied(), look.color.stroke_width(2)))?;
            }
            chart.draw_series(points.iter().map(|point| Sign(*point, look)))?;
        }
        Ok(())
    }

    /// Where each entry of the legend stands.
    fn places(&self) -> Vec<(i32, i32)> {
        let (mut x, mut y) = (16, if self.title.is_empty() { 16 } else { 42 });
        let mut places = Vec::new();
        for (name, _) in &self.legend {
            let width = 40 + LETTER * name.chars().count() as i32;
            if x + width > self.width && x > 16 {
                (x, y) = (16, y + LEGEND_LINE);
            }
            places.push((x, y));
            x += width;
        }
        places
    }
}

/// A mark at a place, with an edge that sets it apart from the next.
struct Sign<C>(C, Look);

impl<'a, C> PointCollection<'a, C> for &'a Sign<C> {
    type Point = &'a C;
    type IntoIter = std::iter::Once<&'a C>;

    fn point_iter(self) -> Self::IntoIter {
        std::iter::once(&self.0)
    }
}

impl<C, DB: DrawingBackend> Drawable<DB> for Sign<C> {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        points: I,
        backend: &mut DB,
        _: (u32, u32),
    ) -> std::result::Result<(), DrawingErrorKind<DB::ErrorType>> {
        const R: i32 = 5;
        let Look { color, mark, hollow } = self.1;
        let fill = if hollow { WHITE.filled() } else { color.filled() };
        let edge = if hollow { color.stroke_width(2) } else { WHITE.stroke_width(1) };
        let corners = match mark {
            Mark::Circle => vec![],
            Mark::Triangle => vec![(0, -R - 1), (R + 1, R), (-R - 1, R), (0, -R - 1)],
            Mark::Square => vec![(-R, -R), (R, -R), (R, R), (-R, R), (-R, -R)],
            Mark::Diamond => vec![(0, -R - 2), (R + 2, 0), (0, R + 2), (-R - 2, 0), (0, -R - 2)],
        };
        for (x, y) in points {
            let outline = corners.iter().map(|(right, down)| (x + right, y + down));
            if corners.is_empty() {
                backend.draw_circle((x, y), R as u32, &fill, true)?;
                backend.draw_circle((x, y), R as u32, &edge, false)?;
            } else {
                backend.fill_polygon(outline.clone(), &fill)?;
                backend.draw_path(outline, &edge)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_round_and_few() {
        let label = |v: f64| v.to_string();
        let labels = |axis: Axis| axis.ticks.into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(labels(Axis::linear("", 112.0, &label)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(Axis::log("", &[0.3, 7.0], &label)), ["0.5", "1", "2", "5"]);
        assert!((2..=6).contains(&labels(Axis::log("", &[1e-9, 1e30], &label)).len()));
        assert_eq!(labels(Axis::doublings("", vec![4.0, 1.0, 2.0, 1.0])), ["1", "2", "4"]);
        assert_eq!(Axis::rows(&["a".into(), "b".into()]).format_ext(&1.0), "a", "the first is on top");
    }
}

//! Pictures as SVG: rows of dots, and panels of curves or dots, under a legend that covers nothing.

use super::axis::Axis;
use super::style::{Mark, Style};
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(super) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) const WIDTH: i32 = 1240;
const TEXT: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(220, 220, 220);
const STRIPE: RGBColor = RGBColor(245, 246, 248);
const REFERENCE: RGBColor = RGBColor(90, 90, 90);
/// The viewer's font is unknown; a letter of a sans-serif font of 13 pixels takes about 7.
const LETTER: i32 = 7;
const LEGEND_LINE: i32 = 22;

/// Names with their looks.
pub(super) type Legend = Vec<(String, Style)>;

/// A plot of dots in rows, one value each, beside others with the same rows.
pub(super) struct Dots {
    pub(super) title: String,
    pub(super) axis: Axis,
    /// Row, value, who of the legend.
    pub(super) points: Vec<(usize, f64, usize)>,
}

/// Rows of dots.
pub(super) struct Rows {
    pub(super) legend: Legend,
    pub(super) labels: Vec<String>,
    pub(super) panels: Vec<Dots>,
    /// A value that is marked by a line.
    pub(super) reference: Option<f64>,
}

/// Points, joined or not.
pub(super) struct Curve {
    /// Who of the legend.
    pub(super) who: usize,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) joined: bool,
}

pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) curves: Vec<Curve>,
    /// Dashed.
    pub(super) reference: Vec<(f64, f64)>,
}

/// Panels of curves, so many side by side.
pub(super) struct Curves {
    pub(super) legend: Legend,
    pub(super) panels: Vec<Panel>,
    pub(super) columns: usize,
}

impl Rows {
    pub(super) fn svg(&self) -> Result<String> {
        const ROW: i32 = 23;
        const LABELS: i32 = 270;
        const GAP: i32 = 58;
        let top = legend_height(&self.legend) + 26;
        let bottom = top + ROW * self.labels.len() as i32;
        draw(bottom + 54, &|area| {
            draw_legend(area, &self.legend)?;
            for (i, label) in self.labels.iter().enumerate() {
                let (y, i) = (top + ROW * i as i32, i as i32);
                if i % 2 == 0 {
                    area.draw(&Rectangle::new([(0, y), (WIDTH, y + ROW)], STRIPE.filled()))?;
                }
                text(area, label, (LABELS - 12, y + ROW / 2), 13, HPos::Right)?;
            }
            let width = (WIDTH - LABELS - GAP * self.panels.len() as i32) / self.panels.len() as i32;
            for (i, panel) in self.panels.iter().enumerate() {
                let left = LABELS + (width + GAP) * i as i32;
                let x = |value| left + (panel.axis.place(value) * f64::from(width)).round() as i32;
                text(area, &panel.title, (left + width / 2, top - 14), 15, HPos::Center)?;
                for (value, label) in &panel.axis.ticks {
                    area.draw(&PathElement::new([(x(*value), top), (x(*value), bottom + 4)], GRID))?;
                    text(area, label, (x(*value), bottom + 14), 12, HPos::Center)?;
                }
                text(area, &panel.axis.title, (left + width / 2, bottom + 36), 13, HPos::Center)?;
                if let Some(value) = self.reference {
                    let line =
                        PathElement::new([(x(value), top), (x(value), bottom)], REFERENCE.stroke_width(2));
                    area.draw(&line)?;
                }
                for &(row, value, who) in &panel.points {
                    let style = self.legend[who].1;
                    // Apart, so that neither hides the other where threads gain nothing.
                    let aside =
                        if style.mark == Mark::Triangle || style.mark == Mark::Diamond { 4 } else { -4 };
                    mark(area, (x(value), top + ROW * row as i32 + ROW / 2 + aside), style)?;
                }
            }
            Ok(())
        })
    }
}

impl Curves {
    pub(super) fn svg(&self) -> Result<String> {
        const HEIGHT: i32 = 360;
        const LEFT: i32 = 76;
        const BELOW: i32 = 58;
        let legend = legend_height(&self.legend);
        let rows = self.panels.len().div_ceil(self.columns) as i32;
        let width = WIDTH / self.columns as i32;
        draw(legend + rows * HEIGHT, &|area| {
            draw_legend(area, &self.legend)?;
            for (i, panel) in self.panels.iter().enumerate() {
                let left = width * (i % self.columns) as i32 + LEFT;
                let top = legend + HEIGHT * (i / self.columns) as i32 + 30;
                let (inner, bottom) = (width - LEFT - 24, top + HEIGHT - 30 - BELOW);
                let at = |(x, y): (f64, f64)| {
                    let right = panel.x.place(x) * f64::from(inner);
                    let down = (1.0 - panel.y.place(y)) * f64::from(bottom - top);
                    (left + right.round() as i32, top + down.round() as i32)
                };
                text(area, &panel.title, (left + inner / 2, top - 14), 15, HPos::Center)?;
                for (value, label) in &panel.x.ticks {
                    let x = left + (panel.x.place(*value) * f64::from(inner)).round() as i32;
                    area.draw(&PathElement::new([(x, top), (x, bottom + 4)], GRID))?;
                    text(area, label, (x, bottom + 14), 12, HPos::Center)?;
                }
                for (value, label) in &panel.y.ticks {
                    let y = bottom - (panel.y.place(*value) * f64::from(bottom - top)).round() as i32;
                    area.draw(&PathElement::new([(left - 4, y), (left + inner, y)], GRID))?;
                    text(area, label, (left - 8, y), 12, HPos::Right)?;
                }
                text(area, &panel.x.title, (left + inner / 2, bottom + 36), 13, HPos::Center)?;
                upright(area, &panel.y.title, (left - LEFT + 14, (top + bottom) / 2))?;
                let dashes: Vec<(i32, i32)> = panel.reference.iter().copied().map(at).collect();
                if dashes.len() > 1 {
                    area.draw(&DashedPathElement::new(dashes, 6, 5, REFERENCE.stroke_width(1)))?;
                }
                for curve in &panel.curves {
                    let style = self.legend[curve.who].1;
                    let points: Vec<(i32, i32)> = curve.points.iter().copied().map(at).collect();
                    if curve.joined {
                        area.draw(&PathElement::new(points.clone(), style.color.stroke_width(2)))?;
                    }
                    points.into_iter().try_for_each(|at| mark(area, at, style))?;
                }
            }
            Ok(())
        })
    }
}

fn draw(height: i32, content: &dyn Fn(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        content(&area)?;
        area.present()?;
    }
    Ok(svg)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, horizontal: HPos) -> Result<()> {
    let style = ("sans-serif", size).into_font().color(&TEXT).pos(Pos::new(horizontal, VPos::Center));
    Ok(area.draw(&Text::new(text.to_string(), at, style))?)
}

/// Text that runs upwards.
fn upright(area: &Area<'_>, text: &str, at: (i32, i32)) -> Result<()> {
    let font = ("sans-serif", 13).into_font().transform(FontTransform::Rotate270);
    let style = font.color(&TEXT).pos(Pos::new(HPos::Center, VPos::Center));
    Ok(area.draw(&Text::new(text.to_string(), at, style))?)
}

fn mark(area: &Area<'_>, (x, y): (i32, i32), style: Style) -> Result<()> {
    const R: i32 = 5;
    let corners = match style.mark {
        Mark::Circle => {
            let fill = if style.hollow { WHITE.filled() } else { style.color.filled() };
            area.draw(&Circle::new((x, y), R, fill))?;
            let edge = if style.hollow { style.color.stroke_width(2) } else { WHITE.stroke_width(1) };
            return Ok(area.draw(&Circle::new((x, y), R, edge))?);
        }
        Mark::Triangle => vec![(x, y - R - 1), (x + R + 1, y + R), (x - R - 1, y + R)],
        Mark::Square => vec![(x - R, y - R), (x + R, y - R), (x + R, y + R), (x - R, y + R)],
        Mark::Diamond => vec![(x, y - R - 2), (x + R + 2, y), (x, y + R + 2), (x - R - 2, y)],
    };
    let fill = if style.hollow { WHITE.filled() } else { style.color.filled() };
    let outline: Vec<(i32, i32)> = corners.iter().chain(&corners[..1]).copied().collect();
    area.draw(&Polygon::new(corners, fill))?;
    let edge = if style.hollow { style.color.stroke_width(2) } else { WHITE.stroke_width(1) };
    Ok(area.draw(&PathElement::new(outline, edge))?)
}

/// Where each entry of a legend stands.
fn places(legend: &Legend) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (16, 16);
    let mut places = Vec::new();
    for (name, _) in legend {
        let width = 40 + LETTER * name.chars().count() as i32;
        if x + width > WIDTH && x > 16 {
            (x, y) = (16, y + LEGEND_LINE);
        }
        places.push((x, y));
        x += width;
    }
    places
}

fn legend_height(legend: &Legend) -> i32 {
    places(legend).last().map_or(0, |(_, y)| y + LEGEND_LINE)
}

fn draw_legend(area: &Area<'_>, legend: &Legend) -> Result<()> {
    for ((name, style), (x, y)) in legend.iter().zip(places(legend)) {
        mark(area, (x, y), *style)?;
        text(area, name, (x + 12, y), 13, HPos::Left)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotters::style::RGBColor;

    #[test]
    fn a_legend_breaks_into_lines_and_stays_inside() {
        let style = Style { color: RGBColor(0, 0, 0), mark: Mark::Circle, hollow: false };
        let legend: Legend = (0..30).map(|i| (format!("implementation {i}"), style)).collect();
        let places = places(&legend);
        assert!(places.last().unwrap().1 > 16);
        for ((name, _), (x, y)) in legend.iter().zip(&places) {
            assert!(x + 12 + LETTER * name.len() as i32 <= WIDTH && *y < legend_height(&legend), "{name}");
        }
    }
}

//! Pictures of several panels under one title and one legend, as SVG.

use crate::Result;
use crate::scale::Scale;
use plotters::element::{DashedPathElement, DynElement, IntoDynElement};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fs;
use std::path::Path;

const PANEL: (u32, u32) = (560, 440);
/// The strip above the panels: title, caption and legend, which so covers no curve.
const HEADER: u32 = 108;
/// The strip above a panel's plot, and what is left and right of the plot: the labels of the y axis stand left.
const TITLE: u32 = 30;
const LEFT: u32 = 84;
const RIGHT: u32 = 24;
const Y_LABELS: u32 = 76;
const TEXT: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(224, 224, 224);

/// With the layer: the blue of Okabe and Ito's palette, which colour-blind readers tell from its orange.
pub const NORMALIZED: RGBColor = RGBColor(0, 114, 178);
/// Without: the orange.
pub const PLAIN: RGBColor = RGBColor(213, 94, 0);
/// What is neither.
pub const NEUTRAL: RGBColor = RGBColor(110, 110, 110);

/// How a line is drawn.
#[derive(Clone, Copy)]
pub struct Style {
    /// Its colour.
    pub color: RGBColor,
    /// Whether it is.
    pub dashed: bool,
    /// Whether each point is marked.
    pub marked: bool,
}

impl Style {
    /// A line that is not interrupted.
    pub fn solid(color: RGBColor) -> Self {
        Self { color, dashed: false, marked: false }
    }

    /// A dashed one.
    pub fn dashed(color: RGBColor) -> Self {
        Self { dashed: true, ..Self::solid(color) }
    }
}

/// A line through points.
pub struct Curve {
    /// How it looks.
    pub style: Style,
    /// (x, y)
    pub points: Vec<(f64, f64)>,
}

/// Words in a plot.
pub struct Note {
    /// (x, y): where they begin, or the point that they are about.
    pub at: (f64, f64),
    /// The words.
    pub text: String,
    /// Of the words.
    pub color: RGBColor,
    /// About a point: at which y the words stand beside the line that drops from it to the axis.
    pub drop: Option<f64>,
}

/// A plot with labelled axes.
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The x axis with its label.
    pub x: (String, Scale),
    /// The y axis. What lies below is not drawn.
    pub y: (String, Scale),
    /// The lines.
    pub curves: Vec<Curve>,
    /// What is said about them.
    pub notes: Vec<Note>,
}

/// A picture.
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// Below the title, smaller.
    pub caption: String,
    /// What the lines are.
    pub legend: Vec<(String, Style)>,
    /// Side by side.
    pub panels: Vec<Panel>,
}

impl Figure {
    /// Writes the picture, and the folder it lies in where there is none.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let svg = self.svg()?;
        let written = match file.parent() {
            Some(folder) => fs::create_dir_all(folder).and_then(|()| fs::write(file, svg)),
            None => fs::write(file, svg),
        };
        written.map_err(|e| format!("cannot write {}: {e}", file.display()).into())
    }

    fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let width = PANEL.0 * self.panels.len() as u32;
        {
            let root = SVGBackend::with_string(&mut svg, (width, HEADER + PANEL.1)).into_drawing_area();
            root.fill(&WHITE)?;
            let (header, body) = root.split_vertically(HEADER);
            let center = Pos::new(HPos::Center, VPos::Center);
            let title = ("sans-serif", 24).into_font().color(&TEXT).pos(center);
            header.draw(&Text::new(self.title.clone(), (width as i32 / 2, 26), title))?;
            let caption = ("sans-serif", 17).into_font().color(&TEXT).pos(center);
            header.draw(&Text::new(self.caption.clone(), (width as i32 / 2, 55), caption))?;
            self.draw_legend(&header, width as i32)?;
            for (area, panel) in body.split_evenly((1, self.panels.len())).iter().zip(&self.panels) {
                panel.draw(area)?;
            }
            root.present()?;
        }
        Ok(svg)
    }

    fn draw_legend(&self, area: &Area<'_>, width: i32) -> Result<()> {
        const LINE: i32 = 36;
        const GAP: i32 = 8;
        const SPACE: i32 = 36;
        const Y: i32 = 86;
        let entry_width = |name: &str| LINE + GAP + text_width(name, 17);
        let total: i32 = self.legend.iter().map(|(name, _)| entry_width(name) + SPACE).sum();
        let mut x = (width - total + SPACE) / 2;
        let font = ("sans-serif", 17).into_font().color(&TEXT).pos(Pos::new(HPos::Left, VPos::Center));
        for (name, style) in &self.legend {
            area.draw(&line(*style, vec![(x, Y), (x + LINE, Y)]))?;
            if style.marked {
                area.draw(&Circle::new((x + LINE / 2, Y), 4, style.color.filled()))?;
            }
            area.draw(&Text::new(name.clone(), (x + LINE + GAP, Y), font.clone()))?;
            x += entry_width(name) + SPACE;
        }
        Ok(())
    }
}

/// About the width of a text: the viewer's font is unknown, and sans-serif fonts take about half their size a letter.
fn text_width(text: &str, size: i32) -> i32 {
    text.chars().count() as i32 * size * 47 / 100
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let font = |size: u32| ("sans-serif", size).into_font().color(&TEXT);
        let (title, plot) = area.split_vertically(TITLE);
        let middle = (LEFT + PANEL.0 - RIGHT) / 2;
        let centered = font(19).pos(Pos::new(HPos::Center, VPos::Center));
        title.draw(&Text::new(self.title.clone(), (middle as i32, TITLE as i32 / 2), centered))?;
        let mut chart = ChartBuilder::on(&plot)
            .margin(8)
            .margin_left(LEFT - Y_LABELS)
            .margin_right(RIGHT)
            .x_label_area_size(56)
            .y_label_area_size(Y_LABELS)
            .build_cartesian_2d(self.x.1.clone(), self.y.1.clone())?;
        chart
            .configure_mesh()
            .x_desc(&self.x.0)
            .y_desc(&self.y.0)
            .axis_desc_style(font(17))
            .label_style(font(15))
            .axis_style(TEXT)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        let floor = self.y.1.start();
        for Curve { style, points } in &self.curves {
            for piece in above(floor, points) {
                chart.draw_series([line(*style, piece)])?;
            }
            if style.marked {
                let seen = points.iter().filter(|point| point.1 >= floor);
                chart.draw_series(seen.map(|&at| Circle::new(at, 4, style.color.filled())))?;
            }
        }
        for Note { at, color, .. } in self.notes.iter().filter(|note| note.drop.is_some()) {
            chart.draw_series([line(Style::dashed(*color), vec![*at, (at.0, floor)])])?;
            chart.draw_series([Circle::new(*at, 7, WHITE.filled()), Circle::new(*at, 5, color.filled())])?;
        }
        // Last, on white, so that no line runs through them.
        for Note { at, text, color, drop } in &self.notes {
            let width = text_width(text, 15);
            // Words far right stand left of their point, so that they stay in the picture.
            let left = if self.x.1.place(at.0) > 0.7 { -7 - width } else { 7 };
            let (y, above) = drop.map_or((at.1, 13), |y| (y, 0));
            let font = ("sans-serif", 15).into_font().color(color).pos(Pos::new(HPos::Left, VPos::Center));
            let back = Rectangle::new(
                [(left - 2, -above - 9), (left + width + 2, 9 - above)],
                WHITE.mix(0.8).filled(),
            );
            let words = Text::new(text.clone(), (left, -above), font);
            chart.draw_series([EmptyElement::at((at.0, y)) + back + words])?;
        }
        Ok(())
    }
}

/// The pieces of a curve that do not lie below `floor`, cut where it crosses.
fn above(floor: f64, points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = vec![Vec::new()];
    for (i, &(x, y)) in points.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| points[i]);
        if let Some((x0, y0)) = before.filter(|&(_, y0)| (y0 < floor) != (y < floor)) {
            let crossing = (x0 + (x - x0) * (floor - y0) / (y - y0), floor);
            pieces.last_mut().expect("one at least").push(crossing);
            if y < floor {
                pieces.push(Vec::new());
            }
        }
        if y >= floor {
            pieces.last_mut().expect("one at least").push((x, y));
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn line<'a, Coord: Clone + 'static>(
    style: Style,
    points: Vec<Coord>,
) -> DynElement<'static, SVGBackend<'a>, Coord>
where
    DashedPathElement<std::vec::IntoIter<Coord>, u32>: IntoDynElement<'static, SVGBackend<'a>, Coord>,
{
    let stroke = style.color.stroke_width(2);
    match style.dashed {
        true => DashedPathElement::new(points, 7, 5, stroke).into_dyn(),
        false => PathElement::new(points, stroke).into_dyn(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_cut_at_the_floor() {
        let points = [(0.0, 0.0), (1.0, 2.0), (2.0, 3.0), (3.0, 1.0), (4.0, 0.0), (5.0, 1.0)];
        let pieces = above(1.0, &points);
        assert_eq!(
            pieces,
            [vec![(0.5, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 1.0), (3.0, 1.0)], vec![(5.0, 1.0), (5.0, 1.0)]]
        );
        assert!(above(4.0, &points).is_empty());
        assert_eq!(above(0.0, &points), [points]);
    }
}

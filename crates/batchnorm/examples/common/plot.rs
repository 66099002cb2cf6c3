//! Pictures of several panels under one title and one legend, as SVG.

use super::Result;
use super::scale::Scale;
use plotters::element::{DashedPathElement, DynElement, IntoDynElement};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fs;
use std::path::Path;

const PANEL: (u32, u32) = (560, 440);
/// The strip above the panels: the title and below it the legend, which so covers no curve.
const HEADER: u32 = 84;
/// The strip above a panel's plot, and what is left and right of the plot: the labels of the y axis stand left.
const TITLE: u32 = 30;
const LEFT: u32 = 84;
const RIGHT: u32 = 24;
const Y_LABELS: u32 = 76;
const TEXT: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(224, 224, 224);

/// Blue and orange of Okabe and Ito's palette, which colour-blind readers tell apart.
pub(crate) const NORMALIZED: RGBColor = RGBColor(0, 114, 178);
pub(crate) const PLAIN: RGBColor = RGBColor(213, 94, 0);

#[derive(Clone, Copy)]
pub(crate) struct Style {
    pub(crate) color: RGBColor,
    pub(crate) dashed: bool,
    /// Whether each point is marked.
    pub(crate) marked: bool,
}

impl Style {
    pub(crate) fn solid(color: RGBColor) -> Self {
        Self { color, dashed: false, marked: false }
    }
}

pub(crate) struct Curve {
    pub(crate) style: Style,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot with labelled axes.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: (String, Scale),
    pub(crate) y: (String, Scale),
    pub(crate) curves: Vec<Curve>,
}

pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) legend: Vec<(&'static str, Style)>,
    /// Side by side.
    pub(crate) panels: Vec<Panel>,
}

impl Figure {
    /// Writes the picture, and the folder it lies in where there is none.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
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
        const Y: i32 = 62;
        // The viewer's font is unknown; sans-serif fonts of 17 pixels take about 8 a letter.
        let text_width = |name: &str| 8 * name.len() as i32;
        let entry_width = |name: &str| LINE + GAP + text_width(name);
        let total: i32 = self.legend.iter().map(|(name, _)| entry_width(name) + SPACE).sum();
        let mut x = (width - total + SPACE) / 2;
        let font = ("sans-serif", 17).into_font().color(&TEXT).pos(Pos::new(HPos::Left, VPos::Center));
        for (name, style) in &self.legend {
            area.draw(&line(*style, vec![(x, Y), (x + LINE, Y)]))?;
            if style.marked {
                area.draw(&Circle::new((x + LINE / 2, Y), 4, style.color.filled()))?;
            }
            area.draw(&Text::new(*name, (x + LINE + GAP, Y), font.clone()))?;
            x += entry_width(name) + SPACE;
        }
        Ok(())
    }
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
        for Curve { style, points } in &self.curves {
            chart.draw_series([line(*style, points.clone())])?;
            if style.marked {
                chart.draw_series(points.iter().map(|&at| Circle::new(at, 4, style.color.filled())))?;
            }
        }
        Ok(())
    }
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

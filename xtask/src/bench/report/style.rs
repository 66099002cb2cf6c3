//! How everyone looks, the same in all plots: a colour for the kernels or the library, a mark for the kind.

use benches::floor::FLOOR;
use plotters::style::RGBColor;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// On one thread.
    Circle,
    /// On several.
    Triangle,
    /// The textbook.
    Square,
    /// A peer, on one thread; on several it is hollow.
    Diamond,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    pub(super) color: RGBColor,
    pub(super) mark: Mark,
    pub(super) hollow: bool,
}

/// Okabe and Ito's palette, which colour-blind readers tell apart, and a few more for those who are compared less.
const COLORS: &[(&str, RGBColor)] = &[
    ("dispatch", RGBColor(0, 114, 178)),
    ("dispatch@baseline", RGBColor(160, 200, 235)),
    ("dispatch@avx2", RGBColor(86, 180, 233)),
    ("dispatch@avx512", RGBColor(0, 70, 120)),
    ("wide", RGBColor(0, 158, 115)),
    ("scalar", RGBColor(125, 125, 125)),
    ("graph", RGBColor(213, 94, 0)),
    ("analytic", RGBColor(230, 159, 0)),
    (FLOOR, RGBColor(40, 40, 40)),
];

/// Colours of those that the list above does not name, in order of appearance.
const OTHERS: [RGBColor; 8] = [
    RGBColor(204, 121, 167),
    RGBColor(140, 86, 75),
    RGBColor(170, 30, 60),
    RGBColor(120, 80, 190),
    RGBColor(110, 120, 20),
    RGBColor(20, 20, 20),
    RGBColor(230, 110, 120),
    RGBColor(70, 130, 130),
];

/// Colours for curves that are not implementations.
pub(super) fn nth(i: usize) -> RGBColor {
    let firsts = [COLORS[0].1, COLORS[6].1, COLORS[4].1, COLORS[7].1];
    firsts.into_iter().chain(OTHERS).cycle().nth(i).unwrap_or(OTHERS[0])
}

/// The style of one of `everyone`.
pub(super) fn of(who: &(String, usize), everyone: &[(String, usize)]) -> Style {
    let (name, threads) = who;
    let kernels = name.strip_prefix("rayon+").unwrap_or(name);
    let named = COLORS.iter().find(|(known, _)| *known == kernels);
    let Some(&(_, color)) = named else {
        let mut others: Vec<&str> = Vec::new();
        for (name, _) in everyone {
            let known = COLORS.iter().any(|(known, _)| known == name || name.starts_with("rayon+"));
            if !known && !others.contains(&name.as_str()) {
                others.push(name);
            }
        }
        let at = others.iter().position(|other| other == name).unwrap_or(0);
        return Style { color: OTHERS[at % OTHERS.len()], mark: Mark::Diamond, hollow: *threads > 1 };
    };
    let mark = match kernels {
        "graph" | "analytic" => Mark::Square,
        _ if *threads > 1 => Mark::Triangle,
        _ => Mark::Circle,
    };
    // Rayon's overhead on one thread is looked at beside the serial kernels.
    Style { color, mark, hollow: name.starts_with("rayon+") && *threads == 1 }
}

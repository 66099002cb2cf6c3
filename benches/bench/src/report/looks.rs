//! How everyone looks in the plots.

use super::draw::{Look, Mark};
use crate::record::{Record, distinct};
use benches::floor::FLOOR;
use plotters::style::RGBColor;

/// Okabe and Ito's palette, which colour-blind readers tell apart, and a few more for those who are compared less.
const COLORS: [(&str, RGBColor); 10] = [
    ("dispatch", RGBColor(0, 114, 178)),
    ("dispatch@baseline", RGBColor(160, 200, 235)),
    ("dispatch@avx2", RGBColor(86, 180, 233)),
    ("dispatch@avx512", RGBColor(0, 70, 120)),
    ("wide", RGBColor(0, 158, 115)),
    ("scalar", RGBColor(125, 125, 125)),
    ("graph", RGBColor(213, 94, 0)),
    ("analytic", RGBColor(230, 159, 0)),
    (FLOOR, RGBColor(40, 40, 40)),
    ("this layer", RGBColor(0, 114, 178)),
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

/// Everyone but some, with their looks, which are the same in all plots: a colour for the kernels or the library, a mark
/// for the kind.
pub(super) fn legend(records: &[Record], without: &[&str]) -> Vec<(String, Look)> {
    let kernels =
        |r: &Record| r.implementation.strip_prefix("rayon+").unwrap_or(&r.implementation).to_string();
    let known = |name: &str| COLORS.iter().find(|color| color.0 == name).map(|color| color.1);
    let others: Vec<String> = distinct(records.iter().filter(|r| known(&kernels(r)).is_none()), kernels);
    let look = |r: &Record| {
        let (name, parallel) = (kernels(r), r.threads > 1);
        let other = || OTHERS[others.iter().position(|other| *other == name).unwrap_or(0) % OTHERS.len()];
        let (mark, hollow) = match name.as_str() {
            "graph" | "analytic" => (Mark::Square, false),
            _ if known(&name).is_none() => (Mark::Diamond, parallel),
            _ if parallel => (Mark::Triangle, false),
            // Rayon's overhead on one thread is looked at beside the serial kernels.
            _ => (Mark::Circle, name != r.implementation),
        };
        (r.who(), Look { color: known(&name).unwrap_or_else(other), mark, hollow })
    };
    let kept = records.iter().filter(|r| !without.contains(&r.implementation.as_str()));
    let mut legend: Vec<(String, Look)> = Vec::new();
    for (who, look) in kept.map(look) {
        if !legend.iter().any(|known| known.0 == who) {
            legend.push((who, look));
        }
    }
    legend
}

/// Circles in a colour for each name.
pub(super) fn circles(names: Vec<String>) -> Vec<(String, Look)> {
    let firsts = [0, 6, 4, 7].map(|i| COLORS[i].1);
    let colors = firsts.into_iter().chain(OTHERS).cycle();
    names.into_iter().zip(colors.map(|color| Look { color, mark: Mark::Circle, hollow: false })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn everyone_looks_different() {
        let all = [
            ("floor", 1),
            ("dispatch", 1),
            ("rayon+dispatch", 1),
            ("rayon+dispatch", 2),
            ("graph", 1),
            ("torch", 1),
            ("torch", 2),
            ("burn", 1),
        ];
        let looks = legend(&all.map(|(name, threads)| record(name, threads, "step", 1.0)), &[]);
        assert_eq!(looks.len(), all.len());
        for (i, (who, look)) in looks.iter().enumerate() {
            assert!(!looks[..i].iter().any(|other| other.1 == *look), "{who}");
        }
    }
}

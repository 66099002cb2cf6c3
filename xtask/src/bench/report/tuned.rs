//! What was learned about schedules, as a plot: each candidate's time beside that of the first guess.

use super::axis::Axis;
use super::figure::{Dots, Result, Rows};
use super::style::{self, Mark, Style};
use bn_core::schedule::Learned;

/// What takes less or longer stands at the edges.
const EDGES: [f64; 2] = [0.5, 2.0];

/// A row for each class: the choice, the first guess, and what else was tried.
pub(crate) fn plot(learned: &[Learned]) -> Result<String> {
    let looks =
        [("what is taken", 0, Mark::Circle), ("first guess", 1, Mark::Square), ("tried", 2, Mark::Diamond)];
    let legend = looks.map(|(name, color, mark)| {
        (name.to_string(), Style { color: style::nth(color), mark, hollow: mark != Mark::Circle })
    });
    let mut points = Vec::new();
    for (row, learned) in learned.iter().enumerate() {
        let Some(first) = learned.time(learned.first) else { continue };
        for tried in &learned.tried {
            let who = match tried.name {
                name if name == learned.choice => 0,
                name if name == learned.first => 1,
                _ => 2,
            };
            if let Some(least) = tried.least {
                points.push((row, (least / first).clamp(EDGES[0], EDGES[1]), who));
            }
        }
    }
    // What was taken is drawn last, so that nothing hides it.
    points.sort_by_key(|&(row, _, who)| (row, std::cmp::Reverse(who)));
    let values = points.iter().map(|point| point.1).chain(EDGES);
    let axis = Axis::log("least time over the first guess's", values, |v| format!("{v}×"));
    let title = format!("below {}× and above {}× at the edges", EDGES[0], EDGES[1]);
    let labels = learned.iter().map(label).collect();
    let panels = vec![Dots { title, axis, points }];
    Rows { legend: legend.into(), labels, panels, reference: Some(1.0) }.svg()
}

/// The least shape of a class: as it is walked, 32×64×2048.
fn label(learned: &Learned) -> String {
    let class = learned.class;
    let [outer, features, inner] = class.size.map(|log2| 1_u64 << log2);
    let threads = if class.threads == 1 { "1 thread".into() } else { format!("{} threads", class.threads) };
    format!("{} {outer}×{features}×{inner}, {threads}", class.task.name())
}

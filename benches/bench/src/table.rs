//! The measurements as text.

use super::baseline::Change;
use super::record::{Record, distinct, of};
use benches::floor::FLOOR;
use benches::implementation::Pass;
use comfy_table::presets::ASCII_BORDERS_ONLY_CONDENSED;
use comfy_table::{CellAlignment, Table};

/// Three digits.
pub(crate) fn figure(value: f64) -> String {
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$}")
}

/// A table of right-aligned columns, the first aside.
fn table(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_BORDERS_ONLY_CONDENSED).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
        column.set_padding((1, 0));
    }
    table
}

/// Everyone in order of appearance.
pub(crate) fn everyone(records: &[Record]) -> Vec<String> {
    distinct(records, Record::who)
}

/// The records of one shape.
pub(crate) fn group(records: &[Record]) -> String {
    let Some(first) = records.first() else { return String::new() };
    let columns = ["median, µs", "least, µs", "±, %", "of the\nfloor, %", "× ours"];
    let mut header = vec![String::new()];
    header
        .extend(Pass::ALL.iter().flat_map(|pass| columns.map(|column| format!("{}\n{column}", pass.name()))));
    let mut table = table(header);
    for who in everyone(records) {
        let cells = |pass| match of(records, &who, pass).next() {
            Some(r) => [figure(r.median_ns / 1e3), figure(r.min_ns / 1e3)]
                .into_iter()
                .chain([format!("{:.0}", 100.0 * r.spread), format!("{:.0}", r.share())])
                .chain([r.over_ours.map_or(String::new(), figure)])
                .collect(),
            None => vec![String::new(); 5],
        };
        table.add_row([vec![who.clone()], Pass::ALL.map(cells).concat()].concat());
    }
    format!("\n{}\n{table}\n", first.title())
}

/// The geometric mean; `None` of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| (sum + v.ln(), n + 1));
    (n > 0).then(|| f64::exp(sum / f64::from(n)))
}

/// From this many elements on a shape counts as large.
const LARGE: f64 = (1 << 20) as f64;

/// Everyone's share of the floor, a pair of columns for each pass: the geometric mean over all shapes, over the large ones.
pub(crate) fn shares(records: &[Record]) -> Vec<Vec<String>> {
    let row = |who: String| {
        let cells = |pass| {
            [0.0, LARGE].map(|least| {
                let shares = of(records, &who, pass).filter(|r| r.elements() >= least).map(Record::share);
                mean(shares).map_or("–".into(), |share| format!("{share:.0}"))
            })
        };
        [vec![who.clone()], Pass::ALL.map(cells).concat()].concat()
    };
    everyone(records).into_iter().filter(|who| !who.starts_with(FLOOR)).map(row).collect()
}

/// [`shares`] as a table; nothing where there are none.
pub(crate) fn summary(records: &[Record]) -> String {
    let rows = shares(records);
    let mut header = vec!["share of the floor, %".to_string()];
    header
        .extend(Pass::ALL.iter().flat_map(|p| ["all shapes", "large"].map(|c| format!("{}\n{c}", p.name()))));
    let mut table = table(header);
    table.add_rows(rows.clone());
    if rows.is_empty() { String::new() } else { format!("\n{table}\n") }
}

/// How many times our time others took with a variant: the geometric mean over its shapes.
pub(crate) fn ratios(records: &[Record]) -> Vec<Vec<String>> {
    let others = || records.iter().filter(|r| r.over_ours.is_some());
    let row = |(variant, who): (&String, String)| {
        let cell = |pass| {
            let of_one = of(records, &who, pass).filter(|r| r.variant == *variant);
            mean(of_one.filter_map(|r| r.over_ours)).map_or("–".into(), figure)
        };
        [vec![variant.clone(), who.clone()], Pass::ALL.map(cell).into()].concat()
    };
    distinct(others(), |r| (&r.variant, r.who())).into_iter().map(row).collect()
}

/// [`ratios`] as a table; nothing where there are none.
pub(crate) fn ratio_summary(records: &[Record]) -> String {
    let rows = ratios(records);
    let header = ["× ours, mean", "who"].into_iter().chain(Pass::ALL.map(Pass::name));
    let mut table = table(header.map(String::from).collect());
    table.add_rows(rows.clone());
    if rows.is_empty() { String::new() } else { format!("\n{table}\n") }
}

/// What moved against an earlier run.
pub(crate) fn changes(records: &[Record], changes: &[Change]) -> String {
    let marks = changes.iter().filter_map(|change| Some((change, change.mark()?)));
    let lines: Vec<String> = marks
        .map(|(change, mark)| {
            let (record, noise) = (&records[change.index], 100.0 * change.noise);
            let (title, pass, who) = (record.title(), &record.pass, record.who());
            format!("  {mark:<14} {title} {pass} {who} (noise: {noise:.0} %)\n")
        })
        .collect();
    let (compared, moved) = (changes.len(), lines.len());
    format!("\nagainst the baseline: {compared} compared, {moved} moved beyond the noise\n{}", lines.concat())
}

/// What stands above the rows of hard data.
pub(crate) fn hard_heading() -> String {
    let heading =
        "\nhard data: a pass's time as a multiple of what it is timed against, least of the samples (median)";
    let columns =
        format!("{:<32}{:<44}{:>16}{:>16}{:>16}{:>7}", "data", "shape", "forward", "backward", "step", "bar");
    format!("{heading}\n{columns}\n")
}

/// A multiple of hard data: the least times, the medians, and whether it is over its bar.
pub(crate) fn multiple(records: &[Record], pass: Pass) -> Option<(String, bool)> {
    let record = records.iter().find(|r| r.pass == pass.name())?;
    let [least, median] = record.ratios()?;
    Some((format!("{} ({})", figure(least), figure(median)), record.is_over()))
}

/// A row of hard data: the records of its passes.
pub(crate) fn hard_line(records: &[Record]) -> String {
    let Some(first) = records.first() else { return String::new() };
    let against = first.against.as_deref().unwrap_or_default();
    let place = format!("{} {} {} over {against}", first.layout, first.shape, first.dtype);
    let cell =
        |pass| multiple(records, pass).map_or("".into(), |(text, over)| text + if over { "!" } else { " " });
    let [forward, backward, step] = Pass::ALL.map(cell);
    let bar = records.iter().find_map(|r| r.bar).map_or(String::new(), |bar| bar.to_string());
    format!("{:<32}{place:<44}{forward:>16}{backward:>16}{step:>16}{bar:>7}\n", first.variant)
}

/// How many passes have a bar, and how many are over theirs; nothing where there are none.
pub(crate) fn hard_summary(records: &[Record]) -> String {
    let barred = records.iter().filter(|record| record.bar.is_some()).count();
    let over = records.iter().filter(|record| record.is_over()).count();
    match barred {
        0 => String::new(),
        _ => format!("\nhard data: {barred} passes have a bar, {over} are over it\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{hard, record};
    use super::*;

    #[test]
    fn a_table_has_named_columns_and_a_row_for_everyone() {
        let records = [
            record("floor", 1, "forward", 2621.44),
            record("dispatch", 1, "forward", 2.0 * 2621.44),
            record("rayon+dispatch", 2, "step", 1e6),
        ];
        let text = group(&records);
        let words = |name: &str| -> Vec<String> {
            let line = text
                .lines()
                .find(|l| l.trim_matches(['|', ' ']).starts_with(name))
                .unwrap_or_else(|| panic!("{text}"));
            line.trim_matches('|').split_whitespace().map(String::from).collect()
        };
        assert!(text.starts_with("\nmlp_64x256 nc 64x256\n"), "{text}");
        assert_eq!(text.matches("median, µs").count(), 3, "{text}");
        assert_eq!(words("dispatch"), ["dispatch", "5.24", "5.14", "1", "50"]);
        assert_eq!(words("rayon+dispatch")[..3], ["rayon+dispatch", "×2", "1000"]);
        let rows = shares(&records);
        assert_eq!(rows[0][..3], ["dispatch", "50", "–"], "no shape is large");
        assert_eq!(rows.len(), 2, "the floor has no row");
    }

    #[test]
    fn others_are_multiples_of_ours() {
        let mut records = ["relu", "relu", "add_relu"].map(|variant| Record {
            variant: variant.into(),
            over_ours: Some(2.0),
            ..record("torch", 2, "forward", 1e4)
        });
        records[1].over_ours = Some(8.0);
        assert_eq!(
            ratios(&records),
            [["relu", "torch ×2", "4.00", "–", "–"], ["add_relu", "torch ×2", "2.00", "–", "–"]]
        );
        assert!(ratio_summary(&records).contains("× ours, mean") && ratio_summary(&[]).is_empty());
        let text = group(&records[1..2]);
        assert!(text.starts_with("\nmlp_64x256 nc 64x256 relu\n") && text.contains(" 8.00"), "{text}");
    }

    #[test]
    fn a_row_of_hard_data_tells_its_passes_and_what_is_over_the_bar() {
        let row = [hard("dy_nan", "forward", 1.02, Some(4.0)), hard("dy_nan", "backward", 27.0, Some(4.0))];
        let text = hard_line(&row);
        assert!(text.starts_with("hard:dy_nan ") && text.contains(" nc 64x256 f32 over plain "), "{text}");
        assert!(text.contains(" 1.02 (1.02) ") && text.contains(" 27.0 (27.0)!"), "{text}");
        assert!(text.ends_with(" 4\n"), "{text}");
        assert_eq!(hard_summary(&row), "\nhard data: 2 passes have a bar, 1 are over it\n");
        assert_eq!(hard_line(&[]) + &hard_summary(&[hard("dy_nan", "step", 9.0, None)]), "");
    }
}

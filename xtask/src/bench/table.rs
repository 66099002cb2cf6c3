//! The measurements as text.

use super::baseline::Change;
use super::record::Record;
use std::fmt::Write as _;

/// The passes, in the order of reports.
pub(crate) const PASSES: [&str; 3] = ["forward", "backward", "step"];

/// Nanoseconds in the unit that leaves three digits.
pub(crate) fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 999.5 => (ns, "ns"),
        _ if ns < 999.5e3 => (ns / 1e3, "µs"),
        _ if ns < 999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// Everyone of a list of records, each once, in order of appearance.
pub(crate) fn everyone(records: &[Record]) -> Vec<(String, usize)> {
    let mut all: Vec<(String, usize)> = Vec::new();
    for record in records {
        let who = (record.implementation.clone(), record.threads);
        if !all.contains(&who) {
            all.push(who);
        }
    }
    all
}

pub(crate) fn of<'a>(
    records: &'a [Record],
    who: &'a (String, usize),
    pass: &'a str,
) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |r| (&r.implementation, r.threads) == (&who.0, who.1) && r.pass == pass)
}

/// The records of one shape.
pub(crate) fn group(records: &[Record]) -> String {
    let Some(first) = records.first() else {
        return String::new();
    };
    let mut text = format!("\n{}\n{}", first.title(), " ".repeat(28));
    PASSES.iter().for_each(|pass| text += &format!("{pass:>20}{:>7}{:>7}", "±", "floor"));
    text += "\n";
    for who in everyone(records) {
        let mut line = String::new();
        for pass in PASSES {
            match of(records, &who, pass).next() {
                Some(r) => {
                    let (median, least) = (time(r.median_ns), time(r.min_ns));
                    let (spread, floor) = (100.0 * r.spread, 100.0 * r.fraction());
                    let _ = write!(line, "{median:>10}{least:>10}{spread:>5.0} %{floor:>5.0} %");
                }
                None => line += &" ".repeat(34),
            }
        }
        let _ = writeln!(text, "  {:<26}{}", name(&who), line.trim_end());
    }
    text
}

fn name((implementation, threads): &(String, usize)) -> String {
    if *threads == 1 { implementation.clone() } else { format!("{implementation} ×{threads}") }
}

/// The geometric mean; `None` of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| (sum + v.ln(), n + 1));
    (n > 0).then(|| f64::exp(sum / f64::from(n)))
}

/// From this many elements on a shape counts as large.
pub(crate) const LARGE: f64 = (1 << 20) as f64;

/// Everyone's share of the floor: the geometric mean over all shapes, and over the large ones.
pub(crate) fn summary(records: &[Record]) -> String {
    let mut text = format!("\n{:<28}", "share of the floor");
    PASSES.iter().for_each(|pass| text += &format!("{pass:>16}"));
    text += &format!("\n{:<28}", "");
    PASSES.iter().for_each(|_| text += &format!("{:>8}{:>8}", "all", "large"));
    text += "\n";
    for who in everyone(records).into_iter().filter(|(name, _)| name != benches::floor::FLOOR) {
        let _ = write!(text, "  {:<26}", name(&who));
        for pass in PASSES {
            for least in [0.0, LARGE] {
                let shares = of(records, &who, pass).filter(|r| r.elements() >= least).map(Record::fraction);
                text += &match mean(shares) {
                    Some(share) => format!("{:>6.0} %", 100.0 * share),
                    None => format!("{:>8}", "–"),
                };
            }
        }
        text += "\n";
    }
    text
}

/// What moved against an earlier run.
pub(crate) fn changes(records: &[Record], changes: &[Change]) -> String {
    let moved = changes.iter().filter(|change| change.moved).count();
    let mut text =
        format!("\nagainst the baseline: {} compared, {moved} moved beyond the noise\n", changes.len());
    for change in changes {
        if let Some(mark) = change.mark() {
            let record = &records[change.index];
            let noise = 100.0 * change.noise;
            let (title, pass, who) = (record.title(), &record.pass, record.who());
            let _ = writeln!(text, "  {mark:<14} {title} {pass} {who} (noise: {noise:.0} %)");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (ns, text) in [
            (1.0, "1.00 ns"),
            (999.6, "1.00 µs"),
            (12_345.0, "12.3 µs"),
            (999_600.0, "1.00 ms"),
            (123.4e6, "123 ms"),
            (2.5e9, "2.50 s"),
        ] {
            assert_eq!(time(ns), text);
        }
    }

    #[test]
    fn a_table_has_a_row_for_everyone() {
        let records = [
            record("floor", 1, "forward", 2621.44),
            record("dispatch", 1, "forward", 2.0 * 2621.44),
            record("rayon+dispatch", 2, "step", 1e6),
        ];
        let text = group(&records);
        let line = |name: &str| text.lines().find(|l| l.trim().starts_with(name)).unwrap().to_string();
        assert!(text.starts_with("\nmlp_64x256 nc 64x256\n"), "{text}");
        assert!(line("dispatch ").ends_with("5.24 µs   5.14 µs    1 %   50 %"), "{text}");
        assert!(line("rayon+dispatch ×2").contains("1.00 ms"), "{text}");
        let text = summary(&records);
        assert!(text.contains("dispatch                      50 %       –"), "{text}");
        assert!(!text.contains("\n  floor"), "{text}");
    }

    #[test]
    fn what_moved_is_listed() {
        let change = |ratio, moved| Change { index: 0, ratio, noise: 0.05, moved };
        let text = changes(&[record("graph", 1, "step", 1.0)], &[change(1.2, true), change(1.01, false)]);
        let want = "2 compared, 1 moved beyond the noise\n  1.20x slower   mlp_64x256 nc 64x256 step graph (noise: 5 %)\n";
        assert!(text.ends_with(want), "{text}");
    }
}

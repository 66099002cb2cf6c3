//! The rows as text.

use super::super::record::Record;
use std::fmt::Write as _;

/// What stands above the rows.
pub(crate) fn heading() -> String {
    "\nhard data: a pass's time as a multiple of what it is timed against, least of the samples (median)\n"
        .into()
}

/// A row: the records of its passes.
pub(crate) fn line(records: &[Record]) -> String {
    let Some(first) = records.first() else {
        return String::new();
    };
    let against = first.against.as_deref().unwrap_or_default();
    let place = format!("{} {} {} over {against}", first.layout, first.shape, first.dtype);
    let mut line = format!("  {:<30}{place:<42}", first.variant);
    for record in records {
        if let Some([least, median]) = record.ratios() {
            let mark = if record.is_over() { "!" } else { " " };
            let (least, median) = (figure(least), format!("({})", figure(median)));
            let _ = write!(line, "  {:>8} {least:>6}{mark}{median:<8}", record.pass);
        }
    }
    if let Some(bar) = records.iter().find_map(|record| record.bar) {
        let over = records.iter().any(Record::is_over);
        let _ = write!(line, " bar {bar}{}", if over { ", over" } else { "" });
    }
    line.trim_end().to_string() + "\n"
}

/// How many passes have a bar, and how many are over theirs; nothing where there are none.
pub(crate) fn summary(records: &[Record]) -> String {
    let barred = records.iter().filter(|record| record.bar.is_some()).count();
    let over = records.iter().filter(|record| record.is_over()).count();
    match barred {
        0 => String::new(),
        _ => format!("\nhard data: {barred} passes have a bar, {over} are over it\n"),
    }
}

/// Three digits of a multiple.
pub(crate) fn figure(ratio: f64) -> String {
    let digits = if ratio < 9.995 { 2 } else { usize::from(ratio < 99.95) };
    format!("{ratio:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::super::super::record::tests::hard;
    use super::*;

    #[test]
    fn a_row_tells_its_passes_and_what_is_over_the_bar() {
        let row = [hard("dy_nan", "forward", 1.02, Some(4.0)), hard("dy_nan", "backward", 27.0, Some(4.0))];
        let text = line(&row);
        assert!(text.starts_with("  hard:dy_nan "), "{text}");
        assert!(text.contains(" nc 64x256 f32 over plain "), "{text}");
        assert!(text.contains("forward   1.02 (1.02)"), "{text}");
        assert!(text.contains("backward   27.0!(27.0)"), "{text}");
        assert!(text.ends_with(" bar 4, over\n"), "{text}");
        assert!(line(&row[..1]).ends_with(" bar 4\n"));
        assert_eq!(summary(&row), "\nhard data: 2 passes have a bar, 1 are over it\n");
        assert_eq!(line(&[]) + &summary(&[hard("dy_nan", "step", 9.0, None)]), "");
    }
}

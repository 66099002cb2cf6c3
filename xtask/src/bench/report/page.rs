//! The page around the plots, in HTML.

use super::super::record::Record;
use super::super::table::{LARGE, PASSES, everyone, mean, of, time};
use super::{Report, escape, hard, plots};
use std::fmt::Write as _;

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; color: #282828; background: #fff; max-width: 1260px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.7em; margin-bottom: 0.2em; } h2 { margin-top: 2.2em; border-bottom: 1px solid #ddd; }
p, li { max-width: 60em; } figure { margin: 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 0.88em; font-variant-numeric: tabular-nums; margin: 1em 0; }
th, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th:first-child, td:first-child, .left { text-align: left; } thead th { border-bottom: 2px solid #bbb; }
.machine td { text-align: left; white-space: normal; } .missing { color: #8a4b00; } .wide { overflow-x: auto; }
nav a { margin-right: 1em; }
";

const READ: &str = "
<ul>
<li>A time is the median of samples; a sample is one pass, or as many as take 50 µs, after untimed passes of the same
kind for 1 ms, on several threads for 10 ms. Where there are cores enough, each thread is bound to one, in Rust
and with OpenMP: left to the system, two now and then share a core and are as slow as one. All implementations take
turns in rounds whose order is turned and reversed, so that drift of the machine hits all alike. <em>least</em> is the
fastest sample, <em>±</em> half the distance between the quartiles as a share of the median: differences of that size
mean nothing.</li>
<li>The <em>floor</em> is measured in the same rounds, by streaming stores and by plain ones; the faster of the two
counts for each shape and pass. It reads x and writes y (forward), reads x and dy and writes dx (backward), in the very
memory that the layer works on. GB/s count this least traffic, whatever an implementation really moves.</li>
<li>Each answer is checked before it is timed: the layer's backends must give the bits of the scalar kernels, the
textbook and other libraries the same values but for roundings. Who fails that is not timed, and is listed below.</li>
<li>A <em>step</em> is forward and backward one after the other, not the sum of the other two: it finds in the caches
what its own forward left there.</li>
</ul>";

const BIAS: &str = "
<ul>
<li>The layer writes into buffers that are reused, as its slice API lets a training loop do. The textbook and most
libraries allocate their results. Freed memory is kept by the allocator, for them and for us, so that page faults do not
count; with a usual allocator's settings they would look worse.</li>
<li>x, dy, y and dx of the layer and of the floor lie on huge pages where the system gives them; the JSON says to which
share. The textbook reads the same x and dy. What it allocates, and all of another library's memory, lies on what its
allocator gets.</li>
<li>Data are warm: a shape that fits into a cache is found there. In a network the layer before has just written x, and
other layers have pushed out the rest.</li>
<li>On the machine's virtual cores others may be at work. Turns and medians take out slow drift, not a neighbour who
stays; the floor suffers with everyone, so shares of the floor are steadier than times.</li>
<li>Other libraries run in programs of their own and time themselves, each in the way that is fastest for it. Threads of theirs
and of ours sleep while it is another's turn and are awake before they are timed, as in a network whose layers follow one another; waking
them, which counts where a program rests in between, is nobody's time.</li>
<li><code>wide</code> uses the target features of the build, listed above; a plain build gives it less than the machine
has. <code>dispatch</code> finds out at run time.</li>
<li>The layer sums f32 in f64 and f64 in double-double; the textbook sums in the data's own precision. Their times buy
different accuracy, see the last plot.</li>
<li>Backward passes of other libraries may do less (gradients of x alone) or more (bookkeeping) than ours; where a
choice existed, the faster was taken.</li>
</ul>";

/// The page.
pub(super) fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>batchnorm: benchmark of {date}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Batch normalization on a CPU</h1>\n<p>Run of {date}{quick}, {n} measurements on {shapes} shapes.</p>\n",
        date = escape(&report.machine.date),
        quick = if report.quick { ", quick" } else { "" },
        n = report.records.len(),
        shapes = report.groups().count(),
    );
    if report.interrupted {
        page += "<p class=\"missing\">The run was interrupted: this is what was measured so far.</p>\n";
    }
    let plots = plots::all(report.plain());
    page += "<nav>";
    let sections = [("read", "How to read it"), ("bias", "Where it is biased"), ("summary", "Summary")];
    let links = sections.into_iter().chain(plots.iter().map(|plot| (plot.id, plot.title)));
    links.for_each(|(id, title)| page += &format!("<a href=\"#{id}\">{title}</a>"));
    let hard = hard::section(report);
    page += if hard.is_empty() { "" } else { "<a href=\"#hard\">Hard data</a>" };
    page += "<a href=\"#all\">All figures</a></nav>\n<table class=\"machine\">\n";
    for (name, value) in &report.machine.lines {
        let _ = writeln!(page, "<tr><td>{name}</td><td>{}</td></tr>", escape(value));
    }
    let _ = write!(page, "</table>\n<h2 id=\"read\">How to read it</h2>{READ}\n");
    let _ = write!(page, "<h2 id=\"bias\">Where it is biased</h2>{BIAS}\n<h2 id=\"summary\">Summary</h2>\n");
    summary(&mut page, report);
    changes(&mut page, report);
    if !report.notes.is_empty() {
        page += "<h3>Left out</h3>\n<ul>\n";
        report.notes.iter().for_each(|note| page += &format!("<li>{}</li>\n", escape(note)));
        page += "</ul>\n";
    }
    for plot in plots {
        let _ = write!(page, "<h2 id=\"{}\">{}</h2>\n<p>{}</p>\n", plot.id, plot.title, plot.caption);
        match plot.svg {
            Ok(svg) => page += &format!("<figure>\n{svg}</figure>\n"),
            Err(why) => page += &format!("<p class=\"missing\">No plot in this run. It needs: {why}.</p>\n"),
        }
    }
    page += &hard;
    everything(&mut page, report);
    page += "</body>\n</html>\n";
    page
}

fn summary(page: &mut String, report: &Report) {
    *page += "<p>Share of the floor's speed, geometric mean over all shapes and over those of a million elements and more.</p>\n";
    *page += "<table><thead><tr><th rowspan=\"2\">implementation</th>";
    PASSES.iter().for_each(|pass| *page += &format!("<th colspan=\"2\">{pass}</th>"));
    *page += "</tr><tr>";
    PASSES.iter().for_each(|_| *page += "<th>all</th><th>large</th>");
    *page += "</tr></thead>\n";
    for who in everyone(report.plain()).iter().filter(|who| who.0 != benches::floor::FLOOR) {
        let Some(first) = report.plain().iter().find(|r| (&r.implementation, r.threads) == (&who.0, who.1))
        else {
            continue;
        };
        let detail = if first.detail.is_empty() { String::new() } else { format!(" {}", first.detail) };
        let _ = write!(page, "<tr><td>{}{}</td>", escape(&first.who()), escape(&detail));
        for pass in PASSES {
            for least in [0.0, LARGE] {
                let shares =
                    of(report.plain(), who, pass).filter(|r| r.elements() >= least).map(Record::fraction);
                let share = mean(shares).map_or("–".into(), |share| format!("{:.0} %", 100.0 * share));
                let _ = write!(page, "<td>{share}</td>");
            }
        }
        *page += "</tr>\n";
    }
    *page += "</table>\n";
}

fn changes(page: &mut String, report: &Report) {
    let Some(changes) = &report.changes else {
        return;
    };
    let moved: Vec<_> = changes.iter().filter_map(|change| Some((change, change.mark()?))).collect();
    let (compared, count) = (changes.len(), moved.len());
    let _ = writeln!(
        page,
        "<h3 id=\"baseline\">Against the baseline</h3>\n<p>{compared} measurements compared, {count} moved beyond the \
         noise: median and least time the same way by more than three spreads of both runs, and 5 % at least. Where \
         the floor moved as well, it was the machine.</p>"
    );
    if moved.is_empty() {
        return;
    }
    *page += "<table><thead><tr><th>shape</th><th class=\"left\">pass</th><th class=\"left\">implementation</th>\
              <th>now</th><th>noise</th><th>moved</th></tr></thead>\n";
    for (change, mark) in moved {
        let r = &report.records[change.index];
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"left\">{}</td><td class=\"left\">{}</td><td>{}</td><td>{:.0} %</td><td>{mark}</td></tr>",
            escape(&r.title()),
            r.pass,
            escape(&r.who()),
            time(r.median_ns),
            100.0 * change.noise,
        );
    }
    *page += "</table>\n";
}

/// Every measurement, folded.
fn everything(page: &mut String, report: &Report) {
    *page += "<h2 id=\"all\">All figures</h2>\n<details><summary>Show the table</summary>\n<div class=\"wide\"><table>\
              <thead><tr><th>shape</th><th class=\"left\">pass</th><th class=\"left\">implementation</th><th>median</th>\
              <th>least</th><th>±</th><th>samples</th><th>GB/s</th><th>floor</th><th>error(y)</th><th>error(dx)</th>\
              <th>far: y</th><th>dx</th></tr></thead>\n";
    let error = |error: Option<f64>| error.map_or(String::new(), |e| format!("{e:.3}"));
    for r in &report.records {
        let _ = write!(
            page,
            "<tr><td>{}</td><td class=\"left\">{}</td><td class=\"left\">{}</td><td>{}</td><td>{}</td><td>{:.1} %</td>\
             <td>{}</td><td>{:.1}</td><td>{:.0} %</td>",
            escape(&r.title()),
            r.pass,
            escape(&r.who()),
            time(r.median_ns),
            time(r.min_ns),
            100.0 * r.spread,
            r.samples,
            r.gbps,
            100.0 * r.fraction(),
        );
        for value in [r.error_y, r.error_dx, r.error_y_far, r.error_dx_far] {
            let _ = write!(page, "<td>{}</td>", error(value));
        }
        *page += "</tr>\n";
    }
    *page += "</table></div></details>\n";
}

#[cfg(test)]
mod tests {
    use super::super::super::baseline::Change;
    use super::super::super::machine::Machine;
    use super::super::super::record::tests::record;
    use super::*;

    fn report(records: Vec<Record>) -> Report {
        let machine = Machine::here();
        Report { machine, records, notes: vec![], changes: None, interrupted: false, quick: true }
    }

    /// Two batches of a shape, everyone with every pass, errors with the steps.
    fn records() -> Vec<Record> {
        let mut records = Vec::new();
        for batch in [1, 4] {
            for (i, (name, threads)) in [
                ("floor", 1),
                ("floor", 2),
                ("dispatch", 1),
                ("rayon+dispatch", 2),
                ("graph", 1),
                ("torch", 1),
                ("torch", 2),
            ]
            .into_iter()
            .enumerate()
            {
                for pass in PASSES {
                    let mut r = record(name, threads, pass, 1e5 * (i + batch) as f64);
                    (r.shape, r.layout) = (format!("{batch}x64x56x56"), "nchw".into());
                    (r.error_y, r.error_dx) = (Some(0.7), Some(12.0));
                    (r.error_y_far, r.error_dx_far) = (Some(1.1), Some(1e4));
                    records.push(r);
                }
            }
        }
        records
    }

    #[test]
    fn a_report_has_every_plot_and_needs_no_other_file() {
        let page = report(records()).html();
        for id in ["time", "floor", "graph", "threads", "batch", "accuracy"] {
            let section =
                page.split(&format!("<h2 id=\"{id}\">")).nth(1).unwrap_or_else(|| panic!("no {id}"));
            let section = section.split("<h2").next().unwrap();
            assert!(section.contains("<svg") && !section.contains("No plot"), "{id}: {section}");
            assert!(section.matches("<circle").count() + section.matches("<polygon").count() > 2, "{id}");
        }
        for id in ["read", "bias", "all"] {
            assert!(page.contains(&format!("<h2 id=\"{id}\">")), "{id}");
        }
        assert!(page.contains("torch ×2") && page.contains("compiler"));
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http") && !outside.contains("<script") && !outside.contains("<link"));
        assert!(!page.contains("NaN") && !page.contains(">inf"));
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let page = report(vec![record("floor", 1, "step", 1e5), record("dispatch", 1, "step", 1e5)]).html();
        assert_eq!(page.matches("No plot in this run. It needs:").count(), 4);
        assert_eq!(page.matches("<svg").count(), 2);
        let nothing = report(vec![]).html();
        assert_eq!(nothing.matches("No plot in this run").count(), 6);
    }

    #[test]
    fn changes_notes_and_interruptions_are_told() {
        let mut report = report(records());
        report.notes = vec!["torch: expected <a> package".into()];
        report.interrupted = true;
        let change = |index, moved| Change { index, ratio: 1.5, noise: 0.06, moved };
        report.changes = Some(vec![change(6, true), change(7, false)]);
        let page = report.html();
        assert!(page.contains("<li>torch: expected &lt;a&gt; package</li>"));
        assert!(page.contains("2 measurements compared, 1 moved") && page.contains("<td>1.50x slower</td>"));
        assert!(page.contains("The run was interrupted"));
        assert!(report.overview().contains("<svg"));
    }
}

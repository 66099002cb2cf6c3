//! The run: what is measured, printed, and written.

use super::baseline;
use super::group::Runner;
use super::hard::Row;
use super::machine::Machine;
use super::peer::{Name, Peers};
use super::plan::{self, Pools, Task};
use super::record::{self, Record, root};
use super::report::Report;
use super::{stop, table};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line says.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the options' own texts, in main.rs")]
pub struct Options {
    pub quick: bool,
    pub filter: Option<String>,
    pub threads: Option<usize>,
    pub peers: Vec<Name>,
    pub json: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub svg: Option<PathBuf>,
    pub baseline: Option<PathBuf>,
    pub show: Option<PathBuf>,
}

/// An argument cannot be used.
const UNUSABLE: u8 = 2;

/// Measures, or shows what was measured.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let ended = |code: u8| {
        move |error| {
            eprintln!("error: {error}");
            ExitCode::from(code)
        }
    };
    if let Some(path) = &options.show {
        return record::read(path).map_or_else(ended(UNUSABLE), |records| {
            show(options, records).map_or_else(ended(1), |()| ExitCode::SUCCESS)
        });
    }
    let filter = options.filter.as_deref();
    let plan = Row::list(options.quick, filter)
        .and_then(|rows| Ok((plan::list(options.quick, filter, rows.len())?, rows)));
    let earlier = options.baseline.as_deref().map(record::read).transpose();
    match plan.and_then(|plan| Ok((plan, earlier?))) {
        Err(error) => ended(UNUSABLE)(error),
        Ok((plan, earlier)) => measure(options, &plan, earlier.as_deref()).unwrap_or_else(ended(1)),
    }
}

fn path(given: Option<&PathBuf>, name: &str) -> PathBuf {
    given.cloned().unwrap_or_else(|| root().join("target/bench").join(name))
}

/// The tables and files of an earlier run.
fn show(options: &Options, records: Vec<Record>) -> Result<(), String> {
    let machine = Machine::of(&records[0]);
    let report = Report { machine, records, ..Report::default() };
    let rows: String = report.hard_rows().map(table::hard_line).collect();
    let rows = if rows.is_empty() { rows } else { table::hard_heading() + &rows };
    print(&(report.machine.text() + &report.groups().map(table::group).collect::<String>() + &rows))?;
    finish(options, &report)
}

/// Prints what comes at the end, and writes the report.
fn finish(options: &Options, report: &Report) -> Result<(), String> {
    let mut end = table::summary(report.plain()) + &table::ratio_summary(report.varied());
    end += &table::hard_summary(report.hard());
    if let Some(changes) = &report.changes {
        end += &table::changes(&report.records, changes);
    }
    if report.interrupted {
        end += "\nInterrupted: this is what was measured so far.\n";
    }
    end += "\n";
    let html = path(options.html.as_ref(), "report.html");
    record::replace(&html, report.html()?.as_bytes())?;
    let mut written = vec![html];
    if let Some(svg) = &options.svg {
        record::replace(svg, report.picture()?.as_bytes())?;
        written.push(svg.clone());
    }
    written.iter().for_each(|path| end += &format!("written to {}\n", path.display()));
    print(&end)
}

/// Without a reader there is no use in going on.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| format!("cannot write the table: {error}"))
}

/// Everything after the arguments were understood; the error is one of files or threads.
fn measure(
    options: &Options,
    (tasks, rows): &(Vec<Task>, Vec<Row>),
    earlier: Option<&[Record]>,
) -> Result<ExitCode, String> {
    let Options { quick, threads, peers, .. } = options;
    let (json, html) =
        (path(options.json.as_ref(), "bench.json"), path(options.html.as_ref(), "report.html"));
    // Now, not after ten minutes.
    record::replace(&json, &record::json(&[]))?;
    record::replace(&html, b"The run goes on.\n")?;
    stop::listen()?;

    let offered = || std::thread::available_parallelism().map_or(1, usize::from);
    let pools = Pools::new(*quick, threads.unwrap_or_else(offered))?;
    let weight: u64 = tasks.iter().map(|task| task.weight(*quick)).chain(rows.iter().map(Row::weight)).sum();
    let (shapes, hard, minutes) = (tasks.len(), rows.len(), weight.div_ceil(60_000));
    eprintln!("{shapes} shapes and {hard} rows of hard data, at most {minutes} min and what peers take");
    let mut notes = Vec::new();
    let peers = Peers::start(peers, &pools.ends(), &mut |note| notes.push(note))?;
    let bar = ProgressBar::new(weight);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %, {eta} left  {msg}") {
        bar.set_style(style);
    }
    let mut runner = Runner { quick: *quick, pools, peers, machine: Machine::here(), bar, notes, wrong: 0 };
    let (mut records, mut told) = (Vec::new(), 0);
    print(&runner.machine.text())?;
    let mut done = |runner: &Runner, group: Vec<Record>, text: &str| {
        records.extend(group);
        record::replace(&json, &record::json(&records))?;
        runner.bar.suspend(|| print(text))?;
        runner.notes[told..].iter().for_each(|note| runner.bar.suspend(|| eprintln!("{note}")));
        told = runner.notes.len();
        Ok::<_, String>(())
    };
    for task in tasks {
        if !stop::requested() {
            let group = runner.run(task);
            let text = table::group(&group);
            done(&runner, group, &text)?;
        }
    }
    for (i, row) in rows.iter().enumerate() {
        if !stop::requested() {
            let group = runner.row(row);
            let heading = if i == 0 { table::hard_heading() } else { String::new() };
            let text = heading + &table::hard_line(&group);
            done(&runner, group, &text)?;
        }
    }
    runner.bar.finish_and_clear();
    let Runner { machine, notes, wrong, peers, .. } = runner;
    drop(peers);
    let changes = earlier.map(|earlier| baseline::compare(earlier, &records));
    let interrupted = stop::requested();
    let report = Report { machine, records, notes, changes, interrupted, quick: *quick };
    finish(options, &report)?;
    print(&format!("written to {}\n", json.display()))?;
    Ok(match (interrupted, wrong) {
        (true, _) => ExitCode::from(stop::CODE),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}
